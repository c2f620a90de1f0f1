//! What must hold, looked at from outside: by what was promised to writers, what the log truly says, what proxies serve
//! and where their requests are. Nothing here asks the machines under test what they think.

mod holds;
mod leave;
mod proxies;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use dataplane::upstream::endpoint::Identity;
use shared::change::{Commit, Epoch, ObjectKey, OpId, Revision};
use shared::stream::planes::PUBLIC_AFTER;
use shared::stream::roster::{MARGIN, Member};
use shared::stream::subscriber::{OnLeaseEnd, Phase};
use shared::stream::wait::Report;

use crate::dice::SECOND;
use crate::volume::Volume;
use crate::world::World;

/// What was promised on one store.
#[derive(Default)]
pub struct Ledger {
    /// The configuration revision that writers were told is live everywhere.
    live: Revision,
    dead: Vec<Dead>,
    withdrawn: Vec<leave::Gone>,
    /// Services that a writer was told are quiet.
    quiet: BTreeMap<&'static str, holds::Quiet>,
    /// Writers who were told that nothing of theirs was committed.
    never: HashSet<Arc<str>>,
    seen: HashSet<OpId>,
}

/// Identities that a writer was told are free of traffic.
#[derive(Clone, Debug)]
pub enum Retired {
    Upstream(&'static str, &'static str, Revision),
    Service(&'static str, Revision),
    Address(&'static str, Revision),
}

struct Dead {
    retired: Retired,
    /// Proxies that said so themselves.
    reached: BTreeSet<usize>,
}

impl Ledger {
    pub fn live(&self) -> Revision {
        self.live
    }
}

impl Retired {
    pub fn upstream(service: &'static str, id: &'static str, before: Revision) -> Retired {
        Retired::Upstream(service, id, before)
    }

    pub fn service(service: &'static str, before: Revision) -> Retired {
        Retired::Service(service, before)
    }

    pub fn address(address: &'static str, before: Revision) -> Retired {
        Retired::Address(address, before)
    }

    /// What another history than that of `volume` registered is older than all that is written there: it was to be gone
    /// before any of it, whatever number it bears.
    fn holds(&self, identity: &Identity, volume: &Volume) -> bool {
        let before = match self {
            Retired::Upstream(service, id, before) => {
                (identity.service.as_str() == *service && identity.id.as_str() == *id).then_some(*before)
            }
            Retired::Service(service, before) => (identity.service.as_str() == *service).then_some(*before),
            Retired::Address(address, before) => (identity.address.as_str() == *address).then_some(*before),
        };
        before.is_some_and(|before| identity.registration < before || !volume.began(identity))
    }
}

impl World {
    fn volume_of(&self, epoch: Epoch) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.epochs.contains(&epoch))
    }

    /// Rule 2, at every moment: whoever is within its lease serves what writers were told is live.
    pub fn check_leases(&mut self) {
        for i in 0..self.proxies.len() {
            let leased = self.proxies[i].is_leased(self.now);
            let since = self.proxies[i].leased_since.unwrap_or(self.now);
            self.proxies[i].leased_since = leased.then_some(since);
            if !leased {
                continue;
            }
            let Some(served) = self.proxies[i].run.as_ref().and_then(|run| run.served) else {
                continue;
            };
            let Some(volume) = self.volume_of(served.epoch) else {
                continue;
            };
            // Whom a store forgot by going back it cannot wait for.
            let lost = volume.history > 0
                && (!volume.holds(served.revision, served.digest)
                    || !is_member(&volume.members(volume.head()), self.proxies[i].instance));
            let live = volume.ledger.live;
            if !lost && served.revision < live {
                let revision = served.revision;
                self.violate(format!(
                    "proxy {i} is within its lease and serves revision {revision}, after {live} was said to be live"
                ));
            }
        }
    }

