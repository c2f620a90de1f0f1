//! What a write waits for: which proxies have it in use, and, of an upstream that it retired, which still have
//! something in flight. The question is always which proxies, never how many.
//!
//! Both "applied ≥ R" and "drained of what was registered before R" stay true once they are, so a member that was
//! reached is never asked again, and an acknowledgement costs one look per wait. What decides is the level that a proxy
//! reported last, never the change of it: a wait that begins late, or asks again, sees the same.

use std::sync::Arc;

use crate::change::{ObjectKey, Revision};
use crate::stream::message::{Draining, Held, Level};
use crate::stream::roster::{Peer, Roster, Slot, Slots};
use crate::time::Time;

pub mod report;
mod targets;

pub use report::Report;

use targets::{Names, Targets, is_among};

/// What must be true at every member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Applied,
    /// Applied, and this upstream has passed its health check.
    Healthy {
        service: Arc<str>,
        id: Arc<str>,
    },
    /// Applied, and nothing is in flight any more to any of these.
    Drained(Vec<Target>),
    /// Both: what took the place has passed its health check, and what was registered before is drained.
    HandedOver {
        service: Arc<str>,
        id: Arc<str>,
        before: Revision,
    },
    /// What one write of many objects has to wait for: each of these upstreams has passed its health check, and nothing is
    /// in flight any more to any of the targets.
    Settled {
        /// Service and id.
        healthy: Vec<(Arc<str>, Arc<str>)>,
        drained: Vec<Target>,
    },
    /// The hold of that revision, or a later one, is in force, and nothing is in flight at any upstream of the service,
    /// also one that drains. That a proxy was so once is enough: nothing goes there until the hold ends.
    Quiet {
        service: Arc<str>,
        since: Revision,
    },
}

/// Identities that must be free of traffic: those registered before a revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    Upstream {
        service: Arc<str>,
        id: Arc<str>,
        before: Revision,
    },
    /// Whatever was registered with it; its upstreams need not be known any more.
    Service {
        service: Arc<str>,
        before: Revision,
    },
    Address {
        address: Arc<str>,
        before: Revision,
    },
    /// Whatever it is of.
    Any {
        before: Revision,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitSpec {
    /// A revision of the log; its members are asked, for the last configuration revision at or before it.
    pub revision: Revision,
    pub condition: Condition,
    /// Written at this revision: a proxy that refuses one of them ends the wait at once.
    pub objects: Vec<ObjectKey>,
}

/// What happened that a wait may end by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A level was received from this one.
    Acknowledged(Slot),
    /// It left after its drain, or is no longer remembered: it serves nothing.
    Gone(Slot),
    /// Time passed; leases may have ended.
    Tick,
    /// The caller waits no longer.
    Deadline,
}

/// One write that waits. Begins with a look at everyone; ends with a [`Report`].
#[derive(Debug)]
pub struct Wait {
    spec: WaitSpec,
    /// The configuration revision that members must have applied.
    applied: Revision,
    targets: Targets,
    /// Of `Condition::Settled`: what has to be well.
    healthy: Names,
    started: Time,
    members: Slots,
    pending: Slots,
    refused: bool,
}

/// How one member stands to one wait.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Reached,
    Lagging,
    Refusing,
    Warming,
    Draining,
}

impl Wait {
    /// `applied`: the last configuration revision at or before the one waited for. The members asked are those of the
    /// roster without a break since that revision or before, and those removed that may still serve.
    pub fn begin(mut spec: WaitSpec, applied: Revision, roster: &Roster, now: Time) -> Wait {
        let targets = Targets::of(&spec.condition);
        let healthy = Names::of(&spec.condition);
        // A refusal is looked up among them, and there may be many.
        spec.objects.sort_unstable();
        let mut wait = Wait {
            spec,
            applied,
            targets,
            healthy,
            started: now,
            members: Slots::default(),
            pending: Slots::default(),
            refused: false,
        };
        for (slot, peer) in roster.peers() {
            if peer.member_since() <= wait.spec.revision {
                wait.members.insert(slot);
                wait.pending.insert(slot);
                wait.look(slot, peer, roster);
            }
        }
        wait
    }

