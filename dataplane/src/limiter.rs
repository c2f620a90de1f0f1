//! What a proxy may admit under limits, in its own process: the machine of `shared::quota` with real clocks and threads.
//!
//! ```text
//! worker: Desk ── decide ─▶ Slots, without a lock
//!             └── nothing left: block, wait ─▶ Limiter ◀── follow, hear, welcome, said ── sync: the stream
//!                                                 ▲
//!                                   keep: a tick every 20 ms while anything is counted
//! ```
//!
//! The machine is behind one lock, for moments; a request that finds tokens never comes near it. Durations are counted on
//! the raw monotonic clock alone. Until the first limit appears there is no machine, no slot and no tick.

mod accounts;
mod cost;
mod desk;
mod due;
mod marking;
mod observing;
mod permits;
mod tally;
#[cfg(test)]
pub(crate) mod tests;
mod trip;
mod turns;
mod waiting;
mod words;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use net::clock::{asleep, monotonic_raw as raw};
use shared::change::{Epoch, Revision};
use shared::model::LimitId;
use shared::quota::proxy::{Input, Output, Verdict};
use shared::quota::slots::{Attempt, Decision, Need, Taken};
use shared::quota::{AccountId, Down, Gates, KeyHash, Proxy, ProxyId, Settings, Shard, Slots, Up};
use shared::table::Table;
use shared::time::Time;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

pub use self::accounts::{Accounts, Needed};
pub use self::desk::Desk;
pub use self::permits::Permits;
pub use self::tally::{Decided, Tallies, Tally};
pub use self::waiting::Waiting;

use self::observing::{Due, Observing};
use self::trip::RoundTrip;
use self::turns::Turns;
use self::waiting::{Queued, Waiters};

const TICK: Duration = Duration::from_millis(20);
/// Messages to owners that wait to be sent; what is beyond is lost, which owners and proxies bear.
const SAID_MAX: usize = 256;
/// So that few accounts share the places of a slot with more than there are.
const SLOTS_EACH: usize = 2;
/// The least that a request waits for its owner.
const PATIENCE: Duration = Duration::from_millis(50);
/// And the most, however long it takes to answer; also where that is not known.
const PATIENCE_MAX: Duration = Duration::from_secs(1);
/// When nobody knows when there will be something to spend.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The two clocks are not read at the same time.
const SLEPT_LEAST: Duration = Duration::from_millis(5);

/// What a request is to do that found nothing to spend.
pub enum Blocked {
    /// Decide again.
    Again,
    /// Decide again when this has ended.
    Wait(Waiting),
    Refuse {
        retry_after: Duration,
    },
    /// Nothing is counted now.
    Uncounted,
    /// The limits of the table of now are not in force here yet, or not any more: look again when this has ended.
    Stale(Waiting),
}

pub struct Limiter {
    slots: OnceLock<Arc<Slots>>,
    gates: OnceLock<Arc<Gates>>,
    inner: Mutex<Inner>,
    /// There may be something to send.
    spoken: Notify,
    /// There may be something to tick for.
    begun: Notify,
    /// There may be something to write.
    marking: Notify,
    tallies: Tallies,
    observing: Observing,
    turns: Arc<Turns>,
}

/// Who a proxy is in one life, and what it has.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    pub id: ProxyId,
    /// That are decided about without asking, 128 bytes each.
    pub accounts: usize,
    /// Whether this life found the mark of `Limiter::to_mark`.
    pub is_marked: bool,
}

struct Inner {
    identity: Option<Identity>,
    machine: Option<Proxy>,
    /// The table in use, and the store that it is of.
    table: Table,
    store: Option<Epoch>,
    /// Of the shards, as the control plane of now read them when it welcomed this proxy.
    epochs: Option<Vec<(Shard, u64)>>,
    waiters: Waiters,
    said: VecDeque<Up>,
    /// What is to be on the disk, until it is.
    to_mark: Option<bool>,
    trip: RoundTrip,
    /// The least that a request waits for its owner, and the most.
    patience: Duration,
    patience_max: Duration,
    slept: Duration,
    observed_due: Due,
    has_left: bool,
}

