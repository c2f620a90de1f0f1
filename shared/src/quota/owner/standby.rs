//! Standbys: what each proxy may spend once it has lost its owner, and what is kept back for it meanwhile.
//!
//! All that may be out at any time is at most the whole, so that no proxy is given more before all the others that must
//! have less have said so. A standby belongs to one life of a proxy: it ends with that life, with a goodbye, or after
//! the time that the proxy itself stops at.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::Owner;
use super::claim::Held;
use crate::change::Revision;
use crate::quota::message::{ProxyId, Shard, Standby, Told, UNMET};
use crate::quota::{Label, Rule, WHOLE, shrink, stretch};

/// A proxy with a standby.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    acknowledged: u64,
    /// Number and weight of what it was told and has not acknowledged, and when it was told last.
    sent: Option<(u64, u64, Label)>,
    number: u64,
    /// The most that it had when it used any of it, as far as that still counts.
    used: u64,
    /// What it has used and not told, it used a limit's period and the validity of an allowance later, or after that.
    idle_from: Label,
}

/// What a proxy says of itself, about all shards.
pub struct Beat {
    /// The newest message of this owner that it has read.
    pub heard: u64,
    /// Of its table.
    pub revision: Revision,
    pub promised: bool,
    /// When it used standby last, and by which table.
    pub used: Option<(Label, Revision)>,
    /// When this life of it began; none: those before used none that they did not tell.
    pub began: Option<Label>,
}

/// Who may spend standby soon, or did not long ago. When something is granted, nobody else is looked at.
#[derive(Debug, Default)]
pub struct Restless {
    instances: BTreeSet<Uuid>,
    until: Label,
}

/// For so long it holds.
const RESTLESS_FOR: Duration = Duration::from_millis(200);

impl Restless {
    pub fn add(&mut self, instance: Uuid) {
        self.instances.insert(instance);
    }

    pub fn is_stale(&self, now: Label) -> bool {
        now >= self.until
    }
}

/// The standby of a proxy that is not there any more.
#[derive(Clone, Copy, Debug)]
pub struct Ghost {
    pub id: ProxyId,
    pub weight: u64,
    pub revision: Revision,
    pub quiet_until: Label,
    /// As far as it said so.
    pub used_until: Label,
    /// As in [`Holder`].
    pub idle_from: Label,
    /// It may have used some, then at the latest, that nobody was told of; zero: it did not, or is not over.
    pub ended: Label,
    /// It counts no longer.
    pub until: Label,
}

impl Ghost {
    /// It is certain that its life is over. It used none since it said when it did, if it promised that. `counts`: how long
    /// any use counts.
    fn end(&mut self, now: Label, counts: Duration) {
        let is_quiet = self.quiet_until > now;
        self.ended = if is_quiet { Label::ZERO } else { now };
        self.quiet_until = Label::MAX;
        self.until = self.used_until.max(self.ended).after(counts);
    }

    /// A later life knows that it used none but what it told.
    fn vouched_for(&mut self, counts: Duration) {
        self.ended = Label::ZERO;
        self.until = self.used_until.after(counts);
    }
}

impl Holder {
    pub fn found(weight: u64) -> Holder {
        Holder {
            acknowledged: weight,
            sent: None,
            number: 0,
            used: weight,
            idle_from: Label::ZERO,
        }
    }

    /// The most that it may have now.
    fn weight(&self) -> u64 {
        self.sent.map_or(0, |(_, weight, _)| weight).max(self.acknowledged)
    }
}

impl Held {
    pub fn weight_known(&self) -> u64 {
        let holders = self.holders.values().map(Holder::weight);
        holders.chain(self.ghosts.iter().map(|ghost| ghost.weight)).sum()
    }
}

impl Owner {
    pub(super) fn heard_beat(&mut self, from: ProxyId, beat: Beat, standby: &[Standby]) {
        let now = self.now;
        if beat.began.is_none() {
            self.vouch(from);
        }
        let Some(peer) = self.peers.get_mut(&from.instance) else {
            return;
        };
        let (used_until, by) = beat.used.unwrap_or_default();
        if used_until > peer.used_until {
            // By what it had then: it may have been told less, and know lower limits, since.
            let counts = peer.used_until > now.before(self.history.standby_counts());
            peer.used_revision = if counts { peer.used_revision.min(by) } else { by };
            peer.used_until = used_until;
            self.restless.add(from.instance);
            for holder in self
                .held
                .values_mut()
                .filter_map(|held| held.holders.get_mut(&from.instance))
            {
                let before = if counts { holder.used } else { 0 };
                holder.used = holder.weight().max(before);
            }
        }
        // Only now: what it used by the table before stands in its beat, and nowhere else.
        peer.revision = peer.revision.max(beat.revision);
        let promised = beat
            .promised
            .then(|| peer.promised(beat.heard, &self.settings))
            .flatten();
        for told in standby {
            let Some(held) = self.held.get_mut(&told.shard) else {
                continue;
            };
            if held.epoch() != Some(told.epoch) {
                continue;
            }
            held.break_silence(&from.instance, beat.began);
            let ghosts = &mut held.ghosts;
            let holder = held.holders.entry(from.instance).or_insert_with(|| {
                // It is back: what it has is known again, but not with how much it used any of it.
                let former = ghosts.extract_if(.., |ghost| ghost.id == from);
                let used = former.map(|ghost| ghost.weight).max();
                let mut found = Holder::found(told.weight);
                // What it is told next has to be newer than what it was told before it was forgotten.
                found.number = told.number;
                found.used = found.used.max(used.unwrap_or(0));
                found
            });
            // Only of a shard that it names: of others it may have lost the owner before.
            holder.idle_from = holder.idle_from.max(promised.unwrap_or_default());
            match holder.sent {
                Some((number, ..)) if number == told.number => (holder.acknowledged, holder.sent) = (told.weight, None),
                // It was away for so long that it gave its own up.
                None if holder.number == told.number => holder.acknowledged = holder.acknowledged.min(told.weight),
                _ => {}
            }
        }
    }

