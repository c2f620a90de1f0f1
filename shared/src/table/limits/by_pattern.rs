//! Limits by one of their patterns, all but those that take anything.

use std::sync::Arc;

use super::InForce;
use super::beginnings::Beginnings;
use super::bucket::Bucket;
use super::runs::Runs;
use crate::model::Pattern;
use crate::model::pattern::{Form, Literal};
use crate::table::index::HashMap;

#[derive(Clone, Debug, Default)]
pub(super) struct ByPattern {
    /// Of patterns that name whole texts.
    whole: HashMap<Arc<[u8]>, Bucket>,
    /// Of those that name how texts begin.
    begins: Beginnings,
    /// Of those that have to be run, but only where a text begins so.
    perhaps: Beginnings,
    runs: Runs,
}

impl ByPattern {
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.begins.is_empty() && self.perhaps.is_empty() && self.runs.is_empty()
    }

    pub fn put(&mut self, pattern: &Pattern, limit: &Arc<InForce>) {
        match pattern.form() {
            Form::Literals(literals) => {
                for Literal { text, is_whole } in &literals[..] {
                    match is_whole {
                        true => self.whole.entry((&**text).into()).or_default().put(limit.clone()),
                        false => self.begins.put(text, limit.clone()),
                    }
                }
            }
            other => match beginnings(other) {
                [] => self.runs.put(pattern, limit.clone()),
                begins => begins.iter().for_each(|begin| self.perhaps.put(begin, limit.clone())),
            },
        }
    }

    pub fn remove(&mut self, pattern: &Pattern, limit: &Arc<InForce>) {
        match pattern.form() {
            Form::Literals(literals) => {
                for Literal { text, is_whole } in &literals[..] {
                    match is_whole {
                        true => self.remove_whole(text, limit),
                        false => self.begins.remove(text, limit),
                    }
                }
            }
            other => match beginnings(other) {
                [] => self.runs.remove(pattern, limit),
                begins => begins.iter().for_each(|begin| self.perhaps.remove(begin, limit)),
            },
        }
    }

    fn remove_whole(&mut self, text: &[u8], limit: &Arc<InForce>) {
        let Some(bucket) = self.whole.get_mut(text) else { return };
        bucket.remove(limit);
        if bucket.is_empty() {
            self.whole.remove(text);
        }
    }

    /// Calls `visit` with limits and whether their pattern is known to take `text`; the others may take it. With none
    /// of them twice.
    pub fn find<'t>(&'t self, text: &str, mut visit: impl FnMut(&'t Bucket, bool)) {
        if !self.whole.is_empty()
            && let Some(bucket) = self.whole.get(text.as_bytes())
        {
            visit(bucket, true);
        }
        self.begins.find(text, |bucket| visit(bucket, true));
        self.perhaps.find(text, |bucket| visit(bucket, false));
        self.runs.find(text, |bucket| visit(bucket, true));
    }

    pub fn warm(&self) {
        self.runs.warm();
    }
}

/// How texts begin that a pattern takes which has to be run; empty if that is not known.
fn beginnings(form: &Form) -> &[Box<[u8]>] {
    match form {
        Form::Regex { begins, .. } => begins,
        Form::Dotted { parts, .. } if !parts[0].is_empty() => &parts[..1],
        Form::Dotted { .. } | Form::Literals(_) | Form::Any => &[],
    }
}
