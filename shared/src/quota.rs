//! Rate limits that the whole fleet keeps together, and that no request takes a network hop for.
//!
//! ```text
//!   store ── claim: one owner per shard, for a range of label time ──▶ Owner (control plane)
//!                                                                        │ grant      ▲ want, used, return
//!   request ── Slots: one compare-and-swap per limit ◀── refill ── Proxy ◀┘           │
//!                                                         └───────────────────────────┘
//! ```
//!
//! A token is spent only after it was taken out of something that one owner alone can give. Limits with periods of up
//! to a minute are counted in their owner's memory; a successor learns what is spent from the proxies (`owner::census`).
//! Longer ones are counted in the store, in chunks (`ledger`). Time never travels: what does is durations, each counted
//! from an event that both ends know, on clocks whose rates differ by less than [`RATE_PPM`].
//!
//! Why no real interval of one period admits more than the threshold, under `sliding`: a token may be spent from some label
//! time on, that of its grant or a later one, and is charged to the bucket in which it is admitted or to a later one. At `n`
//! those count that may be spent by then and are charged to a bucket that ends after `n - period`. Of the tokens admitted in
//! an interval take one that may be spent no earlier than the others, from `n` on: each other one was admitted less than a
//! period before `n`, or after it. So all of them count at `n`; and nothing is granted by which more than the threshold would
//! count at any moment from which on something may be spent.

use std::time::Duration;

mod cell;
mod digest;
mod label;
mod ledger;
mod message;
pub mod owner;
pub mod permits;
pub mod proxy;
mod rule;
pub mod slots;
mod window;

pub use cell::{CellKey, CellValue, Claim, Outcome, Row};
pub use digest::Digest;
pub use label::{Label, LabelClock, Reading};
pub use message::{
    AccountId, Down, Estate, GrantId, Handover, Inherited, KeyHash, ProxyId, SHARDS, Said, Seen, Shard, Standby,
    Testament, Told, Up, Use, Want,
};
pub use owner::{Departure, Owner};
pub use permits::gates::Gates;
pub use proxy::Proxy;
pub use rule::{Algorithm, Concurrent, OnUnreachable, Rule, Rules};
pub use slots::Slots;

/// By how many parts per million two clocks of the fleet may run apart: label time is steered by at most 500, and an
/// oscillator is off by at most 200.
pub const RATE_PPM: u64 = 1_000;
/// How far the label times of two owners may be apart.
pub const DELTA: Duration = Duration::from_millis(20);
/// So long after the end of an allowance what was reserved of it may come back.
pub const SETTLED_WITHIN: Duration = Duration::from_secs(600);
/// Weights of standbys are parts of this. Every number up to 40 divides it, so that the shares of a fleet of so many proxies are
/// what the threshold divided by that number is, and not one token less. Numbers of JSON hold it exactly.
pub const WHOLE: u64 = 5_342_931_457_063_200;

/// What the whole fleet has to agree on.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How far ahead an owner claims label time; a successor that cannot ask everyone waits that long.
    pub claim: Duration,
    /// Between two beats of an owner, and of a proxy.
    pub beat: Duration,
    /// A proxy that has heard its owner within this promises to use no standby for as long again.
    pub promise: Duration,
    /// Limits with longer periods are counted in the store.
    pub ledger_above: Duration,
    /// After so long without its owner a proxy uses no standby either, and its share is given to others.
    pub forget_after: Duration,
    /// Accounts that one proxy, or one owner, remembers.
    pub accounts_max: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            claim: Duration::from_secs(15),
            beat: Duration::from_secs(1),
            promise: Duration::from_secs(2),
            ledger_above: Duration::from_secs(60),
            forget_after: Duration::from_secs(24 * 3_600),
            accounts_max: 1 << 20,
        }
    }
}

/// At least as long by any clock of the fleet as `duration` is by any other.
pub fn stretch(duration: Duration) -> Duration {
    duration + part(duration)
}

/// At most as long by any clock of the fleet as `duration` is by any other.
pub fn shrink(duration: Duration) -> Duration {
    duration - part(duration)
}

fn part(duration: Duration) -> Duration {
    let nanos = duration.as_nanos() * u128::from(RATE_PPM) / 1_000_000;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
