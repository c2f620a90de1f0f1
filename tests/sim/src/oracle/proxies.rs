//! What a proxy may do: serve in order, open when it has caught up, say what is so.

use super::is_member;
use crate::proxy::Served;
use crate::volume::Volume;
use crate::world::World;
use dataplane::upstream::endpoint::{Endpoint, Identity};
use shared::change::{Epoch, Revision};
use shared::stream::message::{Level, Up};
use shared::stream::subscriber::ALONE_AFTER;
use shared::table::{Entry, Table};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

impl World {
    /// The volume that a proxy follows, and whether its control plane counts on it.
    pub(super) fn followed(&self, i: usize) -> Option<(&Volume, bool)> {
        let node = &self.proxies[i];
        let served = node.run.as_ref()?.served?;
        let volume = self.volume_of(served.epoch)?;
        // Whom a store forgot by going back it cannot wait for.
        let known = volume.history == 0 || is_member(&volume.members(volume.head()), node.instance);
        // Nor could it for one that takes its first table of this history: nothing of what that leaves out is forbidden yet.
        let begins = node.run.as_ref().is_some_and(|run| run.comes_over);
        Some((volume, known && !begins && node.is_leased(self.now)))
    }

    /// A request goes out.
    pub fn check_reached(&mut self, i: usize, identity: &Identity) {
        let Some((volume, leased)) = self.followed(i) else {
            return;
        };
        let mut dead = volume.ledger.dead.iter();
        let hit = dead.any(|dead| {
            let bound = leased || dead.reached.contains(&i);
            bound && dead.retired.holds(identity, volume)
        });
        let quiet = self.is_quiet(volume, i, leased, identity);
        if quiet {
            let service = &identity.service;
            self.violate(format!(
                "a request of proxy {i} reaches {service} while it is held and was said to be quiet"
            ));
        }
        if hit {
            self.violate(format!(
                "a request of proxy {i} reaches {identity:?} after it was said to be free"
            ));
        }
    }

    /// A table was put in use over requests to what its history never registered.
    pub fn count_left_behind(&mut self, i: usize) {
        let Some(run) = &self.proxies[i].run else { return };
        let Some(volume) = run.served.and_then(|served| self.volume_of(served.epoch)) else {
            return;
        };
        let sent = run.requests.values().filter_map(|request| request.sent_to());
        let latest = sent
            .map(|endpoint| endpoint.identity())
            .filter(|one| !volume.began(one));
        let latest = latest.map(|one| one.registration).max();
        let beyond = latest > Some(volume.head());
        if latest.is_some() {
            self.count.add("requests of a history left behind");
        }
        if beyond {
            self.count.add("requests of a history left behind, beyond the head");
        }
    }

    /// Rule 1: in order, without a gap, never back, never to another epoch unasked. Rule 3 of the design: what stays keeps
    /// its endpoint.
    pub fn swapped(&mut self, i: usize, before: &HashMap<Identity, Arc<Endpoint>>) {
        let after = self.endpoints(i);
        let renewed = after.iter().find(|(identity, new)| {
            let old = before.get(identity);
            old.is_some_and(|old| !Arc::ptr_eq(old, new) && !old.is_retired())
        });
        if let Some((identity, _)) = renewed {
            self.violate(format!("proxy {i} replaced the endpoint of {identity:?}, which stays"));
        }
        let Some(run) = &mut self.proxies[i].run else { return };
        let state = run.subscriber.state();
        let served = Served {
            epoch: state.epoch,
            revision: state.configured,
            digest: state.digest,
        };
        let before = run.served.replace(served);
        run.comes_over = before.is_some_and(|before| before.epoch != served.epoch);
        self.note(|| format!("proxy {i}: swaps to {}", served.revision));
        if let Some(before) = before {
            if before.epoch == served.epoch && served.revision < before.revision {
                self.violate(format!(
                    "proxy {i} went back from {} to {}",
                    before.revision, served.revision
                ));
            }
            if before.epoch != served.epoch && !self.succeeded(before.epoch, served.epoch) {
                self.violate(format!(
                    "proxy {i} changed its epoch from {} to {}",
                    before.epoch, served.epoch
                ));
            }
            if !self.is_one_store(before.epoch, served.epoch) {
                // Nobody counted on it until now.
                self.proxies[i].leased_since = None;
            }
        }
        let wrong = self.volume_of(served.epoch).is_some_and(|volume| {
            volume.history == 0 && volume.knows(served.revision) && !volume.holds(served.revision, served.digest)
        });
        if wrong {
            self.violate(format!(
                "proxy {i} serves another revision {} than the log holds",
                served.revision
            ));
        }
    }

    fn is_one_store(&self, one: Epoch, other: Epoch) -> bool {
        self.volume_of(one).is_some_and(|volume| volume.epochs.contains(&other))
    }

    pub(super) fn succeeded(&self, from: Epoch, to: Epoch) -> bool {
        self.volume_of(to).is_none_or(|volume| volume.consents.contains(&from))
    }

    /// Without a table it takes that of a control plane which has been cut off for long, or of a store that went back.
    pub fn begins_anew(&mut self, i: usize) {
        let said = self.proxies[i].said;
        let volume = said.and_then(|(epoch, _)| self.volume_of(epoch));
        if self.shared || volume.is_some_and(|volume| volume.history > 0) {
            self.proxies[i].said = None;
        }
    }