    /// A write was answered 200. Gives the proxies that are bound by it.
    pub fn promised(
        &mut self,
        n: usize,
        what: &str,
        revision: Revision,
        objects: &[ObjectKey],
        retired: Vec<Retired>,
        report: &Report,
    ) -> BTreeSet<usize> {
        let live = self.volume().at(revision).configured;
        if report.members > 0 && report.reached_count == 0 {
            self.violate(format!(
                "{what} was answered 200 though none of {} was reached",
                report.members
            ));
        }
        for (name, member) in self.volume().stayed(revision) {
            match report.detached.contains(&name) {
                // It may be another of that name who is remembered.
                true if self.has_namesake(&name) => {}
                true => self.check_detached(n, what, &name, &member),
                false => self.check_acknowledged(what, &name, &member, live, objects, revision),
            }
        }
        let reached = self.bound(revision, report);
        self.check_in_flight(what, revision, &retired, &reached);
        let ledger = &mut self.volume_mut().ledger;
        ledger.live = ledger.live.max(live);
        ledger.dead.extend(retired.into_iter().map(|retired| Dead {
            retired,
            reached: reached.clone(),
        }));
        reached
    }

    fn has_namesake(&self, name: &str) -> bool {
        self.instances.iter().filter(|(known, _)| &**known == name).count() > 1
    }

    /// Those for whom the promise was made.
    fn bound(&self, revision: Revision, report: &Report) -> BTreeSet<usize> {
        let stayed = self.volume().stayed(revision);
        let is_bound = |i: &usize| {
            let node = &self.proxies[*i];
            self.follows(*i) && is_member(&stayed, node.instance) && !report.detached.contains(&node.name)
        };
        (0..self.proxies.len()).filter(is_bound).collect()
    }

    fn follows(&self, i: usize) -> bool {
        let served = self.proxies[i].run.as_ref().and_then(|run| run.served);
        served.is_some_and(|served| self.volume().epochs.contains(&served.epoch))
    }

    /// Named detached: its lease is over by its own clock, and the control plane could have heard it for long enough.
    fn check_detached(&mut self, n: usize, what: &str, name: &str, member: &Member) {
        let now = self.plane_time(n);
        let enough = member.lease() + MARGIN;
        let leased = self
            .proxies
            .iter()
            .any(|node| node.instance == member.instance && node.is_leased(self.now));
        if leased {
            self.violate(format!(
                "{what} was answered 200 with {name} named detached, which is within its lease"
            ));
        }
        let Some(run) = self.planes[n].run.as_ref() else { return };
        let listened = now.since(run.since);
        let silent = run.heard.get(&member.instance).map(|heard| now.since(heard.last));
        if listened < enough || silent.is_some_and(|silent| silent < enough) {
            self.violate(format!(
                "{what} was answered 200 with {name} named detached, after {listened:?} of listening and {silent:?} of silence"
            ));
        }
        self.check_held_nowhere(n, what, name, member);
    }

    /// Whoever has been held by another control plane for a while is not detached, unless that one is taken for dead.
    fn check_held_nowhere(&mut self, n: usize, what: &str, name: &str, member: &Member) {
        for other in (0..self.planes.len()).filter(|other| *other != n) {
            let now = self.plane_time(other);
            let Some(run) = self.planes[other].run.as_ref() else {
                continue;
            };
            let Some(heard) = run.heard.get(&member.instance).copied() else {
                continue;
            };
            let known = now.since(heard.since) > PUBLIC_AFTER && now.since(heard.last) < member.lease();
            let alive = run
                .sharing
                .as_ref()
                .is_some_and(|sharing| self.rows.proves(sharing.id, self.now));
            if known && alive && now.since(run.since) > PUBLIC_AFTER {
                self.violate(format!(
                    "{what} was answered 200 with {name} named detached, which another control plane heard just before"
                ));
            }
        }
    }

