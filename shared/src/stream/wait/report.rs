//! What a write answers about the fleet: the `fleet` member of api.md's write answers.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::change::Revision;
use crate::stream::message;

/// Entries of each list beyond this are only counted, in `more`.
pub const LISTED_MAX: usize = 100;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Everyone who is waited for was reached.
    pub reached: bool,
    /// A proxy refuses an object that was written: no use to wait longer.
    pub refused_now: bool,
    pub took: Duration,
    pub members: usize,
    pub reached_count: usize,
    pub lagging: Vec<Lagging>,
    pub refused: Vec<Refused>,
    pub warming: Vec<Warming>,
    pub draining: Vec<Draining>,
    /// Beyond their lease: not waited for.
    pub detached: Vec<Arc<str>>,
    /// How many entries the lists leave out.
    pub more: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lagging {
    pub proxy: Arc<str>,
    pub applied: Revision,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub proxy: Arc<str>,
    pub object: Arc<str>,
    pub revision: Revision,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warming {
    pub proxy: Arc<str>,
    /// `service/id`
    pub upstream: String,
    pub last: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Draining {
    pub proxy: Arc<str>,
    /// `service/id`
    pub upstream: String,
    pub in_flight: u64,
}

/// A [`Report`] as it stands in a write's answer.
#[derive(Debug, Serialize)]
pub struct FleetMember<'a> {
    members: usize,
    reached: usize,
    lagging: &'a [Lagging],
    refused: &'a [Refused],
    warming: &'a [Warming],
    draining: &'a [Draining],
    detached: &'a [Arc<str>],
    #[serde(skip_serializing_if = "is_zero")]
    more: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Report {
    pub fn fleet(&self) -> FleetMember<'_> {
        FleetMember {
            members: self.members,
            reached: self.reached_count,
            lagging: &self.lagging,
            refused: &self.refused,
            warming: &self.warming,
            draining: &self.draining,
            detached: &self.detached,
            more: self.more,
        }
    }

    pub(super) fn lagging(&mut self, proxy: &Arc<str>, applied: Revision) {
        list(&mut self.lagging, &mut self.more, || Lagging {
            proxy: proxy.clone(),
            applied,
        });
    }

    pub(super) fn refused(&mut self, proxy: &Arc<str>, refused: &message::Refused) {
        list(&mut self.refused, &mut self.more, || Refused {
            proxy: proxy.clone(),
            object: refused.object.clone(),
            revision: refused.revision,
            detail: refused.detail.clone(),
        });
    }

    pub(super) fn warming(&mut self, proxy: &Arc<str>, upstream: String, last: &str) {
        list(&mut self.warming, &mut self.more, || Warming {
            proxy: proxy.clone(),
            upstream,
            last: last.to_owned(),
        });
    }

    pub(super) fn draining(&mut self, proxy: &Arc<str>, service: &str, id: &str, in_flight: u64) {
        list(&mut self.draining, &mut self.more, || Draining {
            proxy: proxy.clone(),
            upstream: format!("{service}/{id}"),
            in_flight,
        });
    }

    pub(super) fn detached(&mut self, proxy: &Arc<str>) {
        list(&mut self.detached, &mut self.more, || proxy.clone());
    }
}

fn list<T>(entries: &mut Vec<T>, more: &mut usize, entry: impl FnOnce() -> T) {
    match entries.len() < LISTED_MAX {
        true => entries.push(entry()),
        false => *more += 1,
    }
}
