//! Limits whose pattern has to be run on every text: in sets, each of which is one pass over the text.

use std::sync::{Arc, OnceLock};

use super::InForce;
use super::bucket::Bucket;
use crate::model::Pattern;
use crate::model::pattern::Several;
use crate::table::index::HashMap;

/// A change of one pattern compiles one set anew.
const SET_MAX: usize = 64;

#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    sets: Arc<Vec<Arc<Set>>>,
    /// In which set a pattern stands.
    places: HashMap<Arc<str>, usize>,
}

#[derive(Clone, Debug, Default)]
struct Set {
    patterns: Vec<Run>,
    /// Shared with the sets of other tables that hold the same patterns. None inside: too large together.
    compiled: Arc<OnceLock<Option<Several>>>,
}

#[derive(Clone, Debug)]
struct Run {
    pattern: Pattern,
    limits: Bucket,
}

impl Runs {
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub fn put(&mut self, pattern: &Pattern, limit: Arc<InForce>) {
        let place = match self.places.get(pattern.as_str()) {
            Some(place) => *place,
            None => self.make_room(),
        };
        self.places.insert(pattern.as_str().into(), place);
        if let Some(set) = Arc::make_mut(&mut self.sets).get_mut(place) {
            Arc::make_mut(set).put(pattern, limit);
        }
    }

    /// The set that takes another pattern.
    fn make_room(&mut self) -> usize {
        let room = self.sets.iter().position(|set| set.patterns.len() < SET_MAX);
        room.unwrap_or_else(|| {
            Arc::make_mut(&mut self.sets).push(Arc::default());
            self.sets.len() - 1
        })
    }

    pub fn remove(&mut self, pattern: &Pattern, limit: &Arc<InForce>) {
        let Some(place) = self.places.get(pattern.as_str()).copied() else {
            return;
        };
        let Some(set) = Arc::make_mut(&mut self.sets).get_mut(place) else {
            return;
        };
        if Arc::make_mut(set).remove(pattern, limit) {
            self.places.remove(pattern.as_str());
        }
    }

    /// Calls `visit` with the limits of each pattern that takes `text`.
    pub fn find<'t>(&'t self, text: &str, mut visit: impl FnMut(&'t Bucket)) {
        for set in &self.sets[..] {
            set.find(text, &mut visit);
        }
    }

    pub fn warm(&self) {
        for set in self.sets.iter().filter(|set| set.patterns.len() > 1) {
            set.compiled();
        }
    }
}

impl Set {
    fn put(&mut self, pattern: &Pattern, limit: Arc<InForce>) {
        if let Some(run) = self.patterns.iter_mut().find(|run| run.pattern == *pattern) {
            run.limits.put(limit);
            return;
        }
        self.patterns.push(Run {
            pattern: pattern.clone(),
            limits: Bucket::One(limit),
        });
        self.compiled = Arc::default();
    }

    /// Whether the pattern is gone.
    fn remove(&mut self, pattern: &Pattern, limit: &Arc<InForce>) -> bool {
        let Some(index) = self.patterns.iter().position(|run| run.pattern == *pattern) else {
            return false;
        };
        let limits = &mut self.patterns[index].limits;
        limits.remove(limit);
        if !limits.is_empty() {
            return false;
        }
        self.patterns.swap_remove(index);
        self.compiled = Arc::default();
        true
    }

    fn compiled(&self) -> Option<&Several> {
        let compile = || Several::of(self.patterns.iter().map(|run| &run.pattern));
        self.compiled.get_or_init(compile).as_ref()
    }

    fn find<'t>(&'t self, text: &str, visit: &mut impl FnMut(&'t Bucket)) {
        // One alone is compiled already.
        let together = (self.patterns.len() > 1).then(|| self.compiled()).flatten();
        match together {
            Some(several) => several.matching(text, |index| visit(&self.patterns[index].limits)),
            None => {
                let fitting = self.patterns.iter().filter(|run| run.pattern.matches(text));
                fitting.for_each(|run| visit(&run.limits));
            }
        }
    }
}