    fn check_acknowledged(
        &mut self,
        what: &str,
        name: &str,
        member: &Member,
        live: Revision,
        objects: &[ObjectKey],
        revision: Revision,
    ) {
        let key = (member.instance, self.mounted, self.volume().history);
        let said = self.acknowledged.get(&key).copied();
        let node = self.proxies.iter().find(|node| node.instance == member.instance);
        let refusing = node.and_then(|node| node.run.as_ref()).is_some_and(|run| {
            let current = run.served.is_some_and(|served| served.revision >= live);
            let view = run.views.now();
            let mut refused = view.table().refused();
            current && refused.any(|refusal| refusal.revision == revision && objects.contains(&refusal.object))
        });
        if said.unwrap_or_default() < live {
            self.violate(format!(
                "{what} at {live} was answered 200, and {name} has acknowledged {said:?}"
            ));
        }
        if refusing {
            self.violate(format!("{what} was answered 200, and {name} refuses what was written"));
        }
    }

    /// Rule 3: nothing is in flight to what was retired.
    fn check_in_flight(&mut self, what: &str, revision: Revision, retired: &[Retired], reached: &BTreeSet<usize>) {
        for i in 0..self.proxies.len() {
            let node = &self.proxies[i];
            let Some(run) = &node.run else { continue };
            let awake = node.paused_until <= self.now && node.woke + 3 * SECOND < self.now;
            let stopped = node.on_lease_end == OnLeaseEnd::Stop && awake && run.phase != Phase::Draining;
            let volume = self.volume();
            let member = is_member(&volume.members(revision), node.instance);
            // One that came back later with what it had is no part of it, nor one that the store forgot by going back.
            let since = node.leased_since.filter(|_| volume.history == 0 || member);
            let counted = since.is_some_and(|since| since <= volume.committed_at(revision)) && self.follows(i);
            let stopped = stopped && member;
            let bound = reached.contains(&i) || counted || (stopped && self.follows(i));
            if !bound {
                continue;
            }
            let sent = run.requests.values().filter_map(|request| request.sent_to());
            let hit = sent
                .map(|endpoint| endpoint.identity())
                .find(|identity| retired.iter().any(|retired| retired.holds(identity, volume)));
            if let Some(identity) = hit.cloned() {
                self.violate(format!(
                    "{what} was answered 200, and proxy {i} has a request in flight at {identity:?}"
                ));
            }
        }
    }

    /// A writer was told that nothing of it was committed.
    pub fn never(&mut self, actor: &Arc<str>) {
        let stands = self.volume().commits().iter().any(|commit| commit.actor == *actor);
        if stands {
            self.violate(format!(
                "{actor} was told that nothing was committed, and something was"
            ));
        }
        self.volume_mut().ledger.never.insert(actor.clone());
    }

    /// A new commit is in the log.
    pub fn stands(&mut self, commit: &Commit) {
        self.holds_end(commit);
        let ledger = &mut self.volume_mut().ledger;
        let twice = !ledger.seen.insert(commit.op_id);
        let never = ledger.never.contains(&commit.actor);
        if twice {
            self.violate(format!("revision {} stands for the second time", commit.revision));
        }
        if never {
            self.violate(format!(
                "{} was told that nothing was committed, and then it was",
                commit.actor
            ));
        }
        self.check_replaced(commit);
    }

    /// Every operation carries what it replaced: by that the digests of earlier revisions are told.
    fn check_replaced(&mut self, commit: &Commit) {
        let state = self.volume().at(Revision(commit.revision.0 - 1));
        let mut told = commit.ops.iter().filter(|op| op.kind.is_configuration());
        let wrong = told.find(|op| {
            let replaced = state.get(&op.object());
            let replaced = replaced.map(|old| (old.revision, old.registration, &old.body));
            let said = op.before.as_ref();
            said.map(|old| (old.revision, old.registration, &old.body)) != replaced
        });
        if let Some(op) = wrong.map(|op| op.object()) {
            let revision = commit.revision;
            self.violate(format!("revision {revision} does not say what {op} was before"));
        }
    }
}

fn is_member(members: &[(Arc<str>, Member)], instance: uuid::Uuid) -> bool {
    members.iter().any(|(_, member)| member.instance == instance)
}