    /// The configuration revision that it asks for.
    pub fn applied(&self) -> Revision {
        self.applied
    }

    /// Whether it asks for more than the revision, so that any new level may end it.
    pub fn asks_beyond_applied(&self) -> bool {
        self.spec.condition != Condition::Applied
    }

    pub fn handle(&mut self, progress: Progress, roster: &Roster, now: Time) -> Option<Report> {
        match progress {
            Progress::Acknowledged(slot) => {
                if !self.pending.contains(slot) {
                    return None;
                }
                self.look(slot, roster.peer(slot)?, roster);
            }
            Progress::Gone(slot) => {
                self.members.remove(slot);
                self.pending.remove(slot);
            }
            Progress::Tick => {}
            Progress::Deadline => return Some(self.report(roster, now)),
        }
        self.is_over(roster, now).then(|| self.report(roster, now))
    }

    /// Whether everyone who is waited for was reached, or one refuses what was written. That nobody was reached is
    /// never the end while there are members: one that is away may come back before the deadline.
    fn is_over(&self, roster: &Roster, now: Time) -> bool {
        if self.refused || self.members.is_empty() {
            return true;
        }
        let is_detached = |slot| roster.peer(slot).is_none_or(|peer| roster.is_detached(peer, now));
        self.pending.iter().all(is_detached) && self.reached(roster, now).next().is_some()
    }

    /// Who was reached and is within its lease. One beyond it may have had this revision once; what it serves now
    /// nobody knows.
    fn reached<'a>(&'a self, roster: &'a Roster, now: Time) -> impl Iterator<Item = Slot> + 'a {
        self.members.iter().filter(move |slot| {
            let detached = |peer| roster.is_detached(peer, now);
            !self.pending.contains(*slot) && roster.peer(*slot).is_some_and(|peer| !detached(peer))
        })
    }

    fn look(&mut self, slot: Slot, peer: &Peer, roster: &Roster) {
        let standings = roster.levels(peer).map(|level| self.standing(Some(level)));
        let (reached, refusing) = standings.fold((false, false), |(reached, refusing), standing| {
            (
                reached || standing == Standing::Reached,
                refusing || standing == Standing::Refusing,
            )
        });
        if reached {
            self.pending.remove(slot);
        }
        self.refused |= refusing && !reached;
    }

    fn standing(&self, level: Option<&Level>) -> Standing {
        let Some(level) = level.filter(|level| level.applied >= self.applied) else {
            return Standing::Lagging;
        };
        if !self.spec.objects.is_empty() && self.refusals(level).next().is_some() {
            return Standing::Refusing;
        }
        match &self.spec.condition {
            Condition::Applied => Standing::Reached,
            Condition::Healthy { service, id } => match is_warming(level, service, id) {
                true => Standing::Warming,
                false => Standing::Reached,
            },
            Condition::HandedOver { service, id, .. } if is_warming(level, service, id) => Standing::Warming,
            Condition::Settled { .. } if self.healthy.warm(level) => Standing::Warming,
            Condition::Drained(_) | Condition::HandedOver { .. } | Condition::Settled { .. } => {
                match level.draining.iter().any(|d| self.targets.hold(d)) {
                    true => Standing::Draining,
                    false => Standing::Reached,
                }
            }
            Condition::Quiet { service, since } => match in_force(level, service, *since) {
                // It has ended there already, or has not begun.
                None => Standing::Lagging,
                Some(held) if held.busy.is_empty() && drains_of(level, service).next().is_none() => Standing::Reached,
                Some(_) => Standing::Draining,
            },
        }
    }

    fn refusals<'a>(&'a self, level: &'a Level) -> impl Iterator<Item = &'a crate::stream::message::Refused> {
        level
            .refused
            .iter()
            .filter(|refused| is_among(&self.spec.objects, &refused.object))
    }

