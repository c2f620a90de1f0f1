//! One account whose period is too long to wait for after a crash: counted in the store, taken from it in chunks.
//!
//! ```text
//!   idle ── reserve ─▶ swap in flight ── swapped ─▶ idle, the chunk is in the pool
//!                        │      ▲  └──── differs ──▶ idle, what is there is known
//!                        │      └── unchanged: the same again ──┐
//!                        └── outcome unknown ─▶ reading ────────┤
//!                                                  my operation ├─▶ as swapped
//!                                                 another's ────┴─▶ idle; the chunk, if it was reserved, is stranded
//! ```

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use uuid::Uuid;

use super::cell::{CellValue, Outcome, Row};
use super::label::Moment;
use super::window::frees_at;
use super::{Algorithm, DELTA, Label, Rule};

/// At most this part of what a period asks for, and of what it permits, is reserved at once; but what requests wait for. A
/// chunk is what a crash of its owner costs.
const CHUNKS: u64 = 16;

#[derive(Debug, Default)]
pub struct Ledger {
    /// What was in the store when it was seen last; none before that.
    row: Option<Option<Row>>,
    flight: Option<Flight>,
    /// Reserved in the store and not granted.
    pool: u64,
    /// Where the pool is charged.
    bucket: u64,
    /// Reserved in the store for a bucket that is over, or for another pool, and certainly not spent.
    back: BTreeMap<u64, u64>,
    /// Spent, and earlier than the bucket says to which it is charged: by that one, and the one in which it was.
    early: BTreeMap<(u64, u64), u64>,
    /// Charged before the account was one of the ledger.
    carry: u64,
    foreign: Foreign,
}

/// What another wrote into the row. Someone who claimed the shard meanwhile may count by an earlier time: what he charged
/// is not over when it would be by the time here. One claim that is made good after the row was seen may have been asked
/// for before; after the second it is certain that nobody else had the shard when the row was written.
#[derive(Debug, Default)]
struct Foreign {
    /// Claims to be made good.
    claims: u8,
    /// The last one that was.
    claimed: Label,
}

impl Foreign {
    fn seen(&mut self) {
        self.claims = 2;
    }

    /// What is over by then counts no more.
    fn now(&mut self, rule: Algorithm, now: Moment) -> Label {
        if now.claimed != self.claimed {
            (self.claimed, self.claims) = (now.claimed, self.claims.saturating_sub(1));
        }
        self.as_of(rule, now)
    }

    fn as_of(&self, rule: Algorithm, now: Moment) -> Label {
        let counted = now.counted(rule);
        match rule {
            Algorithm::Sliding if self.claims > 0 => counted.min(now.claimed),
            _ => counted,
        }
    }
}

#[derive(Debug)]
enum Flight {
    Reading,
    Swap(Change),
    /// Reading what became of it.
    Checking(Change),
}

#[derive(Clone, Debug)]
struct Change {
    expected: Option<Row>,
    new: Row,
    bucket: u64,
    chunk: u64,
    carry: u64,
    back: BTreeMap<u64, u64>,
    early: BTreeMap<(u64, u64), u64>,
    /// It may have been swapped already.
    doubtful: bool,
    /// The chunk is not wanted any more.
    is_void: bool,
}

/// What the store is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    Get,
    Swap { expected: Option<Row>, new: Row },
}

/// What an owner would like to grant from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demand {
    /// Tokens per second, thousandths.
    pub rate: u64,
    pub queued: u64,
    /// The most that one request takes.
    pub least: u64,
    /// What proxies may spend, or did, that the store is not told of: it is not to be had.
    pub kept: u64,
}

impl Ledger {
    /// With what the account has charged already in its last period.
    pub fn carrying(carry: u64) -> Ledger {
        Ledger {
            carry,
            ..Ledger::default()
        }
    }

    pub fn carry(&self) -> u64 {
        self.carry
    }

    /// Of what was charged before, what the store may not know of.
    pub fn owed(&self) -> u64 {
        let in_flight = match &self.flight {
            Some(Flight::Swap(change) | Flight::Checking(change)) => change.carry,
            Some(Flight::Reading) | None => 0,
        };
        self.carry.saturating_add(in_flight)
    }

