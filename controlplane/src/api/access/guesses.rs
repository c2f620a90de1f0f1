//! How often an address may present tokens that nobody has. Beyond that it is told to wait, whatever it presents: whoever
//! guesses learns nothing meanwhile. Who was let in from there before still is, and a token that was refused there is no
//! guess when it comes again: neither a proxy that has an old one, and comes several times a second, nor somebody who
//! guesses behind the same address keeps those out who are at work.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::api::tokens::Secret;

/// Different ones at once, after a while without any.
const BURST: u32 = 10;
/// From then on.
const ONE_EVERY: Duration = Duration::from_secs(6);
/// Addresses that are counted; all others share one count while those are as many.
const ADDRESSES_MAX: usize = 8_192;
/// Of what was presented from where: it is forgotten after so much else, or twice as much.
const REMEMBERED_MAX: usize = 8_192;
/// The least time between two looks for addresses whose count is over.
const PRUNE_EVERY: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Guesses(Mutex<State>);

#[derive(Default)]
struct State {
    /// Each refused token adds its time; what lies in the past is paid off.
    paid_at: HashMap<From, Instant>,
    pruned: Option<Instant>,
    let_in: Memory,
    refused: Memory,
}

/// What was presented from where, by its digest.
#[derive(Default)]
struct Memory {
    recent: HashSet<(From, Secret)>,
    before: HashSet<(From, Secret)>,
}

/// One host, as far as addresses tell: of IPv6 a whole network, which anybody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum From {
    Host(IpAddr),
    Others,
}

impl From {
    fn of(address: IpAddr) -> From {
        From::Host(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            address => address,
        })
    }
}

impl Memory {
    fn has(&self, what: &(From, Secret)) -> bool {
        self.recent.contains(what) || self.before.contains(what)
    }

    fn keep(&mut self, what: (From, Secret)) {
        if self.recent.contains(&what) {
            return;
        }
        if self.recent.len() >= REMEMBERED_MAX {
            self.before = std::mem::take(&mut self.recent);
        }
        self.recent.insert(what);
    }
}

impl Guesses {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether whoever presents this may go on, which it `is_known` for; `Err`: after how long another token is looked at.
    pub fn judge(&self, address: IpAddr, presented: &Secret, is_known: bool, now: Instant) -> Result<bool, Duration> {
        let mut state = self.state();
        let from = state.counted(From::of(address), now);
        let what = (From::of(address), presented.clone());
        match (is_known, state.wait(from, now)) {
            (true, None) => {
                state.let_in.keep(what);
                Ok(true)
            }
            (true, Some(_)) if state.let_in.has(&what) => Ok(true),
            (false, _) if state.refused.has(&what) => Ok(false),
            (_, Some(wait)) => Err(wait),
            (false, None) => {
                state.refused.keep(what);
                let paid_at = state.paid_at.entry(from).or_insert(now);
                *paid_at = (*paid_at).max(now) + ONE_EVERY;
                Ok(false)
            }
        }
    }
}

impl State {
    /// Under which it counts.
    fn counted(&mut self, from: From, now: Instant) -> From {
        let is_full = |state: &State| state.paid_at.len() >= ADDRESSES_MAX && !state.paid_at.contains_key(&from);
        if is_full(self) && self.pruned.is_none_or(|at| now.duration_since(at) >= PRUNE_EVERY) {
            self.pruned = Some(now);
            self.paid_at.retain(|_, paid_at| *paid_at > now);
        }
        if is_full(self) { From::Others } else { from }
    }