    /// A life of a proxy is over, certainly (`ended`), or as far as the roster is concerned.
    pub(super) fn bury(&mut self, instance: Uuid, ended: bool) {
        let now = self.now;
        if ended {
            self.withdraw_ahead(&instance);
        }
        let Some(peer) = self.peers.get(&instance) else { return };
        let counts = self.history.standby_counts();
        let forgotten = peer.heard_at.after(stretch(self.settings.forget_after));
        for held in self.held.values_mut() {
            if ended {
                held.break_silence(&instance, Some(now));
            }
            for account in held.accounts.values_mut() {
                account.wants.remove(&instance);
                account.takers.remove(&instance);
                account.told.remove(&instance);
            }
            let Some(holder) = held.holders.remove(&instance) else {
                continue;
            };
            let mut ghost = Ghost {
                id: peer.id,
                weight: holder.weight().max(holder.used),
                revision: peer.revision.min(peer.used_revision),
                quiet_until: peer.quiet_until,
                used_until: peer.used_until,
                idle_from: holder.idle_from,
                ended: Label::ZERO,
                until: forgotten.max(now).after(counts),
            };
            if ended {
                ghost.end(now, counts);
            }
            held.ghosts.push(ghost);
        }
    }

    /// A life of a proxy is heard: those before it are over that the roster lost.
    pub(super) fn end_ghosts(&mut self, id: ProxyId) {
        let (now, counts) = (self.now, self.history.standby_counts());
        let ghosts = self.held.values_mut().flat_map(|held| &mut held.ghosts);
        let is_former = |ghost: &&mut Ghost| ghost.id.instance == id.instance && ghost.id.boot < id.boot;
        for ghost in ghosts.filter(is_former).filter(|ghost| ghost.quiet_until < Label::MAX) {
            ghost.end(now, counts);
        }
    }

    /// What its former lives told that they used, they used; and nothing else. Of one that ended long ago that does not say
    /// much: they may say so because it is long ago, and by a limit that was edited since it may count yet.
    fn vouch(&mut self, id: ProxyId) {
        let (now, counts) = (self.now, self.history.standby_counts());
        let recently = now.before(self.settings.forget_after);
        let ghosts = self.held.values_mut().flat_map(|held| &mut held.ghosts);
        let is_former = |ghost: &&mut Ghost| ghost.id.instance == id.instance && ghost.id.boot < id.boot;
        for ghost in ghosts.filter(is_former).filter(|ghost| ghost.ended > recently) {
            ghost.vouched_for(counts);
        }
    }

    /// Of what is granted next: see [`Owner::kept_back`].
    pub(super) fn kept_back_next(&self, held: &Held, rule: &Rule) -> u64 {
        let expires = self.now.after(rule.validity());
        let claimed = held.claim.map_or(expires, |claim| claim.to);
        self.kept_back(held, rule, expires.min(claimed))
    }

    /// What of an account must not be granted, since proxies that this owner does not hear may spend it within a period
    /// of a token that is valid until `expires`.
    pub(super) fn kept_back(&self, held: &Held, rule: &Rule, expires: Label) -> u64 {
        if !self.history.is_shared(&rule.limit) {
            return 0;
        }
        let since = self.now.before(rule.span());
        let may_use = |quiet_until: Label| quiet_until.after(shrink(rule.validity())) < expires;
        let mut kept: u64 = 0;
        let restless = self.restless.instances.iter();
        for (peer, holder) in restless.filter_map(|id| Some((self.peers.get(id)?, held.holders.get(id)?))) {
            let of_use = if peer.used_until > since {
                self.history.standby(rule, peer.used_revision, holder.used)
            } else {
                0
            };
            let of_now = if may_use(peer.quiet_until) {
                self.history.standby(rule, peer.revision, holder.weight())
            } else {
                0
            };
            kept = kept.saturating_add(of_use.max(of_now));
        }
        for ghost in &held.ghosts {
            let idle_for = self.history.standby_begins(rule, ghost.revision);
            let untold = ghost.ended > since && ghost.ended > ghost.idle_from.after(shrink(idle_for));
            if may_use(ghost.quiet_until) || ghost.used_until > since || untold {
                kept = kept.saturating_add(self.history.standby(rule, ghost.revision, ghost.weight));
            }
        }
        let unknown = held.silent_weight(rule, self.now, expires);
        kept.saturating_add(self.history.standby(rule, Revision::ZERO, unknown))
    }

