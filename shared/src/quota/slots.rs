//! Where requests are admitted: the allowances of a proxy, one cache line each, taken from without a lock.
//!
//! Any thread decides; one at a time refills (the holder of [`super::Proxy`]). An allowance's tokens and its epoch are
//! one word, so that a token is taken only out of the allowance whose expiry was read before. A refill goes
//!
//! ```text
//!   (epoch | rest) ─▶ (epoch + 1 | 0) ─▶ expiry ─▶ (epoch + 1 | tokens)
//! ```
//!
//! A decision looks at the slots of all matching limits, then reads the clock once, then takes a token of each, and puts
//! them back unless it got all. It is admitted at that reading: every allowance was valid then. Having read the clock
//! *before* taking is what lets a refill say when the tokens were spent that it finds gone: not after now.
//!
//! Memory is bounded by construction. Eight neighbouring slots are all that an account may live in; when all are in use,
//! the allowance that would end first is closed, and its rest goes back.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use smallvec::SmallVec;

use super::KeyHash;
use crate::time::Time;

/// Limits that one request can match.
pub const NEEDS_MAX: usize = 16;
/// Slots that an account may live in.
const NEAR: usize = 8;
/// Lost races after which a decision takes the slow way.
const ATTEMPTS: usize = 64;

/// Tokens that a request needs of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    pub key: KeyHash,
    pub cost: u32,
}

impl Need {
    pub const NONE: Need = Need {
        key: KeyHash::LEAST,
        cost: 0,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Admitted {
        at: Time,
        /// Bit `i`: need `i` left its allowance low, or empty, and more should be asked for.
        low: u32,
        /// The need that left the least.
        least: usize,
    },
    /// There is no valid allowance with that many tokens for this need; more may be had.
    Short { need: usize },
    /// The fleet has spent what this account may spend until then.
    Exhausted { need: usize, retry: Time },
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Slot {
    key: (AtomicU64, AtomicU64),
    /// Epoch in the upper half, tokens in the lower.
    word: AtomicU64,
    expiry: AtomicU64,
    /// Before this there is nothing to be had.
    retry: AtomicU64,
    /// Requests refused for `retry`, since it was asked.
    refused: AtomicU64,
    /// At how many tokens more should be asked for; and at none.
    low: AtomicU32,
    /// Some of the allowance was reserved, and may come back.
    is_reserved: AtomicBool,
    /// Tokens of the allowance that were taken, and put back.
    put_back: AtomicU64,
}

fn word(epoch: u64, tokens: u32) -> u64 {
    epoch << 32 | u64::from(tokens)
}

fn epoch_of(word: u64) -> u64 {
    word >> 32
}

fn tokens_of(word: u64) -> u32 {
    word as u32
}

impl Slot {
    fn is_of(&self, key: KeyHash) -> bool {
        let (high, low) = key.halves();
        self.key.1.load(Ordering::Acquire) == low && self.key.0.load(Ordering::Acquire) == high
    }

    /// Puts back what was taken, unless the allowance was closed meanwhile: then it counts as spent. Whether it was put back.
    fn put_back(&self, epoch: u64, tokens: u32) -> bool {
        // Before the word, so that who finds the token there finds this, too.
        self.put_back.fetch_add(u64::from(tokens), Ordering::AcqRel);
        let mut now = self.word.load(Ordering::Acquire);
        while epoch_of(now) == epoch {
            let more = now + u64::from(tokens);
            match self
                .word
                .compare_exchange_weak(now, more, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    /// Ends the allowance; nobody takes from it after this. Its rest.
    fn close(&self) -> u32 {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let closed = word(epoch_of(seen) + 1, 0);
            match self
                .word
                .compare_exchange_weak(seen, closed, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return tokens_of(seen),
                Err(now) => seen = now,
            }
        }
    }
}

#[derive(Debug)]
pub struct Slots {
    slots: Box<[Slot]>,
}

/// Where an allowance is, or was: it has its epoch for itself in that slot, whosever the slot becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    slot: usize,
    epoch: u64,
}

/// Tokens that were taken from one allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    place: Place,
    tokens: u32,
}

impl Taken {
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    pub fn place(&self) -> Place {
        self.place
    }
}

/// An allowance that had to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted {
    pub key: KeyHash,
    pub rest: u32,
}

impl Slots {
    /// `capacity` is rounded up to a power of two; each slot takes 64 bytes.
    pub fn new(capacity: usize) -> Slots {
        let capacity = capacity.clamp(NEAR, 1 << 30).next_power_of_two();
        Slots {
            slots: (0..capacity).map(|_| Slot::default()).collect(),
        }
    }