impl Default for Inner {
    fn default() -> Inner {
        Inner {
            identity: None,
            machine: None,
            table: Table::default(),
            store: None,
            epochs: None,
            waiters: Waiters::default(),
            said: VecDeque::new(),
            to_mark: None,
            trip: RoundTrip::default(),
            patience: PATIENCE,
            patience_max: PATIENCE_MAX,
            slept: Duration::ZERO,
            observed_due: Due::default(),
            has_left: false,
        }
    }
}

impl Limiter {
    pub fn new(workers: usize) -> Limiter {
        Limiter {
            slots: OnceLock::new(),
            gates: OnceLock::new(),
            inner: Mutex::default(),
            spoken: Notify::new(),
            begun: Notify::new(),
            marking: Notify::new(),
            tallies: Tallies::new(workers),
            observing: Observing::new(workers),
            turns: Arc::default(),
        }
    }

    /// Who this proxy is in this life.
    pub fn begin(&self, identity: Identity) {
        let mut inner = self.lock();
        inner.identity = Some(identity);
        inner.slept = asleep();
    }

    /// The limits of the table of now are in force when this returns: nothing that older ones granted is spent. To be called
    /// after the swap, and before the table is acknowledged.
    pub fn follow(&self, table: &Table, revision: Revision, store: Epoch) {
        let mut inner = self.lock();
        let is_other_store = inner.store.is_some_and(|known| known != store);
        let is_same = inner.table.has_limits_of(table) && !is_other_store;
        inner.table = table.clone();
        inner.store = Some(store);
        if is_same || (inner.machine.is_none() && !table.has_limits()) {
            return;
        }
        let rules = table.rules(revision);
        if is_other_store {
            inner.handle(self, Input::Anew(rules));
            if let Some(epochs) = inner.epochs.clone() {
                inner.handle(self, Input::Welcome(epochs));
            }
        } else {
            inner.handle(self, Input::Rules(rules));
        }
        inner.waiters.wake_all();
        drop(inner);
        self.tallies.keep(|id| table.limit(*id).is_some());
        self.begun.notify_one();
    }

    /// From an owner.
    pub fn hear(&self, down: Down) {
        let mut inner = self.lock();
        inner.trip.heard(down.from, down.heard, raw());
        inner.handle(self, Input::Message(down));
        self.begun.notify_one();
    }

    /// From the control plane that welcomed this proxy.
    pub fn welcome(&self, epochs: Vec<(Shard, u64)>) {
        let mut inner = self.lock();
        inner.epochs = Some(epochs.clone());
        if inner.machine.is_some() {
            inner.handle(self, Input::Welcome(epochs));
        }
    }

    /// There is another control plane, or none.
    pub fn disconnected(&self) {
        self.lock().epochs = None;
    }

    /// Gives back what is not spent; nothing is admitted under limits any more. What is to be sent.
    pub fn leave(&self) -> Vec<Up> {
        let mut inner = self.lock();
        if inner.machine.is_some() {
            inner.handle(self, Input::Leave);
        }
        inner.has_left = true;
        inner.said.drain(..).collect()
    }

    /// What is to be sent to owners, once there is anything.
    pub async fn said(&self) -> Vec<Up> {
        loop {
            self.spoken.notified().await;
            let said = self.lock().speak(self);
            if !said.is_empty() {
                return said;
            }
        }
    }

