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
    /// By true time, ascending.
    admitted: BTreeMap<AccountId, Vec<Admission>>,
    limits: BTreeMap<Uuid, Form>,
    /// Whether label time is near true time, so that fixed windows can be told apart.
    pub labels: bool,
    served: BTreeMap<AccountId, u64>,
    pub tally: Tally,
}

#[derive(Clone, Copy, Debug)]
struct Admission {
    at: u64,
    tokens: u64,
    /// By a proxy that had nobody to ask.
    is_alone: bool,
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
    /// The last one with windows that follow one another: whatever came after it, someone may go by it yet.
    fn fixed(&self) -> Option<&Rule> {
        let mut active = self.active.iter();
        active.rfind(|rule| rule.algorithm == Algorithm::Fixed)
    }

    fn period(&self) -> u64 {
        let periods = self.active.iter().map(|rule| rule.period.as_nanos() as u64);
        periods.min().unwrap_or(0)
    }

    /// By any real interval of a period.
    fn most(&self) -> u64 {
        self.active.iter().map(most_of).max().unwrap_or(0)
    }
}

fn most_of(rule: &Rule) -> u64 {
    match rule.algorithm {
        Algorithm::Sliding => rule.threshold,
        Algorithm::Fixed => 2 * rule.threshold,
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
    ///
    /// A proxy that is alone when the interval ends knows what it spent itself, and its part of the threshold; of what the others
    /// spent while the threshold was higher it does not hear. So that one holds for an interval that reaches back there.
    fn most(&self, number: usize, begin: u64, is_alone: bool) -> u64 {
        let state = &self.0[number];
        let most = state.most();
        if begin >= state.from {
            return most;
        }
        let since = |is_wanted: fn(&State) -> bool| {
            let first = self.0[..number]
                .iter()
                .rposition(|state| state.from <= begin && is_wanted(state));
            &self.0[first.unwrap_or(0)..number]
        };
        if let Some(own) = state.fixed() {
            // Each form may have filled windows, also one that was followed before everyone had it.
            let states = since(|state| state.active.len() == 1).iter();
            let mut before: Vec<Rule> = states.flat_map(|state| state.active.iter().copied()).collect();
            before.retain(|rule| rule != own);
            before.sort_unstable_by_key(|rule| rule.revision);
            before.dedup();
            let before: u64 = before.iter().map(most_of).sum();
            return most.max(before + own.threshold);
        }
        let former = since(|_| true).iter().filter(|_| is_alone).map(State::most);
        former.fold(most, u64::max)
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
    pub fn admit(&mut self, account: AccountId, at: u64, tokens: u64, is_alone: bool) -> Option<String> {
        *self.served.entry(account).or_default() += tokens;
        let form = self.limits.get(&account.limit)?;
        let times = self.admitted.entry(account).or_default();
        let place = times.partition_point(|of| of.at <= at);
        let admission = Admission { at, tokens, is_alone };
        times.insert(place, admission);
        for Admission { at: end, is_alone, .. } in &times[place..] {
            let (number, state) = form.at(*end)?;
            if *end >= at + state.period() {
                break;
            }
            let begin = (end + 1).saturating_sub(state.period()).max(state.since);
            let from = times.partition_point(|of| of.at < begin);
            let until = times.partition_point(|of| of.at <= *end);
            let sum: u64 = times[from..until].iter().map(|of| of.tokens).sum();
            let most = form.most(number, begin, *is_alone);
            if sum > most {
                let (limit, key, active) = (account.limit, account.key, &state.active);
                return Some(format!(
                    "{sum} admitted within a period, {most} permitted, of {limit} {key:?}, {active:?}"
                ));
            }
        }
        self.window(account, at)
    }

    /// It turned out that an admission took less.
    pub fn settle(&mut self, account: AccountId, at: u64, cost: u64, used: u64) {
        let times = self.admitted.get_mut(&account);
        let of = times.and_then(|times| times.iter_mut().find(|of| (of.at, of.tokens) == (at, cost)));
        if let Some(of) = of {
            of.tokens = used;
        }
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
        let near = times.iter().rev().take_while(|of| window(of.at) + 1 >= window(at));
        // What another form granted does not end before its window.
        let begin = window(at) * period + BETWEEN;
        let is_certain = |time: u64| time >= state.from || clock::label(time) >= begin;
        let same = near.filter(|of| of.at >= state.since && window(of.at) == window(at) && is_certain(of.at));
        let sum: u64 = same.map(|of| of.tokens).sum();
        (sum > rule.threshold).then(|| format!("{sum} admitted in a window, {} permitted", rule.threshold))
    }

    /// On average over all intervals that are a period shorter. A single one would count a burst more or less, as it
    /// begins just before one or just after.
    pub fn admitted_between(&self, start: u64, end: u64, period: u64) -> f64 {
        let inside = self.admitted.values().flatten();
        let inside = inside.filter(|of| (start..end).contains(&of.at));
        let part = |time: u64| (time - start).min(end - time).min(period) as f64 / period as f64;
        inside.map(|of| of.tokens as f64 * part(of.at)).sum()
    }

    pub fn begin_service(&mut self) {
        self.served.clear();
    }

    pub fn served(&self, account: &AccountId) -> u64 {
        self.served.get(account).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::change::Revision;
    use shared::quota::OnUnreachable;

    use super::*;
    use crate::dice::SECOND;

    fn rules(revision: u64, algorithm: Algorithm, seconds: u64, threshold: u64) -> Rules {
        let revision = Revision(revision);
        let limit = Uuid::from_u128(9);
        let rule = Rule {
            limit,
            revision,
            algorithm,
            period: Duration::from_secs(seconds),
            threshold,
            on_unreachable: OnUnreachable::Share,
        };
        Rules {
            revision,
            rules: [(limit, rule)].into(),
            ..Rules::default()
        }
    }

    fn account() -> AccountId {
        AccountId::of(Uuid::from_u128(9), b"token")
    }

    /// So many of a threshold of 20, which then is 8 for everyone, and as many more, by proxies that are alone or not.
    fn lowered(before: u64, after: u64, is_alone: bool) -> bool {
        let mut oracle = Oracle::default();
        oracle.replaced(&rules(1, Algorithm::Sliding, 10, 20), 0);
        oracle.settled(0);
        assert_eq!(oracle.admit(account(), 15 * SECOND, before, is_alone), None);
        oracle.replaced(&rules(2, Algorithm::Sliding, 10, 8), 16 * SECOND);
        oracle.settled(17 * SECOND);
        oracle.admit(account(), 18 * SECOND, after, is_alone).is_none()
    }

    #[test]
    fn a_lower_threshold_holds_at_once_where_anyone_can_be_asked() {
        assert!(lowered(4, 4, false));
        assert!(!lowered(4, 5, false));
        assert!(lowered(10, 10, true));
        assert!(!lowered(10, 11, true));
    }

    #[test]
    fn after_a_period_it_holds_for_everyone() {
        let mut oracle = Oracle::default();
        oracle.replaced(&rules(1, Algorithm::Sliding, 10, 20), 0);
        oracle.replaced(&rules(2, Algorithm::Sliding, 10, 8), SECOND);
        oracle.settled(2 * SECOND);
        assert_eq!(oracle.admit(account(), 13 * SECOND, 8, true), None);
        assert!(oracle.admit(account(), 14 * SECOND, 1, true).is_some());
    }

    /// The windows before were filled while more was permitted.
    #[test]
    fn who_has_not_heard_of_another_kind_of_limit_fills_the_next_window() {
        let mut oracle = Oracle::default();
        oracle.replaced(&rules(1, Algorithm::Fixed, 2, 60), 0);
        oracle.settled(0);
        assert_eq!(oracle.admit(account(), 8 * SECOND + 500 * MILLI, 18, false), None);
        oracle.replaced(&rules(2, Algorithm::Fixed, 2, 8), 9 * SECOND);
        oracle.settled(9 * SECOND + 500 * MILLI);
        oracle.replaced(&rules(3, Algorithm::Sliding, 4, 3), 10 * SECOND + 300 * MILLI);
        assert_eq!(oracle.admit(account(), 10 * SECOND + 400 * MILLI, 8, false), None);
        assert!(oracle.admit(account(), 10 * SECOND + 450 * MILLI, 200, false).is_some());
    }

    /// The form in between was never everyone's, but some went by it.
    #[test]
    fn a_window_is_followed_by_another_whatever_form_filled_it() {
        let mut oracle = Oracle::default();
        oracle.replaced(&rules(1, Algorithm::Fixed, 1, 1), 0);
        oracle.settled(0);
        oracle.replaced(&rules(2, Algorithm::Fixed, 1, 8), 10 * SECOND + 500 * MILLI);
        assert_eq!(oracle.admit(account(), 10 * SECOND + 700 * MILLI, 5, false), None);
        oracle.replaced(&rules(3, Algorithm::Fixed, 4, 1), 10 * SECOND + 900 * MILLI);
        oracle.settled(11 * SECOND + 100 * MILLI);
        assert_eq!(oracle.admit(account(), 12 * SECOND + 100 * MILLI, 1, false), None);
        assert!(oracle.admit(account(), 13 * SECOND, 100, false).is_some());
    }
}