    /// From the account's own place on, so that most are found where they are looked for first, and most others in the other half of
    /// the pair of lines that a processor fetches together.
    fn near(&self, key: KeyHash) -> impl Iterator<Item = &Slot> {
        let own = key.halves().1 as usize & (self.slots.len() - 1);
        let first = own & !(NEAR - 1);
        let group = &self.slots[first..first + NEAR];
        (0..NEAR).map(move |step| &group[(own ^ step) & (NEAR - 1)])
    }

    fn index_of(&self, slot: &Slot, key: KeyHash) -> Option<usize> {
        let first = key.halves().1 as usize & (self.slots.len() - 1) & !(NEAR - 1);
        (first..first + NEAR).find(|place| std::ptr::eq(&self.slots[*place], slot))
    }

    /// Has the processor fetch the two slots that an account is looked for in first. `place`: the last 32 bits of its name.
    pub fn touch(&self, place: u32) {
        let own = place as usize & (self.slots.len() - 1);
        for place in [own, own ^ 1] {
            self.slots[place].word.load(Ordering::Relaxed);
        }
    }

    fn find(&self, key: KeyHash) -> Option<&Slot> {
        self.near(key).find(|slot| slot.is_of(key))
    }

    fn see(&self, key: KeyHash) -> Seen<'_> {
        for slot in self.near(key) {
            // The word before all else: if anything read after it belongs to another allowance, so does the word by then.
            let word = slot.word.load(Ordering::Acquire);
            if slot.is_of(key) {
                let expiry = slot.expiry.load(Ordering::Acquire);
                let slot = Some(slot);
                return Seen { slot, word, expiry };
            }
        }
        Seen {
            slot: None,
            word: 0,
            expiry: 0,
        }
    }

    /// Takes what each need asks for, or nothing at all. `clock` is read once per attempt.
    pub fn decide(&self, needs: &[Need], clock: impl Fn() -> Time) -> Decision {
        self.decide_noting(needs, clock, |_| {})
    }