    /// Does what becomes due, until `stop`.
    pub async fn keep(self: Arc<Limiter>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.begun.notified() => {}
            }
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while self.tick() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = ticks.tick() => {}
                }
            }
        }
    }

    /// Whether there will be something to do in a while.
    fn tick(&self) -> bool {
        let mut inner = self.lock();
        if inner.machine.is_none() || inner.has_left {
            return false;
        }
        let slept = asleep();
        if slept > inner.slept + SLEPT_LEAST {
            inner.handle(self, Input::Slept);
        }
        inner.slept = inner.slept.max(slept);
        let passed = self.observing.take(&mut inner.observed_due, raw());
        if !passed.is_empty() {
            inner.handle(self, Input::Passed(passed));
        }
        inner.handle(self, Input::Tick);
        inner.machine.as_ref().is_some_and(|machine| !machine.is_idle()) || !self.observing.is_empty()
    }

    /// Takes what each need asks for, or nothing.
    pub fn decide(&self, needs: &[Need]) -> Decision {
        self.decide_noting(needs, |_| {})
    }

    /// `note` sees the attempt that is admitted.
    pub fn decide_noting(&self, needs: &[Need], note: impl FnOnce(&Attempt<'_>)) -> Decision {
        match self.slots.get() {
            Some(slots) => slots.decide_noting(needs, raw, note),
            None => Decision::Short { need: 0 },
        }
    }

    /// So much of what was taken was used.
    pub fn settle(&self, taken: Taken, used: u64) {
        let late = self.slots.get().map_or(0, |slots| slots.settle(taken, used));
        if late == 0 {
            return;
        }
        if let Some(machine) = self.lock().machine.as_mut() {
            machine.settle_late(taken, late);
            self.spoken.notify_one();
        }
    }

    /// Has the processor fetch what the account needs, and does not wait for it.
    pub(crate) fn touch(&self, needed: &Needed) {
        if let Some(slots) = self.slots.get() {
            slots.touch(needed.place);
            self.tallies.touch(needed.tally);
        }
    }

    /// For a request whose account has not got `cost` tokens here.
    pub fn block(self: &Arc<Self>, account: AccountId, cost: u32) -> Blocked {
        let inner = &mut *self.lock();
        let now = raw();
        let Some(machine) = inner.machine.as_mut() else {
            return Blocked::Stale(Waiting::for_any(self, &mut inner.waiters));
        };
        match machine.block(account, cost, now) {
            Verdict::Again => {
                self.spoken.notify_one();
                Blocked::Again
            }
            Verdict::Wait if inner.waiters.is_full() => {
                machine.unqueue(account, cost, false);
                Blocked::Refuse {
                    retry_after: RETRY_AFTER,
                }
            }
            Verdict::Wait => {
                self.spoken.notify_one();
                let queued = Queued::Tokens(account, cost);
                Blocked::Wait(Waiting::of(self, &mut inner.waiters, account, queued))
            }
            Verdict::Refuse { retry } => Blocked::Refuse {
                retry_after: retry.since(now),
            },
            Verdict::Uncounted => Blocked::Uncounted,
            Verdict::Stale => Blocked::Stale(Waiting::for_any(self, &mut inner.waiters)),
        }
    }

    fn unblock(&self, key: Option<KeyHash>, queued: Option<Queued>, is_woken: bool) {
        let mut inner = self.lock();
        inner.waiters.leave(key);
        let Some(machine) = inner.machine.as_mut() else { return };
        match queued {
            Some(Queued::Tokens(account, cost)) => machine.unqueue(account, cost, is_woken),
            Some(Queued::Permit(account)) => machine.waited_for_permit(account, is_woken),
            None => {}
        }
    }

    /// Whatever is new about an account, or about limits at all.
    fn listen(self: &Arc<Self>, key: KeyHash) -> Waiting {
        Waiting::for_news(self, &mut self.lock().waiters, key)
    }

    fn turns(&self) -> &Arc<Turns> {
        &self.turns
    }

    /// The proxy is to end: nobody waits for a turn any longer.
    pub fn end_turns(&self) {
        self.turns.end();
    }

    /// Little is left of an account's allowance.
    pub fn prefetch(&self, account: AccountId) {
        if let Some(machine) = self.lock().machine.as_mut() {
            machine.prefetch(account, raw());
        }
        self.spoken.notify_one();
    }

    /// A request passed under a limit that only observes, worth so many tokens there.
    pub fn observe(&self, account: AccountId, tokens: u64) {
        if !self.observing.note(account, tokens) {
            self.tallies.of(LimitId(account.limit)).add(Decided::Uncounted, 1);
        }
    }

    /// What is left of an account's allowance here, which says nothing of the fleet.
    pub fn rest(&self, account: &AccountId) -> u32 {
        self.slots.get().map_or(0, |slots| slots.rest(account.key))
    }

    /// How long a request waits for its owner.
    pub fn patience(&self) -> Duration {
        let inner = self.lock();
        let patience = inner.trip.patience(raw()).unwrap_or(PATIENCE_MAX);
        patience.clamp(inner.patience, inner.patience_max)
    }

    /// Whether the owner of an account has not been heard for so long that it counts as away.
    pub fn is_cut_off(&self, account: &AccountId) -> bool {
        let inner = self.lock();
        let machine = inner.machine.as_ref();
        machine.is_some_and(|machine| machine.is_cut_off(account.shard(), raw()))
    }

    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn handle(&mut self, shared: &Limiter, input: Input) {
        let now = raw();
        let Some(machine) = self.machine(shared, now) else {
            return;
        };
        let outputs = machine.handle(input, now);
        self.carry_out(shared, outputs, now);
    }

    /// Made when there is something for it to do. What came before was about nothing that this proxy has.
    fn machine(&mut self, shared: &Limiter, now: Time) -> Option<&mut Proxy> {
        if self.machine.is_none() {
            let Identity {
                id,
                accounts,
                is_marked,
            } = self.identity?;
            let slots = shared.slots.get_or_init(|| Arc::new(Slots::new(accounts * SLOTS_EACH)));
            let settings = Settings {
                // What has no slot is decided slowly: to remember more than that would be of little use.
                accounts_max: accounts,
                ..Settings::default()
            };
            let mut machine = Proxy::new(id, settings, slots.clone(), is_marked, now);
            shared.gates.get_or_init(|| machine.gates());
            if let Some(epochs) = self.epochs.clone() {
                let outputs = machine.handle(Input::Welcome(epochs), now);
                self.carry_out(shared, outputs, now);
            }
            self.machine = Some(machine);
        }
        self.machine.as_mut()
    }

    fn carry_out(&mut self, shared: &Limiter, outputs: Vec<Output>, now: Time) {
        for output in outputs {
            match output {
                Output::Send(up) => {
                    self.trip.sent(&up, now);
                    if self.said.len() < SAID_MAX {
                        self.said.push_back(up);
                    }
                    shared.spoken.notify_one();
                }
                Output::Wake(account) => self.waiters.wake(account.key),
                Output::Mark(is_set) => {
                    self.to_mark = Some(is_set);
                    shared.marking.notify_one();
                }
                Output::Observed {
                    limit,
                    requests,
                    refused,
                } => self.observed(shared, LimitId(limit), requests, refused),
            }
        }
    }

    /// What became of requests under a limit that only observes, for the metrics.
    fn observed(&self, shared: &Limiter, limit: LimitId, requests: u64, refused: Option<u64>) {
        if self.table.limit(limit).is_none() {
            return;
        }
        let tally = shared.tallies.of(limit);
        match refused {
            None => tally.add(Decided::Uncounted, requests),
            Some(refused) => {
                tally.add(Decided::Admitted, requests - refused);
                tally.add(Decided::WouldRefuse, refused);
            }
        }
    }

    fn speak(&mut self, shared: &Limiter) -> Vec<Up> {
        let now = raw();
        if let Some(machine) = self.machine.as_mut() {
            let outputs = machine.take_outputs(now);
            self.carry_out(shared, outputs, now);
        }
        self.said.drain(..).collect()
    }
}