    /// None: the next one is looked at.
    fn wait(&self, from: From, now: Instant) -> Option<Duration> {
        let debt = self.paid_at.get(&from)?.saturating_duration_since(now);
        let over = debt.saturating_sub(ONE_EVERY * (BURST - 1));
        (!over.is_zero()).then_some(over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    impl Guesses {
        fn guess(&self, from: IpAddr, token: &str, now: Instant) -> Result<bool, Duration> {
            self.judge(from, &Secret::of(token), false, now)
        }

        fn present(&self, from: IpAddr, token: &str, now: Instant) -> Result<bool, Duration> {
            self.judge(from, &Secret::of(token), true, now)
        }

        /// How many wrong tokens are looked at.
        fn looked_at(&self, from: IpAddr, now: Instant) -> u32 {
            let anew = uuid::Uuid::new_v4();
            let looked = (0..1_000).take_while(|n| self.guess(from, &format!("{anew} {n}"), now).is_ok());
            u32::try_from(looked.count()).unwrap()
        }
    }

    #[test]
    fn a_few_are_looked_at_and_then_one_now_and_then() {
        let (guesses, began) = (Guesses::default(), Instant::now());
        let host = address("192.0.2.1");
        assert_eq!(guesses.looked_at(host, began), BURST);
        assert_eq!(guesses.guess(host, "x", began), Err(ONE_EVERY));
        assert_eq!(guesses.looked_at(host, began + ONE_EVERY), 1);
        assert_eq!(guesses.looked_at(host, began + ONE_EVERY * 5), 4);
        assert_eq!(guesses.looked_at(host, began + ONE_EVERY * 500), BURST);
        assert_eq!(guesses.looked_at(address("192.0.2.2"), began), BURST, "another one");
    }

    #[test]
    fn who_was_let_in_from_there_still_is_and_nobody_else() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let host = address("192.0.2.1");
        assert_eq!(guesses.present(host, "old", now), Ok(true));
        assert_eq!(guesses.looked_at(host, now), BURST);
        assert_eq!(guesses.present(host, "old", now), Ok(true));
        assert!(guesses.guess(host, "wrong", now).is_err());
        assert!(guesses.present(host, "new", now).is_err(), "a right guess is not told");
        assert_eq!(guesses.present(host, "new", now + ONE_EVERY), Ok(true));
        assert_eq!(guesses.present(address("192.0.2.2"), "new", now), Ok(true));
    }

    /// A proxy with an old token, beside those that begin with theirs.
    #[test]
    fn the_same_again_is_no_guess() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let host = address("192.0.2.1");
        for _ in 0..1_000 {
            assert_eq!(guesses.guess(host, "old", now), Ok(false));
        }
        assert_eq!(guesses.present(host, "new", now), Ok(true));
        assert_eq!(guesses.looked_at(host, now), BURST - 1);
        assert_eq!(guesses.guess(host, "old", now), Ok(false));
        assert_eq!(
            guesses.present(host, "old", now + ONE_EVERY),
            Ok(true),
            "it was put into the list"
        );
    }

    #[test]
    fn a_network_is_one_host() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        assert_eq!(guesses.looked_at(address("2001:db8::1"), now), BURST);
        assert_eq!(guesses.looked_at(address("2001:db8::ffff:2"), now), 0);
        assert_eq!(guesses.looked_at(address("2001:db8:0:1::1"), now), BURST);
        assert_eq!(guesses.looked_at(address("192.0.2.1"), now), BURST);
        assert_eq!(guesses.looked_at(address("::ffff:192.0.2.1"), now), 0);
    }

    #[test]
    fn many_addresses_fill_no_memory_and_gain_nothing() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let host = |n: u32| IpAddr::from(n.to_be_bytes());
        let hosts = u32::try_from(ADDRESSES_MAX).unwrap();
        for n in 0..hosts {
            assert_eq!(guesses.guess(host(n), "x", now), Ok(false));
        }
        let beyond = (hosts..2 * hosts).filter(|n| guesses.guess(host(*n), "x", now).is_ok());
        assert_eq!(beyond.count(), BURST as usize, "all of them together");
        for n in 0..3 * hosts {
            let _ = guesses.present(host(1), &n.to_string(), now + ONE_EVERY);
        }
        let state = guesses.state();
        assert!(state.paid_at.len() <= ADDRESSES_MAX + 1);
        for memory in [&state.let_in, &state.refused] {
            assert!(memory.recent.len() <= REMEMBERED_MAX && memory.before.len() <= REMEMBERED_MAX);
        }
    }
}
