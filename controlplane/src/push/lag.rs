//! How far proxies are behind the log, in time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use net::clock::boottime;
use shared::change::Revision;
use shared::stream::hub::{Member, Presence};
use shared::time::Time;

use super::Fleet;

/// Commits whose time is remembered. Who lacks more of them is behind by at least the time of the oldest.
const COMMITS_MAX: usize = 10_000;

/// When the last revisions were committed, as this control plane saw it.
pub(super) struct Commits {
    times: VecDeque<(Revision, Time)>,
}

/// One proxy.
#[derive(Clone, Debug)]
pub struct Lag {
    pub name: Arc<str>,
    pub state: Presence,
    pub behind: Duration,
}

impl Commits {
    /// What was committed before counts as committed now.
    pub fn from(head: Revision, now: Time) -> Commits {
        Commits {
            times: [(head, now)].into(),
        }
    }

    pub fn add(&mut self, revision: Revision, now: Time) {
        if self.times.len() >= COMMITS_MAX {
            self.times.pop_front();
        }
        self.times.push_back((revision, now));
    }

    /// Since when what comes after `applied` is there; zero if nothing does.
    fn behind(&self, applied: Revision, now: Time) -> Duration {
        let next = self.times.partition_point(|(revision, _)| *revision <= applied);
        self.times.get(next).map_or(Duration::ZERO, |(_, at)| now.since(*at))
    }
}

impl Fleet {
    /// Of all members.
    pub fn lags(&self) -> Vec<Lag> {
        let now = boottime();
        let members = self.with(|hub| hub.standings(now)).unwrap_or_default();
        let commits = self.commits();
        let lag = |Member { name, state, applied }| Lag {
            name,
            state,
            behind: commits.behind(applied, now),
        };
        members.into_iter().map(lag).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_change_that_is_lacking_counts() {
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        let mut commits = Commits::from(Revision(7), at(100));
        commits.add(Revision(8), at(110));
        commits.add(Revision(9), at(120));
        let behind = |applied| commits.behind(Revision(applied), at(130)).as_secs();
        assert_eq!(
            [behind(9), behind(8), behind(7), behind(6), behind(0)],
            [0, 10, 20, 30, 30]
        );
    }

    #[test]
    fn few_are_remembered() {
        let mut commits = Commits::from(Revision(0), Time::ZERO);
        for n in 1..=2 * COMMITS_MAX as u64 {
            commits.add(Revision(n), Time::ZERO + Duration::from_secs(n));
        }
        assert_eq!(commits.times.len(), COMMITS_MAX);
        let now = Time::ZERO + Duration::from_secs(2 * COMMITS_MAX as u64);
        assert_eq!(commits.behind(Revision(0), now).as_secs(), COMMITS_MAX as u64 - 1);
    }
}