    /// What a restart finds is not behind what was said.
    pub fn check_start(&mut self, i: usize, loaded: Option<(Epoch, Revision)>, said: Option<(Epoch, Revision)>) {
        let (Some((epoch, revision)), Some((said_epoch, said))) = (loaded, said) else {
            return;
        };
        if epoch == said_epoch && revision < said {
            self.violate(format!(
                "proxy {i} starts at revision {revision}, after it had acknowledged {said}"
            ));
        }
        if epoch != said_epoch && !self.succeeded(said_epoch, epoch) {
            self.violate(format!(
                "proxy {i} starts in epoch {epoch}, after it had acknowledged {said_epoch}"
            ));
        }
    }

    /// The listeners open: caught up, or alone for long enough.
    pub fn check_opening(&mut self, i: usize) {
        let now = self.proxies[i].time(self.now);
        let Some(run) = &mut self.proxies[i].run else { return };
        let first = !std::mem::replace(&mut run.opened, true);
        let alone = now.since(run.started) >= ALONE_AFTER;
        let before = run.promised_before;
        let (Some(served), true) = (run.served, first) else {
            if first {
                self.violate(format!("proxy {i} opens its listeners without a table"));
            }
            return;
        };
        self.count.add("listeners opened");
        if alone {
            self.count.add("listeners opened late");
        }
        let Some(volume) = self.volume_of(served.epoch) else {
            return;
        };
        // Where others must learn first who holds it, what is promised meanwhile names it.
        let live = if self.shared { before } else { volume.ledger.live };
        if !alone && volume.holds(served.revision, served.digest) && served.revision < live {
            let revision = served.revision;
            self.violate(format!(
                "proxy {i} opens its listeners at revision {revision}, when {live} is live"
            ));
        }
    }

    pub fn check_said(&mut self, i: usize, up: &Up) {
        match up {
            Up::State(state) => {
                if let Some(level) = &state.level {
                    self.check_level(i, level);
                }
            }
            Up::Goodbye {} => {
                let busy = self.proxies[i]
                    .run
                    .as_ref()
                    .is_some_and(|run| run.listening || !run.requests.is_empty());
                if busy {
                    self.violate(format!("proxy {i} says goodbye while it is still busy"));
                }
            }
            Up::Hello(_) | Up::Upstreams(_) | Up::Limits(_) => {}
        }
    }

    pub(super) fn check_level(&mut self, i: usize, level: &Level) {
        let served = self.proxies[i].run.as_ref().and_then(|run| run.served);
        if level.applied > served.map_or(Revision::ZERO, |served| served.revision) {
            self.violate(format!(
                "proxy {i} acknowledges {}, and serves {served:?}",
                level.applied
            ));
        }
        let Some(served) = served.filter(|_| level.applied > Revision::ZERO) else {
            return;
        };
        let node = &mut self.proxies[i];
        let newer = node
            .said
            .is_none_or(|(epoch, revision)| epoch != served.epoch || revision < level.applied);
        if newer {
            node.said = Some((served.epoch, level.applied));
        }
        let instance = node.instance;
        // Only who holds what this log holds has acknowledged anything of it.
        let volumes = self.volumes.iter().enumerate();
        let followed = volumes
            .filter(|(_, volume)| volume.epochs.contains(&served.epoch))
            .find(|(_, volume)| volume.holds(served.revision, served.digest))
            .map(|(index, volume)| (instance, index, volume.history));
        if let Some(key) = followed {
            let said = self.acknowledged.entry(key).or_default();
            *said = level.applied.max(*said);
        }
    }

    /// Once faults are over: every control plane knows the log's head, and the others that there are.
    fn check_planes(&mut self) {
        let head = self.volume().head();
        for n in 0..self.planes.len() {
            let (now, others) = (self.plane_time(n), self.planes.len() - 1);
            let Some(run) = self.planes[n].run.as_ref() else {
                self.violate(format!("plane {n} ends without a life"));
                continue;
            };
            let planes = run.hub.roster().planes();
            let (known, heard) = (run.hub.revision(), planes.alive(now).len());
            if self.shared && (known, heard) != (head, others) {
                self.violate(format!(
                    "plane {n} ends at {known} of {head}, with {heard} of {others} others"
                ));
            }
        }
    }

    /// Once faults are over: everyone holds what the log holds, and knows it.
    pub fn check_converged(&mut self) {
        self.check_planes();
        self.check_holds();
        let head = self.volume().now().clone();
        let table = Table::of(&head).0;
        for i in 0..self.proxies.len() {
            let Some(run) = &self.proxies[i].run else { continue };
            let name = self.proxies[i].name.clone();
            let state = run.subscriber.state();
            let same = run.served.map(|served| (served.epoch, served.revision, served.digest))
                == Some((head.epoch, head.configured, head.digest));
            let view = run.views.now();
            let same_table = services(view.table()) == services(&table);
            let left = run.views.draining().len();
            let counted: u64 = self.endpoints(i).values().map(|endpoint| endpoint.in_flight()).sum();
            let held = run.requests.values().filter(|request| request.is_counted()).count() as u64;
            let phase = run.phase;
            let followed = self.proxies[i].was_proven_within(self.proxies[i].lease + ALONE_AFTER, self.now);
            if !same || !followed || !phase.is_open() {
                let (is, wanted) = (state.configured, head.configured);
                self.violate(format!("proxy {i} ({name}) ends {phase:?} at {is} and not at {wanted}"));
            } else if !same_table {
                self.violate(format!("proxy {i} ({name}) holds another table than its state makes"));
            } else if left > 0 || counted != held {
                self.violate(format!(
                    "proxy {i} ({name}) counts {counted} requests of {held}, and {left} drain"
                ));
            }
        }
    }
}

fn services(table: &Table) -> BTreeMap<&str, &Entry> {
    let entries = table.entries();
    entries.map(|entry| (entry.service.name.as_str(), &**entry)).collect()
}