    /// What else was spent. What was reserved before that was known may not be there to be granted.
    pub fn add_carry(&mut self, tokens: u64) {
        self.carry = self.carry.saturating_add(tokens);
        self.close();
    }

    pub fn is_idle(&self) -> bool {
        self.flight.is_none()
    }

    /// Until when tokens of the pool may be spent. Owners disagree about when a bucket ends.
    pub fn usable_until(&self, rule: &Rule, now: Moment) -> Label {
        now.label_of(rule.algorithm, self.counted_until(rule))
    }

    fn counted_until(&self, rule: &Rule) -> Label {
        rule.end(self.bucket).before(2 * DELTA).before(rule.guard())
    }

    pub fn bucket(&self) -> u64 {
        self.bucket
    }

    /// What may be granted at `now`, so that with all that is charged `kept` stays within the threshold.
    pub fn available(&self, rule: &Rule, now: Moment, kept: u64) -> u64 {
        let counted = now.counted(rule.algorithm);
        if counted < rule.begin(self.bucket) && rule.algorithm == Algorithm::Fixed
            || counted >= self.counted_until(rule)
        {
            return 0;
        }
        match kept {
            0 => self.pool,
            _ => self.pool.min(self.rest(rule, now).saturating_sub(kept)),
        }
    }

    /// What of the threshold is not granted, as far as it is known.
    fn rest(&self, rule: &Rule, now: Moment) -> u64 {
        self.rest_with(&BTreeMap::new(), rule, now)
    }

    /// What the store would give at `now`, with what goes back to it by the next swap.
    pub fn obtainable(&self, rule: &Rule, now: Moment, kept: u64) -> u64 {
        self.rest_with(&self.back, rule, now).saturating_sub(kept)
    }

    fn rest_with(&self, back: &BTreeMap<u64, u64>, rule: &Rule, now: Moment) -> u64 {
        let Some(row) = &self.row else { return 0 };
        let algorithm = row.as_ref().map_or(rule.algorithm, algorithm_of);
        let own = self.bucket..=self.bucket;
        let mut buckets = normalized(row.as_ref(), rule, own, self.foreign.as_of(algorithm, now));
        if row.as_ref().is_none_or(|row| is_counted_by(row, rule)) {
            put_back(&mut buckets, back);
        }
        let charged = charged(&buckets, rule, self.bucket).saturating_add(self.owed());
        rule.threshold.saturating_add(self.pool).saturating_sub(charged)
    }

    pub fn take(&mut self, tokens: u64) {
        self.pool = self.pool.saturating_sub(tokens);
    }

    /// Tokens of a grant that were not spent; they can be granted again unless the rule has changed since.
    pub fn refund(&mut self, bucket: u64, tokens: u64, is_current: bool) {
        match is_current && bucket == self.bucket {
            true => self.pool += tokens,
            false => *self.back.entry(bucket).or_default() += tokens,
        }
    }

    /// Tokens of a grant that was charged to one bucket were spent in another. The store hears of it with the next swap.
    pub fn spent(&mut self, charged: u64, bucket: u64, tokens: u64) {
        if bucket < charged && tokens > 0 {
            *self.early.entry((charged, bucket)).or_default() += tokens;
        }
    }

    /// When so many tokens that were found charged will count no more, or all that were; 0 is as good as one.
    pub fn frees_at(&self, rule: &Rule, now: Moment, tokens: u64) -> Label {
        let Some(Some(row)) = &self.row else {
            return now.label;
        };
        let counted = now.counted(rule.algorithm);
        if rule.algorithm == Algorithm::Fixed {
            return rule.end(rule.bucket_of(counted));
        }
        let ends = row.buckets.iter();
        let ends = ends.map(|(bucket, of)| (rule.end(*bucket).after(rule.span()), *of));
        let free = frees_at(ends.filter(|(free, _)| *free > counted), tokens).unwrap_or(counted);
        now.label_of(rule.algorithm, free)
    }

