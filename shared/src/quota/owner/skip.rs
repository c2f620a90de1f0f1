//! What of label time there never was.
//!
//! A predecessor's label time is not known to its successor, whose wall clock may have run away meanwhile, or whose own
//! may have. What the predecessor charged by its time would leave the window too early by as much. The claim that is found
//! says how far label time had come when it was written, and so how much may have been skipped since, at most; proxies
//! that heard the predecessor know better.

use std::time::Duration;

use super::claim::Held;
use crate::quota::cell::Claim;
use crate::quota::label::Moment;
use crate::quota::message::Oldest;
use crate::quota::{Algorithm, DELTA, Label, Rule, stretch};

/// For so long after a claim proxies are waited for that may know better.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, Default)]
pub struct Skip {
    /// Label time at the claim.
    at: Label,
    /// At most so much may have been skipped since the predecessor wrote its claim.
    most: Duration,
    /// By what proxies told.
    told: Option<Duration>,
    /// Since an owner before the predecessor, by what proxies told.
    longer: Duration,
    /// No proxy told of an owner that it heard before this, but for what label time has jumped since.
    heard: Option<Label>,
    /// Before that, all in all.
    before: Duration,
    is_settled: bool,
}

impl Skip {
    pub fn since(found: Option<&Claim>, now: Label, claim: Duration) -> Skip {
        let Some(found) = found else {
            return Skip {
                at: now,
                is_settled: true,
                ..Skip::default()
            };
        };
        let written = found.to.before(claim);
        Skip {
            at: now,
            most: now.since(written),
            told: None,
            longer: Duration::ZERO,
            heard: None,
            before: written.since(found.from),
            is_settled: false,
        }
    }

    /// By a proxy that knows what the predecessor's label time would be now, at the least. Of several the one that knows
    /// least: a predecessor whose machine slept was behind what others had heard of it.
    fn hear(&mut self, earliest: Option<Label>, oldest: Option<Oldest>, now: Label) {
        self.told = self.told.max(earliest.map(|earliest| now.since(earliest)));
        if let Some(oldest) = oldest {
            let heard = now.before(stretch(oldest.age));
            self.longer = self.longer.max(now.since(oldest.label));
            self.heard = Some(self.heard.map_or(heard, |former| former.min(heard)));
        }
    }

    /// What is charged from now on is charged by this; it may only become more.
    fn settle(&mut self) {
        self.told = self.told.or(Some(self.most));
        self.is_settled = true;
    }

    /// Since the predecessor.
    pub fn by(&self) -> Duration {
        match self.told {
            Some(told) if self.is_settled => told.min(self.most),
            _ => self.most,
        }
    }

    pub fn all(&self) -> Duration {
        self.before + self.by()
    }
}

impl Held {
    /// None while it may turn out that less was skipped than may have been.
    pub fn moment(&self, now: Label) -> Option<Moment> {
        let claim = self.claim?;
        // No claim ends before the one that it follows, whatever was skipped between them; and no allowance is valid for longer
        // than that, by any clock.
        let margin = 2 * DELTA + (stretch(Rule::VALIDITY_MAX) - Rule::VALIDITY_MAX) * 2;
        self.skip.is_settled.then(|| Moment {
            label: now,
            skipped: self.skip.all(),
            claimed: claim.from,
            over: claim.to.after(margin),
        })
    }

    pub fn hear_skip(&mut self, earliest: Option<Label>, oldest: Option<Oldest>, now: Label) {
        self.follow_skip(|skip| skip.hear(earliest, oldest, now));
    }

    /// No other proxy is waited for.
    pub fn settle_skip(&mut self) {
        self.follow_skip(Skip::settle);
    }

    pub fn is_skip_overdue(&self, now: Label) -> bool {
        !self.skip.is_settled && now > self.skip.at.after(PATIENCE)
    }

    /// What the predecessor granted is valid so much longer by this label time.
    fn follow_skip(&mut self, learn: impl FnOnce(&mut Skip)) {
        let before = self.skip.by();
        learn(&mut self.skip);
        if self.blind > Label::ZERO {
            self.blind = self.blind.before(before).after(self.skip.by());
        }
    }

    /// A label time that jumps makes the window shorter in which it lands. So that no three windows share one period, the
    /// next one opens later, and so does the one after if the jump may have left a window.
    pub fn closed_until(&self, rule: &Rule, now: Label) -> Option<Label> {
        if rule.algorithm == Algorithm::Sliding {
            return None;
        }
        let by = self.skip.by();
        if self.skip.longer > by + 2 * DELTA {
            // It jumped under the predecessor, too, and it is not known when.
            return self.closed_after_jumps(rule, now);
        }
        if by <= 2 * DELTA {
            return None;
        }
        let (at, from) = (self.skip.at, self.skip.at.before(by));
        let (former, current) = (rule.bucket_of(from), rule.bucket_of(at));
        let first = (rule.end(former), rule.end(former).after(by));
        let second = match former == current {
            true => first,
            false => (rule.end(current), at.after(rule.span())),
        };
        let until = [first, second].into_iter().fold(
            now,
            |until, (begin, end)| {
                if begin <= until { until.max(end) } else { until }
            },
        );
        (until > now).then_some(until)
    }

    /// At some time since proxies heard an older owner, and by no more than all claims say together.
    fn closed_after_jumps(&self, rule: &Rule, now: Label) -> Option<Label> {
        let (at, by) = (self.skip.at, self.skip.all());
        let current = rule.bucket_of(at);
        let since = self.skip.heard.unwrap_or(Label::ZERO).before(by);
        let (begin, until) = match rule.bucket_of(since) == current {
            // Within one window: only the next one opens later.
            true => (rule.end(current), rule.end(current).after(by)),
            false => (Label::ZERO, at.after(rule.span())),
        };
        (begin <= now && now < until).then_some(until)
    }
}

#[cfg(test)]
mod tests;