    /// `note` sees the attempt that is admitted.
    pub fn decide_noting(&self, needs: &[Need], clock: impl Fn() -> Time, note: impl FnOnce(&Attempt<'_>)) -> Decision {
        for _ in 0..ATTEMPTS {
            let mut attempt = Attempt::look(self, needs);
            let now = clock();
            if let Some(refused) = attempt.refusal(now) {
                return refused;
            }
            while attempt.take_next() {}
            match attempt.is_complete() {
                true => {
                    note(&attempt);
                    return attempt.admitted(now);
                }
                false => attempt.put_back(),
            }
        }
        Decision::Short { need: 0 }
    }

    /// What is left of an account's allowance.
    pub fn rest(&self, key: KeyHash) -> u32 {
        self.find(key)
            .map_or(0, |slot| tokens_of(slot.word.load(Ordering::Acquire)))
    }

    /// Ends an account's allowance; its rest, which nobody can take any more.
    pub fn close(&self, key: KeyHash) -> u32 {
        self.find(key).map_or(0, Slot::close)
    }

    /// Puts back what of a reservation was not used, for others to take: but only into the allowance that it was taken from.
    /// How much could not be put back because that is over: [`super::Proxy::settle_late`] takes it.
    pub fn settle(&self, taken: Taken, used: u64) -> u32 {
        let used = u32::try_from(used).map_or(taken.tokens, |used| used.min(taken.tokens));
        let rest = taken.tokens - used;
        let slot = self.slots.get(taken.place.slot).filter(|_| rest > 0);
        match slot.is_none_or(|slot| slot.put_back(taken.place.epoch, rest)) {
            true => 0,
            false => rest,
        }
    }

    /// Where the allowance was that was closed last, if some of it was reserved.
    pub fn reserved(&self, key: KeyHash) -> Option<Place> {
        let slot = self.find(key).filter(|slot| slot.is_reserved.load(Ordering::Acquire))?;
        Some(Place {
            slot: self.index_of(slot, key)?,
            epoch: epoch_of(slot.word.load(Ordering::Acquire)).saturating_sub(1),
        })
    }

    /// How many tokens of the allowance that was closed last had been taken and put back: that many may have seemed to be
    /// spent before they were.
    pub fn put_back(&self, key: KeyHash) -> u64 {
        self.find(key).map_or(0, |slot| slot.put_back.load(Ordering::Acquire))
    }

    /// Puts in an allowance, for an account that has none open. Only one thread at a time may call this, and the other
    /// functions that change what is not taken.
    pub fn open(&self, key: KeyHash, tokens: u32, expiry: Time, low: u32) -> Option<Evicted> {
        let (slot, evicted) = self.place(key);
        let closed = epoch_of(slot.word.load(Ordering::Acquire)) + 1;
        slot.word.store(word(closed, 0), Ordering::Release);
        slot.expiry.store(expiry.as_nanos(), Ordering::Release);
        slot.low.store(low, Ordering::Release);
        slot.is_reserved.store(false, Ordering::Release);
        slot.retry.store(0, Ordering::Release);
        slot.put_back.store(0, Ordering::Release);
        slot.word.store(word(closed, tokens), Ordering::Release);
        evicted
    }

    /// Lets requests be refused until `retry` without asking.
    pub fn exhaust(&self, key: KeyHash, retry: Time) -> Option<Evicted> {
        let (slot, evicted) = self.place(key);
        slot.retry.store(retry.as_nanos(), Ordering::Release);
        evicted
    }

    /// Requests ask again, whatever was said before.
    pub fn forgive(&self, key: KeyHash) {
        if let Some(slot) = self.find(key) {
            slot.retry.store(0, Ordering::Release);
        }
    }

    /// How many were refused for want of tokens since this was asked last.
    pub fn take_refused(&self, key: KeyHash) -> u64 {
        self.find(key).map_or(0, |slot| slot.refused.swap(0, Ordering::Relaxed))
    }

    fn place(&self, key: KeyHash) -> (&Slot, Option<Evicted>) {
        if let Some(slot) = self.find(key) {
            return (slot, None);
        }
        let is_free = |slot: &&Slot| slot.key.0.load(Ordering::Relaxed) == 0 && slot.key.1.load(Ordering::Relaxed) == 0;
        let free = self.near(key).find(is_free);
        let rank = |slot: &&Slot| {
            let word = slot.word.load(Ordering::Relaxed);
            let waiting = slot.retry.load(Ordering::Relaxed);
            let expiry = slot.expiry.load(Ordering::Relaxed);
            (tokens_of(word) > 0, waiting.max(expiry))
        };
        let slot = free
            .or_else(|| self.near(key).min_by_key(rank))
            .unwrap_or(&self.slots[0]);
        let former = (slot.key.0.load(Ordering::Relaxed), slot.key.1.load(Ordering::Relaxed));
        let evicted = free.is_none().then(|| Evicted {
            key: KeyHash::from_halves(former.0, former.1),
            rest: slot.close(),
        });
        let (high, low) = key.halves();
        slot.key.0.store(high, Ordering::Release);
        slot.key.1.store(low, Ordering::Release);
        slot.retry.store(0, Ordering::Release);
        slot.refused.store(0, Ordering::Release);
        (slot, evicted)
    }
}

#[derive(Clone, Copy)]
struct Seen<'a> {
    slot: Option<&'a Slot>,
    word: u64,
    expiry: u64,
}

