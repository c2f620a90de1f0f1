//! Who failed to authenticate of late, over all workers. A question counts as a failure from when it is asked until it is
//! known to be none: as many as ask at once cannot ask more often than one after the other.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::clients::network;

/// Failures within a period after which nobody is asked any more until its end. Never for an account as a whole: a
/// stranger would keep it from its owner.
const ADDRESS_FAILURES_MAX: u32 = 10;
/// For an account at a trusted server, which sends the passwords of many.
const ACCOUNT_FAILURES_MAX: u32 = 30;
const PERIOD: Duration = Duration::from_secs(60);
/// Of more than these nothing is remembered: the sessions' own limits hold.
const FAILED_MAX: usize = 10_000;
/// For others of the same address, whose questions may turn out to be failures.
const TURN_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Failures {
    failed: Mutex<HashMap<Who, Failed>>,
    settled: Notify,
    names: RandomState,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Address(IpAddr),
    /// At the address of a server; a hash of its name.
    Account(IpAddr, u64),
}

impl Who {
    fn failures_max(self) -> u32 {
        match self {
            Who::Address(_) => ADDRESS_FAILURES_MAX,
            Who::Account(..) => ACCOUNT_FAILURES_MAX,
        }
    }
}

struct Failed {
    count: u32,
    /// Questions that have no answer yet.
    asking: u32,
    until: Instant,
}

/// Leave to ask about one password. A failure, unless it is taken back.
pub struct Attempt {
    failures: Arc<Failures>,
    /// None: there is no room to remember it.
    who: Option<Who>,
    is_failure: bool,
}

enum Begun {
    Leave(Attempt),
    /// It depends on what those are told who ask now.
    Later,
    Paused,
}

impl Failures {
    /// None: there were too many failures of late. `account`: of a server that speaks for many.
    pub async fn attempt(self: &Arc<Failures>, address: IpAddr, account: Option<&str>) -> Option<Attempt> {
        let address = network(address);
        let who = match account {
            Some(account) => Who::Account(address, self.names.hash_one(account)),
            None => Who::Address(address),
        };
        let until = Instant::now() + TURN_PATIENCE;
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            settled.as_mut().enable();
            match self.begin(who) {
                Begun::Leave(attempt) => return Some(attempt),
                Begun::Paused => return None,
                Begun::Later => timeout_at(until, settled).await.ok()?,
            }
        }
    }

    fn begin(self: &Arc<Failures>, who: Who) -> Begun {
        let leave = |who| {
            Begun::Leave(Attempt {
                failures: self.clone(),
                who,
                is_failure: true,
            })
        };
        let mut all = self.lock();
        let now = Instant::now();
        if all.len() >= FAILED_MAX && !all.contains_key(&who) {
            all.retain(|_, failed| failed.until > now || failed.asking > 0);
            if all.len() >= FAILED_MAX {
                return leave(None);
            }
        }
        let failed = all.entry(who).or_insert_with(|| Failed::since(now));
        failed.renew(now);
        match who.failures_max() {
            max if failed.count >= max => Begun::Paused,
            max if failed.count + failed.asking >= max => Begun::Later,
            _ => {
                failed.asking += 1;
                leave(Some(who))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Who, Failed>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failed {
    fn since(now: Instant) -> Failed {
        Failed {
            count: 0,
            asking: 0,
            until: now + PERIOD,
        }
    }

    fn renew(&mut self, now: Instant) {
        if self.until <= now {
            self.count = 0;
            self.until = now + PERIOD;
        }
    }
}

impl Attempt {
    /// The password was right, or nobody could say.
    pub fn forgive(mut self) {
        self.is_failure = false;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let Some(who) = self.who else { return };
        let mut all = self.failures.lock();
        if let Some(failed) = all.get_mut(&who) {
            failed.renew(Instant::now());
            failed.asking = failed.asking.saturating_sub(1);
            failed.count += u32::from(self.is_failure);
            if (failed.count, failed.asking) == (0, 0) {
                all.remove(&who);
            }
        }
        drop(all);
        self.failures.settled.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    async fn fails(failures: &Arc<Failures>, address: IpAddr, account: Option<&str>) -> bool {
        failures.attempt(address, account).await.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn failures_pause_addresses_and_accounts_of_servers_for_a_while() {
        let failures = Arc::<Failures>::default();
        for _ in 0..ADDRESS_FAILURES_MAX {
            assert!(fails(&failures, ONE, None).await);
        }
        assert!(!fails(&failures, ONE, None).await);
        assert!(fails(&failures, OTHER, None).await);
        for _ in 0..ACCOUNT_FAILURES_MAX {
            assert!(fails(&failures, ONE, Some("user")).await);
        }
        assert!(!fails(&failures, ONE, Some("user")).await);
        assert!(fails(&failures, ONE, Some("other")).await);
        assert!(
            fails(&failures, OTHER, Some("user")).await,
            "nobody is locked out elsewhere"
        );
        tokio::time::advance(PERIOD).await;
        for _ in 0..ADDRESS_FAILURES_MAX {
            assert!(fails(&failures, ONE, None).await, "counted from the beginning");
        }
        assert!(!fails(&failures, ONE, None).await);
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_as_ask_at_once_fail_no_more_often() {
        let failures = Arc::<Failures>::default();
        let mut asked = 0;
        let mut asking = Vec::new();
        for _ in 0..ADDRESS_FAILURES_MAX {
            asking.push(failures.attempt(ONE, None).await.unwrap());
        }
        // Those who come now wait for what these are told.
        let waiting: Vec<_> = (0..45)
            .map(|_| {
                let failures = failures.clone();
                tokio::spawn(async move { failures.attempt(ONE, None).await.is_some() })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|one| !one.is_finished()));
        asking.pop().unwrap().forgive();
        drop(asking);
        for one in waiting {
            asked += usize::from(one.await.unwrap());
        }
        assert_eq!(asked, 1, "for the one that was right");
        assert!(!fails(&failures, ONE, None).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_right_is_not_remembered_nor_paused() {
        let failures = Arc::<Failures>::default();
        for _ in 0..2 * ADDRESS_FAILURES_MAX {
            failures.attempt(ONE, None).await.unwrap().forgive();
        }
        assert!(failures.lock().is_empty());
        let _asking: Vec<_> = (0..ADDRESS_FAILURES_MAX)
            .map(|_| failures.begin(Who::Address(ONE)))
            .collect();
        let begun = Instant::now();
        assert!(failures.attempt(ONE, None).await.is_none(), "nobody waits for ever");
        assert_eq!(begun.elapsed(), TURN_PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_remembered_than_may_be() {
        let failures = Arc::<Failures>::default();
        for account in 0..2 * FAILED_MAX {
            assert!(fails(&failures, ONE, Some(&account.to_string())).await);
        }
        assert_eq!(failures.lock().len(), FAILED_MAX);
        tokio::time::advance(PERIOD).await;
        fails(&failures, ONE, Some("new")).await;
        assert_eq!(failures.lock().len(), 1);
    }
}