    /// How things stand now, whether or not the wait is over.
    pub fn report(&self, roster: &Roster, now: Time) -> Report {
        let mut report = Report {
            reached: false,
            refused_now: self.refused,
            took: now.since(self.started),
            members: self.members.len(),
            reached_count: self.reached(roster, now).count(),
            ..Report::default()
        };
        let missing = self.members.iter().filter_map(|slot| {
            let peer = roster.peer(slot)?;
            (self.pending.contains(slot) || roster.is_detached(peer, now)).then_some(peer)
        });
        let mut missing: Vec<&Peer> = missing.collect();
        missing.sort_by(|a, b| a.name().cmp(b.name()));
        for peer in missing {
            self.name(peer, roster.latest(peer), roster.is_detached(peer, now), &mut report);
        }
        report.reached = !self.refused && self.is_over(roster, now);
        report
    }

    fn name(&self, peer: &Peer, level: Option<&Level>, detached: bool, report: &mut Report) {
        let name = peer.name();
        match (self.standing(level), level) {
            (Standing::Refusing, Some(level)) => self.refusals(level).for_each(|r| report.refused(name, r)),
            _ if detached => report.detached(name),
            (Standing::Draining, Some(level)) => match &self.spec.condition {
                Condition::Quiet { service, since } => {
                    let busy = in_force(level, service, *since).map_or(&[][..], |held| &held.busy);
                    busy.iter()
                        .for_each(|one| report.draining(name, service, &one.id, one.in_flight));
                    drains_of(level, service).for_each(|d| report.draining(name, service, &d.id, d.in_flight));
                }
                _ => {
                    self.name_drains(name, level, report);
                    // What serves on until they are well.
                    let behind = level.warming.iter().filter(|w| self.targets.name(&w.service, &w.id));
                    behind.for_each(|w| report.warming(name, format!("{}/{}", w.service, w.id), &w.last));
                }
            },
            (Standing::Warming, Some(level)) => {
                self.name_warming(name, level, report);
                self.name_drains(name, level, report);
            }
            (_, level) => report.lagging(name, level.map_or(Revision::ZERO, |level| level.applied)),
        }
    }

    fn name_warming(&self, name: &Arc<str>, level: &Level, report: &mut Report) {
        const UNLISTED: &str = "among many others";
        let (service, id) = match &self.spec.condition {
            Condition::Settled { healthy, .. } => {
                let mut unwell = self.healthy.unwell(level).peekable();
                match healthy.first() {
                    Some(first) if unwell.peek().is_none() => (&first.0, &first.1),
                    _ => return unwell.for_each(|(upstream, last)| report.warming(name, upstream, last)),
                }
            }
            Condition::Healthy { service, id } | Condition::HandedOver { service, id, .. } => (service, id),
            _ => return,
        };
        let it = level.warming.iter().find(|w| w.service == *service && w.id == *id);
        let last = it.map_or(UNLISTED, |warming| &*warming.last);
        report.warming(name, format!("{service}/{id}"), last);
    }

    fn name_drains(&self, name: &Arc<str>, level: &Level, report: &mut Report) {
        let left = level.draining.iter().filter(|d| self.targets.hold(d));
        left.for_each(|d| report.draining(name, &d.service, &d.id, d.in_flight));
    }
}

fn is_warming(level: &Level, service: &Arc<str>, id: &Arc<str>) -> bool {
    // One that is left out of the list may be it.
    level.warming_more > 0 || level.warming.iter().any(|w| w.service == *service && w.id == *id)
}

/// The hold of that revision, or one that renewed it.
fn in_force<'a>(level: &'a Level, service: &str, since: Revision) -> Option<&'a Held> {
    let mut held = level.held.iter();
    held.find(|held| &*held.service == service && held.revision >= since)
}

/// What serves on until its successor is well is held like the rest: it is quiet when nothing is in flight there.
fn drains_of<'a>(level: &'a Level, service: &'a str) -> impl Iterator<Item = &'a Draining> {
    let drains = level.draining.iter();
    drains.filter(move |d| &*d.service == service && d.in_flight > 0)
}

#[cfg(test)]
mod tests;