    /// Asks for a chunk, or to put back what is left when there is no demand. Nothing is granted while it is in flight.
    pub fn reserve(&mut self, rule: &Rule, now: Moment, demand: Demand, op: Uuid) -> Option<Request> {
        if self.flight.is_some() {
            return None;
        }
        let Some(row) = self.row.clone() else {
            self.flight = Some(Flight::Reading);
            return Some(Request::Get);
        };
        let counted = now.counted(rule.algorithm);
        let bucket = match rule.algorithm {
            Algorithm::Sliding => rule.bucket_of(counted.after(rule.reserved()).after(2 * DELTA)),
            Algorithm::Fixed => rule.bucket_of(counted),
        };
        if self.bucket != bucket && self.pool > 0 {
            *self.back.entry(self.bucket).or_default() += std::mem::take(&mut self.pool);
        }
        let expected = row.clone();
        let algorithm = row.as_ref().map_or(rule.algorithm, algorithm_of);
        let late = spent_late(rule, bucket, now);
        let mut buckets = normalized(row.as_ref(), rule, late.clone(), self.foreign.now(algorithm, now));
        let same = row.as_ref().is_none_or(|row| is_counted_by(row, rule));
        let back = std::mem::take(&mut self.back);
        if same {
            put_back(&mut buckets, &back);
        }
        let early = std::mem::take(&mut self.early);
        for ((charged, bucket), tokens) in early.iter().filter(|_| same) {
            let Some(charged) = buckets.get_mut(charged) else {
                continue;
            };
            let moved = (*charged).min(*tokens);
            *charged -= moved;
            *buckets.entry(*bucket).or_default() += moved;
        }
        for bucket in late {
            *buckets.entry(bucket).or_default() += self.carry;
        }
        let charged = charged(&buckets, rule, bucket);
        let rest = rule.threshold.saturating_sub(charged).saturating_sub(demand.kept);
        let per_chunk = u128::from(demand.rate) * rule.period.as_millis() / 1_000_000 / u128::from(CHUNKS);
        let per_chunk = u64::try_from(per_chunk).unwrap_or(u64::MAX);
        let wanted = per_chunk.min(rule.threshold.div_ceil(CHUNKS)).max(demand.queued);
        let chunk = wanted.min(rest.div_ceil(2).max(demand.least.min(rest)));
        *buckets.entry(bucket).or_default() += chunk;
        buckets.retain(|_, tokens| *tokens > 0);
        let new = Row {
            version: row.map_or(0, |row| row.version) + 1,
            op,
            bucket: nanos(rule.bucket()),
            span: nanos(rule.span()),
            buckets,
        };
        // As many may be taken, or owed, as go back: the row stays as it is then, and they are settled all the same.
        if chunk == 0 && self.carry == 0 && expected.as_ref().map(|row| &row.buckets) == Some(&new.buckets) {
            return None;
        }
        let change = Change {
            expected,
            new,
            bucket,
            chunk,
            carry: std::mem::take(&mut self.carry),
            back,
            early,
            doubtful: false,
            is_void: false,
        };
        Some(self.swap(change))
    }

    fn swap(&mut self, change: Change) -> Request {
        let (expected, new) = (change.expected.clone(), change.new.clone());
        self.flight = Some(Flight::Swap(change));
        Request::Swap { expected, new }
    }

    pub fn outcome(&mut self, outcome: Outcome) -> Option<Request> {
        match (self.flight.take()?, outcome) {
            (Flight::Reading, Outcome::Is(value)) => {
                self.row = Some(as_row(value));
                self.foreign.seen();
            }
            (Flight::Reading, _) => self.row = None,
            (Flight::Swap(change), Outcome::Swapped) => self.swapped(change),
            (Flight::Swap(change), Outcome::Unavailable) if !change.doubtful => self.undo(change, None),
            (Flight::Swap(change) | Flight::Checking(change), Outcome::Is(value) | Outcome::Differs(value)) => {
                let row = as_row(value);
                if row.as_ref().is_some_and(|row| row.op == change.new.op) {
                    self.swapped(change);
                } else if row == change.expected {
                    return Some(self.swap(change));
                } else {
                    self.undo(change, Some(row));
                }
            }
            (Flight::Swap(mut change) | Flight::Checking(mut change), _) => {
                change.doubtful = true;
                self.flight = Some(Flight::Checking(change));
                return Some(Request::Get);
            }
        }
        None
    }