    /// Of the tables that someone goes by, or went by with a standby that was used and counts yet.
    pub(super) fn oldest_revision(&self) -> Option<Revision> {
        let since = self.now.before(self.history.standby_counts());
        let peers = self.peers.values().map(|peer| match peer.used_until > since {
            true => peer.revision.min(peer.used_revision),
            false => peer.revision,
        });
        let ghosts = self.held.values().flat_map(|held| &held.ghosts);
        let silent = self.held.values().flat_map(|held| held.silent.keys());
        let others = ghosts.map(|ghost| ghost.revision).chain(silent.map(|_| Revision::ZERO));
        peers.chain(others).min()
    }

    /// An allowance ends at most its validity from now, and so no later than who promises for longer than the clocks may
    /// differ meanwhile.
    pub(super) fn look_for_restless(&mut self) {
        let until = self.now.after(RESTLESS_FOR);
        let validity = Rule::VALIDITY_MAX;
        let quiet = until.after(validity - shrink(validity));
        let since = self.now.before(self.history.standby_counts());
        let restless = self.peers.iter();
        let restless = restless.filter(|(_, peer)| peer.quiet_until <= quiet || peer.used_until > since);
        self.restless = Restless {
            instances: restless.map(|(instance, _)| *instance).collect(),
            until,
        };
    }

    pub(super) fn tick_standbys(&mut self) {
        self.look_for_restless();
        let now = self.now;
        let shards: Vec<Shard> = self.held.keys().copied().collect();
        // Its last use counts beyond the time from which on it uses none.
        let forget = stretch(self.settings.forget_after) + self.history.standby_counts();
        for shard in shards {
            let Some(held) = self.held.get_mut(&shard) else {
                continue;
            };
            let peers = &self.peers;
            // Back on the roster it is heard again, and goes on for so long from then.
            let is_heard = |ghost: &Ghost| {
                let peer = peers.get(&ghost.id.instance).filter(|peer| peer.id == ghost.id);
                ghost.quiet_until < Label::MAX && peer.is_some_and(|peer| now < peer.heard_at.after(forget))
            };
            held.ghosts.retain(|ghost| ghost.until > now || is_heard(ghost));
            held.tidy_silence(now, self.history.standby_counts());
            let is_remembered = |instance: &Uuid| {
                let heard = peers.get(instance).map(|peer| peer.heard_at);
                heard.is_some_and(|heard| now < heard.after(forget))
            };
            held.holders.retain(|instance, _| is_remembered(instance));
            if held.claim.is_some() && held.silent.is_empty() {
                self.assign(shard);
            }
        }
    }

    /// First less to those who have too much, then more to those who may have it.
    fn assign(&mut self, shard: Shard) {
        let now = self.now;
        let target = WHOLE / (self.members.len() as u64).max(1);
        let Some(held) = self.held.get_mut(&shard) else { return };
        let Some(epoch) = held.epoch() else { return };
        let mut known = held.weight_known();
        for instance in &self.members {
            let Some(peer) = self.peers.get_mut(instance) else {
                continue;
            };
            if peer.id.boot == UNMET || now.since(peer.heard_at) > self.settings.promise {
                continue;
            }
            // What it has already it says with its first beat.
            let Some(holder) = held.holders.get_mut(instance) else {
                continue;
            };
            // Who has promised nothing may use what it is told of at once, within a period of what was granted before.
            let is_quiet = peer.quiet_until > now;
            let (number, weight) = match holder.sent {
                Some((_, _, at)) if now.since(at) < self.settings.beat => continue,
                Some((_, weight, _)) if weight > holder.acknowledged && !is_quiet => continue,
                Some((number, weight, _)) => (number, weight),
                None if holder.acknowledged > target => (holder.number + 1, target),
                None if holder.acknowledged < target && !is_quiet => continue,
                None if holder.acknowledged < target && known + target - holder.acknowledged <= WHOLE => {
                    known += target - holder.acknowledged;
                    (holder.number + 1, target)
                }
                None => continue,
            };
            holder.number = number;
            holder.sent = Some((number, weight, now));
            peer.outbox.push(Told::Standby(Standby {
                shard,
                epoch,
                number,
                weight,
            }));
        }
    }
}
