//! A hold's promise: from its answer until it is resumed, or its time is over, nothing reaches the service.

use std::collections::BTreeSet;

use dataplane::upstream::endpoint::Identity;
use shared::change::{Commit, Kind, ObjectKey, Op, Revision, Verb};
use shared::model::Hold;

use super::Retired;
use crate::clock::DRIFT_MAX;
use crate::dice::SECOND;
use crate::volume::Volume;
use crate::world::World;

pub struct Quiet {
    /// True time.
    until: u64,
    /// Proxies that said so themselves.
    reached: BTreeSet<usize>,
}

fn ends(op: &Op, service: &str) -> bool {
    op.verb == Verb::Delete && op.object() == ObjectKey::hold(service)
}

/// True time until which nobody may end the hold that stands at a revision: no clock is faster than that.
fn lasts(volume: &Volume, service: &str, revision: Revision) -> Option<u64> {
    let object = volume.at(revision).get(&ObjectKey::hold(service))?;
    let max = Hold::parse(object.body.as_str()).ok()?.max.as_nanos() as u64;
    Some(volume.committed_at(object.revision) + max - max / 1_000_000 * 2 * DRIFT_MAX)
}

impl World {
    /// A hold was answered 200.
    pub fn promised_quiet(&mut self, what: &str, service: &'static str, revision: Revision, reached: BTreeSet<usize>) {
        let volume = self.volume();
        let later = &volume.commits()[revision.0 as usize..];
        let is_ended = later.iter().flat_map(|commit| &commit.ops).any(|op| ends(op, service));
        // Others may have taken its place meanwhile.
        let stands = std::iter::once(revision).chain(later.iter().map(|commit| commit.revision));
        let until = stands.filter_map(|revision| lasts(volume, service, revision)).min();
        let until = until.filter(|until| self.now < *until && !is_ended);
        let Some(until) = until else {
            self.count.add("holds answered when they were over");
            return;
        };
        self.count.add("holds answered 200");
        let all = [Retired::service(service, Revision(u64::MAX))];
        self.check_in_flight(what, revision, &all, &reached);
        self.volume_mut().ledger.quiet.insert(service, Quiet { until, reached });
    }

    /// Whether a request that goes out now breaks a hold's promise. `leased`: the proxy is one that all writers count on.
    pub(super) fn is_quiet(&self, volume: &Volume, i: usize, leased: bool, identity: &Identity) -> bool {
        let quiet = volume.ledger.quiet.get(identity.service.as_str());
        quiet.is_some_and(|quiet| self.now < quiet.until && (leased || quiet.reached.contains(&i)))
    }

    /// A new commit is in the log.
    pub(super) fn holds_end(&mut self, commit: &Commit) {
        for op in commit.ops.iter().filter(|op| op.kind == Kind::Hold) {
            if op.verb == Verb::Put {
                // Another hold takes the place of that one, and may be over earlier.
                let until = lasts(self.volume(), &op.key, commit.revision).unwrap_or_default();
                if let Some(quiet) = self.volume_mut().ledger.quiet.get_mut(&*op.key) {
                    quiet.until = quiet.until.min(until);
                }
                continue;
            }
            self.volume_mut().ledger.quiet.remove(&*op.key);
            if *commit.actor != *controlplane::holds::ACTOR {
                continue;
            }
            self.count.add("holds that a control plane ended");
            let put = op.before.as_ref().map_or(Revision::ZERO, |before| before.revision);
            let due = lasts(self.volume(), &op.key, put);
            if due.is_some_and(|due| self.now < due) {
                let early = (due.unwrap_or_default() - self.now) / (SECOND / 1_000);
                self.violate(format!("the hold of {} was ended {early} ms before its time", op.key));
            }
        }
    }

    /// Once faults are over, and all holds are.
    pub(super) fn check_holds(&mut self) {
        let head = self.volume().now();
        let stands = head.objects.keys().find(|key| key.kind == Kind::Hold).cloned();
        if let Some(stands) = stands {
            self.violate(format!("{stands} never ends"));
        }
        for i in 0..self.proxies.len() {
            let Some(run) = &self.proxies[i].run else { continue };
            let waiting = run.requests.values().filter(|request| request.waits()).count();
            if let Some(held) = run.views.held().first().cloned() {
                self.violate(format!("proxy {i} ends with {held:?}"));
            } else if waiting > 0 {
                self.violate(format!("proxy {i} ends with {waiting} requests that wait for nothing"));
            }
        }
    }
}