    /// It was not swapped, or nobody can tell. What should be charged still is to be; what should go back goes only if it
    /// certainly did not.
    fn undo(&mut self, change: Change, row: Option<Option<Row>>) {
        self.row = row;
        self.foreign.seen();
        self.carry += change.carry;
        if !change.doubtful {
            for (bucket, tokens) in change.back {
                *self.back.entry(bucket).or_default() += tokens;
            }
            for (buckets, tokens) in change.early {
                *self.early.entry(buckets).or_default() += tokens;
            }
        }
    }

    fn swapped(&mut self, change: Change) {
        self.row = Some(Some(change.new));
        if self.bucket != change.bucket && self.pool > 0 {
            *self.back.entry(self.bucket).or_default() += std::mem::take(&mut self.pool);
        }
        self.bucket = change.bucket;
        self.pool += change.chunk;
        if change.is_void {
            self.close();
        }
    }

    /// Whether something is held that should go back to the store.
    pub fn has_leftovers(&self, rule: &Rule, now: Moment) -> bool {
        !self.back.is_empty() || (self.pool > 0 && now.counted(rule.algorithm) >= self.counted_until(rule))
    }

    /// All that is not granted goes back with the next swap, also what is being reserved.
    pub fn close(&mut self) {
        if let Some(Flight::Swap(change) | Flight::Checking(change)) = &mut self.flight {
            change.is_void = true;
        }
        let pool = std::mem::take(&mut self.pool);
        if pool > 0 {
            *self.back.entry(self.bucket).or_default() += pool;
        }
    }
}

fn put_back(buckets: &mut BTreeMap<u64, u64>, back: &BTreeMap<u64, u64>) {
    for (bucket, tokens) in back {
        if let Some(charged) = buckets.get_mut(bucket) {
            *charged = charged.saturating_sub(*tokens);
        }
    }
}

fn as_row(value: Option<CellValue>) -> Option<Row> {
    match value {
        Some(CellValue::Row(row)) => Some(row),
        _ => None,
    }
}

fn is_counted_by(row: &Row, rule: &Rule) -> bool {
    row.bucket == nanos(rule.bucket()) && row.span == nanos(rule.span())
}

/// The window of a fixed one is a whole period.
fn algorithm_of(row: &Row) -> Algorithm {
    match row.bucket.saturating_mul(2) > row.span {
        true => Algorithm::Fixed,
        false => Algorithm::Sliding,
    }
}

/// Where it is charged what was granted by another form of the limit, and may be spent yet: to the last bucket in which any of it
/// may be, or to each window. No earlier than `bucket`.
fn spent_late(rule: &Rule, bucket: u64, now: Moment) -> RangeInclusive<u64> {
    let label = now.over;
    let last = rule.bucket_of(Moment { label, ..now }.counted(rule.algorithm));
    let last = last.max(bucket);
    match rule.algorithm {
        Algorithm::Sliding => last..=last,
        Algorithm::Fixed => bucket..=last,
    }
}

/// The charges of a row that count, by the buckets of this rule. Those by other buckets all go to each of `late`.
fn normalized(row: Option<&Row>, rule: &Rule, late: RangeInclusive<u64>, now: Label) -> BTreeMap<u64, u64> {
    let Some(row) = row else { return BTreeMap::new() };
    // What another rule charged counts as long as by either.
    let span = rule.span().max(std::time::Duration::from_nanos(row.span));
    let since = now.before(span).before(2 * DELTA);
    let end = |bucket: u64| Label::from_nanos(bucket.saturating_add(1).saturating_mul(row.bucket));
    let counted = row.buckets.iter().filter(|(bucket, _)| end(**bucket) > since);
    match is_counted_by(row, rule) {
        true => counted.map(|(bucket, tokens)| (*bucket, *tokens)).collect(),
        false => {
            let sum = counted.fold(0_u64, |sum, (_, tokens)| sum.saturating_add(*tokens));
            late.map(|bucket| (bucket, sum)).collect()
        }
    }
}

/// What of these counts beside what is charged to `bucket`.
fn charged(buckets: &BTreeMap<u64, u64>, rule: &Rule, bucket: u64) -> u64 {
    match rule.algorithm {
        Algorithm::Sliding => buckets.values().sum(),
        Algorithm::Fixed => buckets.get(&bucket).copied().unwrap_or(0),
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
