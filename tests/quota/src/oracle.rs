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

/// What was promised of a limit, from some time on.
struct State {
    from: u64,
    /// All that someone may go by.
    active: Vec<Rule>,
    /// What was admitted before counts by other rules.
    since: u64,
}

impl State {
    fn is_fixed(&self) -> bool {
        let last = self.active.last();
        last.is_some_and(|rule| rule.algorithm == Algorithm::Fixed)
    }

    fn period(&self) -> u64 {
        let periods = self.active.iter().map(|rule| rule.period.as_nanos() as u64);
        periods.min().unwrap_or(0)
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

#[derive(Default)]
struct Form(Vec<State>);

impl Form {
    /// What was promised when. A decision that was made before a change is told of after it.
    fn at(&self, time: u64) -> Option<(usize, &State)> {
        self.0.iter().enumerate().rfind(|(_, state)| state.from <= time)
    }

    /// What an interval may hold that begins then, and ends while the state of this number lasts. A fixed window begins with
    /// what was charged before a change, and has another one behind it.
    fn most(&self, number: usize, begin: u64) -> u64 {
        let state = &self.0[number];
        let most = state.most();
        if !state.is_fixed() || begin >= state.from {
            return most;
        }
        let own = state.active.last().map_or(0, |rule| rule.threshold);
        let first = self.0[..number]
            .iter()
            .rposition(|state| state.from <= begin && state.active.len() == 1)
            .unwrap_or(0);
        let settled = self.0[first..number].iter().filter(|state| state.active.len() == 1);
        let before: u64 = settled.map(State::most).sum();
        most.max(before + own)
    }

    fn replaced(&mut self, rule: &Rule, now: u64) {
        let last = self.0.last();
        let mut active = last.map_or(Vec::new(), |state| state.active.clone());
        if active.last() == Some(rule) {
            return;
        }
        active.push(*rule);
        self.0.push(State {
            from: now,
            since: last.map_or(0, |state| state.since),
            active,
        });
    }

    fn settled(&mut self, now: u64) {
        let Some(last) = self.0.last().filter(|state| state.active.len() > 1) else {
            return;
        };
        let Some(rule) = last.active.last().copied() else {
            return;
        };
        let state = State {
            from: now,
            active: vec![rule],
            since: last.since.max(now.saturating_sub(last.period())),
        };
        self.0.push(state);
    }
}

/// Windows end early, by more than owners disagree; their ends are told apart in between.
const BETWEEN: u64 = 25 * MILLI;

impl Oracle {
    /// There are new limits; proxies and owners take them over one by one.
    pub fn replaced(&mut self, rules: &Rules, now: u64) {
        for rule in rules.rules.values() {
            self.limits.entry(rule.limit).or_default().replaced(rule, now);
        }
    }

    /// Everyone goes by the last ones.
    pub fn settled(&mut self, now: u64) {
        self.limits.values_mut().for_each(|form| form.settled(now));
    }

    /// What is wrong about this admission, if anything.
    pub fn admit(&mut self, account: AccountId, at: u64, cost: u64) -> Option<String> {
        *self.served.entry(account).or_default() += cost;
        let form = self.limits.get(&account.limit)?;
        let times = self.admitted.entry(account).or_default();
        let place = times.partition_point(|(time, _)| *time <= at);
        times.insert(place, (at, cost));
        for (end, _) in &times[place..] {
            let (number, state) = form.at(*end)?;
            if *end >= at + state.period() {
                break;
            }
            let begin = (end + 1).saturating_sub(state.period()).max(state.since);
            let from = times.partition_point(|(time, _)| *time < begin);
            let until = times.partition_point(|(time, _)| time <= end);
            let sum: u64 = times[from..until].iter().map(|(_, cost)| cost).sum();
            let most = form.most(number, begin);
            if sum > most {
                let (limit, key, active) = (account.limit, account.key, &state.active);
                return Some(format!(
                    "{sum} admitted within a period, {most} permitted, of {limit} {key:?}, {active:?}"
                ));
            }
        }
        self.window(account, at)
    }

    fn window(&self, account: AccountId, at: u64) -> Option<String> {
        let (_, state) = self.limits.get(&account.limit)?.at(at)?;
        let [rule] = state.active[..] else { return None };
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
        // What another form granted does not end before its window.
        let begin = window(at) * period + BETWEEN;
        let is_certain = |time: u64| time >= state.from || clock::label(time) >= begin;
        let same = near.filter(|(time, _)| *time >= state.since && window(*time) == window(at) && is_certain(*time));
        let sum: u64 = same.map(|(_, cost)| cost).sum();
        (sum > rule.threshold).then(|| format!("{sum} admitted in a window, {} permitted", rule.threshold))
    }

    /// On average over all intervals that are a period shorter. A single one would count a burst more or less, as it
    /// begins just before one or just after.
    pub fn admitted_between(&self, start: u64, end: u64, period: u64) -> f64 {
        let inside = self.admitted.values().flatten();
        let inside = inside.filter(|(time, _)| (start..end).contains(time));
        let part = |time: u64| (time - start).min(end - time).min(period) as f64 / period as f64;
        inside.map(|(time, cost)| *cost as f64 * part(*time)).sum()
    }

    pub fn begin_service(&mut self) {
        self.served.clear();
    }

    pub fn served(&self, account: &AccountId) -> u64 {
        self.served.get(account).copied().unwrap_or(0)
    }
}
