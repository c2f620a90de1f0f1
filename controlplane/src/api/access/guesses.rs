//! How often an address may present tokens that nobody has. Beyond that it is told to wait, whatever it presents: whoever
//! guesses learns nothing meanwhile. Who was let in from there before still is, so that one proxy with an old token, or
//! somebody who guesses behind the same address, keeps nobody out who is at work.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// At once, after a while without any.
const BURST: u32 = 10;
/// From then on.
const ONE_EVERY: Duration = Duration::from_secs(6);
/// Addresses that are counted; all others share one count while those are as many.
const ADDRESSES_MAX: usize = 8_192;
/// Of who was let in from where: it is forgotten after so many others, or twice as many.
const KNOWN_MAX: usize = 8_192;
/// The least time between two looks for addresses whose count is over.
const PRUNE_EVERY: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Guesses(Mutex<State>);

#[derive(Default)]
struct State {
    /// Each refused token adds its time; what lies in the past is paid off.
    paid_at: HashMap<From, Instant>,
    pruned: Option<Instant>,
    known: HashSet<(From, Arc<str>)>,
    known_before: HashSet<(From, Arc<str>)>,
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

impl Guesses {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `name` may go on; `Err`: after how long another token is looked at. `name` is none if nobody has what
    /// was presented.
    pub fn judge(&self, address: IpAddr, name: Option<&Arc<str>>, now: Instant) -> Result<bool, Duration> {
        let mut state = self.state();
        let from = state.counted(From::of(address), now);
        let wait = state.wait(from, now);
        let who = name.map(|name| (From::of(address), name.clone()));
        match (who, wait) {
            (Some(who), None) => {
                state.remember(who);
                Ok(true)
            }
            (Some(who), Some(_)) if state.is_known(&who) => Ok(true),
            (_, Some(wait)) => Err(wait),
            (None, None) => {
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

    fn is_known(&self, who: &(From, Arc<str>)) -> bool {
        self.known.contains(who) || self.known_before.contains(who)
    }

    fn remember(&mut self, who: (From, Arc<str>)) {
        if self.known.contains(&who) {
            return;
        }
        if self.known.len() >= KNOWN_MAX {
            self.known_before = std::mem::take(&mut self.known);
        }
        self.known.insert(who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many wrong tokens are looked at.
    fn looked_at(guesses: &Guesses, from: IpAddr, now: Instant) -> u32 {
        let looked = (0..1_000).take_while(|_| guesses.judge(from, None, now).is_ok());
        u32::try_from(looked.count()).unwrap()
    }

    #[test]
    fn a_few_are_looked_at_and_then_one_now_and_then() {
        let (guesses, began) = (Guesses::default(), Instant::now());
        let host = address("192.0.2.1");
        assert_eq!(looked_at(&guesses, host, began), BURST);
        assert_eq!(guesses.judge(host, None, began), Err(ONE_EVERY));
        assert_eq!(looked_at(&guesses, host, began + ONE_EVERY), 1);
        assert_eq!(looked_at(&guesses, host, began + ONE_EVERY * 5), 4);
        assert_eq!(looked_at(&guesses, host, began + ONE_EVERY * 500), BURST);
        assert_eq!(looked_at(&guesses, address("192.0.2.2"), began), BURST, "another one");
    }

    #[test]
    fn who_was_let_in_from_there_still_is_and_nobody_else() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let host = address("192.0.2.1");
        let (old, new): (Arc<str>, Arc<str>) = ("old".into(), "new".into());
        assert_eq!(guesses.judge(host, Some(&old), now), Ok(true));
        assert_eq!(looked_at(&guesses, host, now), BURST);
        assert_eq!(guesses.judge(host, Some(&old), now), Ok(true));
        assert!(
            guesses.judge(host, Some(&new), now).is_err(),
            "a right guess is not told"
        );
        assert_eq!(guesses.judge(host, Some(&new), now + ONE_EVERY), Ok(true));
        assert_eq!(guesses.judge(address("192.0.2.2"), Some(&new), now), Ok(true));
    }

    #[test]
    fn a_network_is_one_host() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        assert_eq!(looked_at(&guesses, address("2001:db8::1"), now), BURST);
        assert_eq!(looked_at(&guesses, address("2001:db8::ffff:2"), now), 0);
        assert_eq!(looked_at(&guesses, address("2001:db8:0:1::1"), now), BURST);
        assert_eq!(looked_at(&guesses, address("192.0.2.1"), now), BURST);
        assert_eq!(looked_at(&guesses, address("::ffff:192.0.2.1"), now), 0);
    }

    #[test]
    fn many_addresses_fill_no_memory_and_gain_nothing() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let host = |n: u32| IpAddr::from(n.to_be_bytes());
        let hosts = u32::try_from(ADDRESSES_MAX).unwrap();
        for n in 0..hosts {
            assert_eq!(guesses.judge(host(n), None, now), Ok(false));
        }
        let beyond = (hosts..2 * hosts).filter(|n| guesses.judge(host(*n), None, now).is_ok());
        assert_eq!(beyond.count(), BURST as usize, "all of them together");
        assert!(guesses.state().paid_at.len() <= ADDRESSES_MAX + 1);
        for n in 0..3 * hosts {
            let name: Arc<str> = n.to_string().into();
            let _ = guesses.judge(host(1), Some(&name), now + ONE_EVERY);
        }
        let state = guesses.state();
        assert!(state.known.len() <= KNOWN_MAX && state.known_before.len() <= KNOWN_MAX);
    }
}
