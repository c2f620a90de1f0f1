//! What was admitted, when in true time, and whether that is too much.

use std::collections::BTreeMap;

use shared::quota::{AccountId, Algorithm, Rule, Rules};
use uuid::Uuid;

use crate::clock;
use crate::dice::MILLI;

#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub asked: u64,
    pub admitted: u64,
    pub waited: u64,
    pub messages: u64,
}

#[derive(Default)]
pub struct Oracle {
    /// True times and tokens, ascending.
    admitted: BTreeMap<AccountId, Vec<(u64, u64)>>,
    limits: BTreeMap<Uuid, Form>,
    /// Whether label time is near true time, so that fixed windows can be told apart.
    pub labels: bool,
    served: BTreeMap<AccountId, u64>,
    pub tally: Tally,
}

#[derive(Default)]
struct Form {
    /// All that someone may still go by.
    active: Vec<Rule>,
    /// What was admitted before counts by other rules.
    since: u64,
    /// When the last ones were taken over.
    settled: u64,
}

impl Form {
    fn is_fixed(&self) -> bool {
        self.active
            .last()
            .is_some_and(|rule| rule.algorithm == Algorithm::Fixed)
    }

    fn period(&self) -> u64 {
        self.active
            .iter()
            .map(|rule| rule.period.as_nanos() as u64)
            .min()
            .unwrap_or(0)
    }

    /// By any real interval of a period.
    fn most(&self) -> u64 {
        let of = |rule: &Rule| match rule.algorithm {
            Algorithm::Sliding => rule.threshold,
            Algorithm::Fixed => 2 * rule.threshold,
        };
        self.active.iter().map(of).max().unwrap_or(0)
    }
}

/// Windows end early, by more than owners disagree; their ends are told apart in between.
const BETWEEN: u64 = 25 * MILLI;

impl Oracle {
    /// There are new limits; proxies and owners take them over one by one.
    pub fn replaced(&mut self, rules: &Rules, _now: u64) {
        for rule in rules.rules.values() {
            let form = self.limits.entry(rule.limit).or_default();
            if form.active.last() != Some(rule) {
                form.active.push(*rule);
            }
        }
    }

    /// Everyone goes by the last ones.
    pub fn settled(&mut self, now: u64) {
        for form in self.limits.values_mut() {
            if let Some(last) = form.active.pop() {
                if !form.active.is_empty() {
                    form.settled = now;
                    form.since = form.since.max(now.saturating_sub(form.period()));
                }
                form.active = vec![last];
            }
        }
    }

    /// What is wrong about this admission, if anything.
    pub fn admit(&mut self, account: AccountId, at: u64, cost: u64) -> Option<String> {
        *self.served.entry(account).or_default() += cost;
        let form = self.limits.get(&account.limit)?;
        let times = self.admitted.entry(account).or_default();
        let place = times.partition_point(|(time, _)| *time <= at);
        times.insert(place, (at, cost));
        let (period, most) = (form.period(), form.most());
        for (end, _) in times[place..].iter().take_while(|(time, _)| *time < at + period) {
            // The window before a change had what it had.
            let since = if form.is_fixed() { form.settled } else { form.since };
            let begin = (end + 1).saturating_sub(period).max(since);
            let from = times.partition_point(|(time, _)| *time < begin);
            let until = times.partition_point(|(time, _)| time <= end);
            let sum: u64 = times[from..until].iter().map(|(_, cost)| cost).sum();
            if sum > most {
                let limit = account.limit;
                return Some(format!(
                    "{sum} admitted within a period, {most} permitted, of {limit} {:?}, {:?}",
                    account.key, form.active
                ));
            }
        }
        self.window(account, at)
    }

    fn window(&self, account: AccountId, at: u64) -> Option<String> {
        let form = self.limits.get(&account.limit)?;
        let [rule] = form.active[..] else { return None };
        if !self.labels || rule.algorithm != Algorithm::Fixed {
            return None;
        }
        let period = rule.period.as_nanos() as u64;
        let window = |time: u64| (clock::label(time) + BETWEEN) / period;
        let times = self.admitted.get(&account)?;
        let near = times
            .iter()
            .rev()
            .take_while(|(time, _)| window(*time) + 1 >= window(at));
        let same = near.filter(|(time, _)| *time >= form.since && window(*time) == window(at));
        let sum: u64 = same.map(|(_, cost)| cost).sum();
        (sum > rule.threshold).then(|| format!("{sum} admitted in a window, {} permitted", rule.threshold))
    }

    pub fn begin_service(&mut self) {
        self.served.clear();
    }

    pub fn served(&self, account: &AccountId) -> u64 {
        self.served.get(account).copied().unwrap_or(0)
    }
}