/// A decision, step by step: others may act between any two.
pub struct Attempt<'a> {
    slots: &'a Slots,
    needs: &'a [Need],
    seen: SmallVec<[Seen<'a>; 2]>,
    taken: usize,
    low: u32,
}

impl<'a> Attempt<'a> {
    /// More needs than [`NEEDS_MAX`] are never met.
    pub fn look(slots: &'a Slots, needs: &'a [Need]) -> Attempt<'a> {
        let mut seen = SmallVec::new();
        // One after the other: `collect` is a call, which takes as long as all the rest.
        for need in needs.iter().take(NEEDS_MAX) {
            seen.push(slots.see(need.key));
        }
        Attempt {
            slots,
            needs,
            seen,
            taken: 0,
            low: 0,
        }
    }

    /// Why it is not admitted at this reading of the clock, if it is not.
    pub fn refusal(&self, now: Time) -> Option<Decision> {
        for (need, of) in self.needs.iter().enumerate() {
            let Some(seen) = self.seen.get(need) else {
                return Some(Decision::Short { need });
            };
            if now.as_nanos() < seen.expiry && tokens_of(seen.word) >= of.cost {
                continue;
            }
            let retry = seen.slot.map_or(0, |slot| slot.retry.load(Ordering::Acquire));
            if now.as_nanos() >= retry {
                return Some(Decision::Short { need });
            }
            if let Some(slot) = seen.slot {
                slot.refused.fetch_add(1, Ordering::Relaxed);
            }
            let retry = Time::from_nanos(retry);
            return Some(Decision::Exhausted { need, retry });
        }
        None
    }

    /// Takes what the next need asks for; false when there is no next one, or it was taken from in between.
    pub fn take_next(&mut self) -> bool {
        let (Some(need), Some(seen)) = (self.needs.get(self.taken), self.seen.get(self.taken)) else {
            return false;
        };
        let Some(slot) = seen.slot else { return false };
        let left = seen.word - u64::from(need.cost);
        let swap = slot
            .word
            .compare_exchange(seen.word, left, Ordering::AcqRel, Ordering::Relaxed);
        if swap.is_err() {
            return false;
        }
        let (before, after) = (u64::from(tokens_of(seen.word)), u64::from(tokens_of(left)));
        let low = u64::from(slot.low.load(Ordering::Relaxed));
        if before > low && after <= low || after == 0 {
            self.low |= 1 << self.taken;
        }
        self.taken += 1;
        true
    }

    pub fn is_complete(&self) -> bool {
        self.taken == self.needs.len()
    }

    /// What was taken for one of the needs, and is to be settled.
    pub fn reserve(&self, need: usize) -> Option<Taken> {
        let seen = self.seen.get(need).filter(|_| need < self.taken)?;
        let (slot, of) = (seen.slot?, self.needs.get(need)?);
        // If the allowance is over by now, it marks another one, which does no harm.
        slot.is_reserved.store(true, Ordering::Release);
        Some(Taken {
            place: Place {
                slot: self.slots.index_of(slot, of.key)?,
                epoch: epoch_of(seen.word),
            },
            tokens: of.cost,
        })
    }

    pub fn admitted(&self, at: Time) -> Decision {
        let left = |(need, seen): (&Need, &Seen<'_>)| tokens_of(seen.word) - need.cost;
        let least = self.needs.iter().zip(&self.seen).enumerate();
        let least = least.min_by_key(|(_, of)| left(*of)).map_or(0, |(at, _)| at);
        let low = self.low;
        Decision::Admitted { at, low, least }
    }

    /// Gives back what was taken, to the allowances that it was taken from. One that was closed meanwhile counts it as spent.
    pub fn put_back(&mut self) {
        for (need, seen) in self.needs.iter().zip(&self.seen).take(self.taken) {
            let Some(slot) = seen.slot else { continue };
            slot.put_back(epoch_of(seen.word), need.cost);
        }
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests;
