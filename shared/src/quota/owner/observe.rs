//! Limits that only observe. Proxies tell what passed after it has, and hear what the limit would have refused of it; so
//! nothing is granted, and a count lags by as much as they wait before they tell. It begins anew with a new owner.

use uuid::Uuid;

use super::{Owner, Span, Usage};
use crate::quota::message::{SHARDS, Seen, Told};
use crate::quota::window::Window;
use crate::quota::{AccountId, Algorithm, Label, Rule, Shard, shrink};

/// Moments that the requests of one message are spread over.
const MOMENTS: u64 = 16;

/// What one account would have come to.
#[derive(Debug)]
pub struct Observed {
    rule: Rule,
    admitted: Window,
    refused: Window,
}

impl Observed {
    fn new(rule: Rule) -> Observed {
        Observed {
            rule,
            admitted: Window::default(),
            refused: Window::default(),
        }
    }

    /// Whether it counts yet.
    fn prune(&mut self, now: Label) -> bool {
        self.admitted.prune(&self.rule, now);
        self.refused.prune(&self.rule, now);
        !self.admitted.is_empty() || !self.refused.is_empty()
    }

    /// How many of them would have been refused: as if all cost the same, and came evenly.
    fn count(&mut self, seen: &Seen, now: Label) -> u64 {
        let rule = self.rule;
        let (since, until) = (now.before(shrink(seen.since)), now.before(shrink(seen.until)));
        let cost = seen.tokens.div_ceil(seen.requests.max(1)).max(1);
        let (moments, mut refused) = (seen.requests.clamp(1, MOMENTS), 0);
        let until_moment = |moment| portion(seen.requests, moment, moments);
        for moment in 0..moments {
            let requests = until_moment(moment + 1) - until_moment(moment);
            let after = until.since(since).as_nanos() * u128::from(moment) / u128::from(moments);
            let at = Label::from_nanos(since.as_nanos() + u64::try_from(after).unwrap_or(0));
            let left = rule.threshold.saturating_sub(self.admitted.charged(&rule, at));
            let admitted = requests.min(left / cost);
            let bucket = rule.bucket_of(at);
            self.admitted.charge(bucket, admitted.saturating_mul(cost));
            self.refused.charge(bucket, (requests - admitted).saturating_mul(cost));
            refused += requests - admitted;
        }
        refused
    }

    fn span(&self, from: Label, to: Label, tokens: impl Fn(&Window) -> u64) -> Span {
        Span {
            from,
            to,
            tokens: tokens(&self.admitted),
            refused: Some(tokens(&self.refused)),
        }
    }
}

fn portion(of: u64, part: u64, parts: u64) -> u64 {
    u64::try_from(u128::from(of) * u128::from(part) / u128::from(parts)).unwrap_or(u64::MAX)
}

impl Owner {
    /// Not of an account beyond those that are remembered: that is not answered.
    pub(super) fn seen(&mut self, instance: Uuid, seen: &Seen) {
        let (now, account) = (self.now, seen.account);
        let most = self.settings.accounts_max / usize::from(SHARDS);
        let Some(rule) = self.history.current().observed.get(&account.limit).copied() else {
            return;
        };
        let Some(held) = self.held.get_mut(&account.shard()).filter(|held| held.claim.is_some()) else {
            return;
        };
        if held.observed.len() >= most && !held.observed.contains_key(&account) {
            return;
        }
        let observed = held.observed.entry(account).or_insert_with(|| Observed::new(rule));
        match observed.rule.counts_like(&rule) {
            true => observed.rule = rule,
            false => *observed = Observed::new(rule),
        }
        observed.prune(now);
        let refused = observed.count(seen, now);
        self.tell(instance, Told::Observed { id: seen.id, refused });
    }

    pub(super) fn usage_observed(&self, id: &AccountId) -> Option<Usage> {
        let now = self.now;
        let rule = self.history.current().observed.get(&id.limit)?;
        let held = self.held.get(&id.shard()).filter(|held| held.claim.is_some())?;
        let none = Observed::new(*rule);
        let counted = held.observed.get(id).filter(|of| of.rule.counts_like(rule));
        let observed = counted.unwrap_or(&none);
        let period =
            |bucket: u64| observed.span(rule.begin(bucket), rule.end(bucket), |window| window.charged_to(bucket));
        Some(match rule.algorithm {
            Algorithm::Sliding => Usage {
                window: observed.span(now.before(rule.period), now, |window| window.charged(rule, now)),
                previous: None,
            },
            Algorithm::Fixed => {
                let bucket = rule.bucket_of(now);
                Usage {
                    window: period(bucket),
                    previous: bucket.checked_sub(1).map(period),
                }
            }
        })
    }

    /// Forgets what counts no more.
    pub(super) fn tidy_observed(&mut self, shard: Shard) {
        let now = self.now;
        let current = self.history.current();
        if let Some(held) = self.held.get_mut(&shard) {
            held.observed
                .retain(|id, observed| current.observed.contains_key(&id.limit) && observed.prune(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::change::Revision;
    use crate::quota::OnUnreachable;

    fn rule(threshold: u64, algorithm: Algorithm) -> Rule {
        Rule {
            limit: Uuid::nil(),
            revision: Revision(1),
            algorithm,
            period: Duration::from_secs(1),
            threshold,
            on_unreachable: OnUnreachable::Share,
        }
    }

    fn seen(requests: u64, tokens: u64, since: Duration) -> Seen {
        Seen {
            id: 1,
            account: AccountId::of(Uuid::nil(), b""),
            requests,
            tokens,
            since,
            until: Duration::ZERO,
        }
    }

    fn at(millis: u64) -> Label {
        Label::from_nanos(millis * 1_000_000)
    }

    const QUARTER: Duration = Duration::from_millis(250);

    /// What is told every quarter of a second, of requests that come evenly.
    fn refused(observed: &mut Observed, each: u64, quarters: u64) -> u64 {
        let told = (1..=quarters).map(|n| observed.count(&seen(each, each, QUARTER), at(10_000 + 250 * n)));
        told.sum()
    }

    #[test]
    fn what_keeps_to_it_is_not_refused_and_what_does_not_is() {
        for algorithm in [Algorithm::Sliding, Algorithm::Fixed] {
            let mut observed = Observed::new(rule(100, algorithm));
            assert_eq!(refused(&mut observed, 24, 40), 0, "{algorithm:?}");
            let mut observed = Observed::new(rule(100, algorithm));
            let refused = refused(&mut observed, 50, 40);
            assert!((960..=1_080).contains(&refused), "{algorithm:?}: {refused}");
        }
    }

    #[test]
    fn costs_are_counted_and_threshold_zero_refuses_all() {
        let mut observed = Observed::new(rule(100, Algorithm::Fixed));
        assert_eq!(observed.count(&seen(8, 240, Duration::ZERO), at(10_500)), 5);
        assert_eq!(observed.admitted.charged(&observed.rule, at(10_500)), 90);
        assert_eq!(observed.refused.charged(&observed.rule, at(10_500)), 150);
        let mut observed = Observed::new(rule(0, Algorithm::Sliding));
        assert_eq!(observed.count(&seen(7, 7, QUARTER), at(10_000)), 7);
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut observed = Observed::new(rule(1, Algorithm::Sliding));
        assert_eq!(observed.count(&seen(2, 2, Duration::ZERO), at(10_000)), 1);
        assert!(observed.prune(at(10_900)));
        assert!(!observed.prune(at(11_100)));
    }
}
