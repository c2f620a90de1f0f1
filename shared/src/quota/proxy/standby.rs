//! Beats, and what a proxy may do on its own.
//!
//! While it hears an owner that can grant it promises, with every beat, to use no standby for a while. Once it hears none
//! it says nothing that it would have to keep, and begins with its standby a period after the last promise: by then the
//! owner keeps it back. An owner that the store lets claim nothing is as good as not heard, however often it is.

use std::time::Duration;

use uuid::Uuid;

use super::Proxy;
use super::holding::{Allowance, Source, Spent};
use super::link::Link;
use super::view::View;
use crate::change::Revision;
use crate::quota::message::{KeyHash, Said, Shard, Standby, Use};
use crate::quota::{Algorithm, Label, Rule, stretch};
use crate::time::Time;

impl Proxy {
    /// Whether a shard's owner, if there is one, has not been heard, or could grant nothing, for so long that this proxy is on
    /// its own.
    pub fn is_cut_off(&self, shard: Shard, now: Time) -> bool {
        self.is_over(shard, now, |link| link.able_when)
    }

    /// Whether it has not been heard for so long. What takes no claim, it can do without one.
    pub(super) fn is_unheard(&self, shard: Shard, now: Time) -> bool {
        self.is_over(shard, now, |link| link.heard_when)
    }

    fn is_over(&self, shard: Shard, now: Time, last: impl Fn(&Link) -> Time) -> bool {
        let view = &self.views[usize::from(shard)];
        let link = view.owner.and_then(|owner| self.links.get(&owner));
        now >= view.quiet_until && link.is_none_or(|link| now.since(last(link)) >= self.settings.promise)
    }

    pub(super) fn beat(&mut self, now: Time) {
        let due = |link: &super::Link| link.beat_due || now.since(link.beat_at) >= self.settings.beat;
        let due: Vec<Uuid> = self
            .links
            .iter()
            .filter(|(_, link)| due(link))
            .map(|(id, _)| *id)
            .collect();
        for owner in due {
            let shards: Vec<Shard> = (0..)
                .zip(&self.views)
                .filter(|(_, view)| view.owner == Some(owner))
                .map(|(shard, _)| shard)
                .collect();
            let heir = self.heir_of(&shards, now);
            let Some(link) = self.links.get_mut(&owner) else {
                continue;
            };
            (link.beat_at, link.beat_due) = (now, false);
            if shards.is_empty() {
                continue;
            }
            let promised = now.since(link.able_when) < self.settings.promise;
            // So that it is known how far they are used.
            shards.iter().for_each(|shard| self.close_standbys(*shard, now));
            if promised {
                for shard in &shards {
                    let view = &mut self.views[usize::from(*shard)];
                    view.quiet_until = view.quiet_until.max(now + self.settings.promise);
                }
            }
            let standby = shards.iter().map(|shard| Standby {
                shard: *shard,
                ..self.views[usize::from(*shard)].standby
            });
            let said = Said::Beat {
                promised,
                standby: standby.collect(),
                idle: self.standby_used.map(|(at, _)| now.since(at)),
                by: self.standby_used.map_or(Revision::ZERO, |(_, by)| by),
                began: self.mark.unknown_before.map(|began| now.since(began)),
                heir,
            };
            self.say(owner, said);
        }
    }

    /// The owner gives this proxy another standby. Less holds at once.
    pub(super) fn assigned(&mut self, owner: Uuid, standby: Standby, now: Time) {
        let Some(view) = self.views.get_mut(usize::from(standby.shard)) else {
            return;
        };
        if view.epoch != standby.epoch || view.owner != Some(owner) {
            return;
        }
        if standby.number > view.standby.number {
            view.standby = standby;
            self.close_standbys(standby.shard, now);
        }
        if let Some(link) = self.links.get_mut(&owner) {
            link.beat_due = true;
        }
    }

    fn close_standbys(&mut self, shard: Shard, now: Time) {
        let of_shard = self.standbys.iter().filter(|key| key.shard() == shard);
        for key in of_shard.copied().collect::<Vec<_>>() {
            self.close(key, now);
        }
    }

    /// Opens an allowance of this proxy's own standby, for a moment.
    pub(super) fn open_standby(&mut self, key: KeyHash, cost: u32, now: Time) -> bool {
        let Some(holding) = self.holdings.get_mut(&key) else {
            return false;
        };
        let view = self.views[usize::from(holding.account.shard())];
        let rule = holding.rule;
        if !may_use(&view, &rule, self.settings.forget_after, now) || holding.open.is_some() {
            return false;
        }
        let own = own(&rule);
        let at = Label::from_nanos(now.as_nanos());
        holding.standby.prune(&own, at);
        let rest = rule
            .standby(view.standby.weight)
            .saturating_sub(holding.standby.charged(&own, at));
        if rest < u64::from(cost) || !self.mark.is_removed(&mut self.outputs) {
            return false;
        }
        let bucket = own.bucket_of(at);
        let tokens = u32::try_from(rest.min(u64::from(cost).max(rest / 8))).unwrap_or(u32::MAX);
        holding.standby.charge(bucket, u64::from(tokens));
        let allowance = Allowance {
            source: Source::Standby { bucket },
            tokens,
            is_ahead: false,
            not_before: now,
            expiry: Time::from_nanos(own.end(bucket).as_nanos()),
            bucket: Use::STANDBY,
        };
        self.open(key, allowance, now);
        self.standbys.insert(key);
        true
    }

    pub(super) fn standby_closed(&mut self, key: KeyHash, bucket: u64, used: u64, unspent: u64, last: Time, now: Time) {
        self.standbys.remove(&key);
        self.mark.used(now);
        let Some(holding) = self.holdings.get_mut(&key) else {
            return;
        };
        holding.standby.discharge(bucket, unspent);
        if used > 0 {
            holding.record(Spent {
                bucket: Use::STANDBY,
                tokens: used,
                at: last,
            });
            let by = self.rules.revision;
            let spans = self.rules.rules.values().map(Rule::span);
            let counts = spans.fold(self.settings.ledger_above * 2, Duration::max);
            let former = self.standby_used.filter(|(at, _)| now.since(*at) < counts);
            self.standby_used = Some(former.map_or((last, by), |(at, former)| (at.max(last), former.min(by))));
        }
    }
}

fn may_use(view: &View, rule: &Rule, forget_after: Duration, now: Time) -> bool {
    let from = view.quiet_until + stretch(rule.validity() + rule.period);
    let has_any = view.standby.weight > 0 && view.is_remembered(forget_after, now);
    rule.has_standby(forget_after) && has_any && now >= from
}

/// Whatever the algorithm, no period by this proxy's clock has more than its standby.
pub fn own(rule: &Rule) -> Rule {
    Rule {
        algorithm: Algorithm::Sliding,
        ..*rule
    }
}
