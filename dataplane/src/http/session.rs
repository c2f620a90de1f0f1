//! What one client connection is about, shared by those who serve it: the wire sees its bytes, the exchange its
//! request, the answer its end; the driver asks when patience ends.
//!
//! All of them run on one thread, so that cells do. Times are those of the last look at the clock, which the driver takes
//! at each of its polls, and whoever else reads a body: one look serves everybody.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::record::Record;
use super::tunnel::Tunnel;

/// How long a client is waited for, where no service says it.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the first byte of a head to its last, and before the first byte of the first: whoever connects has something
    /// to say, and holds a place until then.
    pub head: Duration,
    /// Between two requests of a connection.
    pub between: Duration,
    /// Instead of both, once the proxy is to end: a client that has not been told hears of it by the answer to what it
    /// has sent meanwhile, since a FIN would cross its request. At most half of what the proxy itself may take, so that
    /// the other half is left for that answer.
    pub grace: Duration,
    /// A client that was waited for so long and moved less than `SLOW_BYTES` is cut.
    pub slow: Duration,
    /// For an upload that has not been asked for by `100 Continue` (RFC 9110, 10.1.1: not forever).
    pub go_ahead: Duration,
    /// After an early answer, for a client that goes on sending: between two reads, and in all.
    pub linger: (Duration, Duration),
}

impl Default for Patience {
    fn default() -> Patience {
        let seconds = Duration::from_secs;
        Patience {
            head: seconds(10),
            between: seconds(60),
            // More than a round trip and a scheduler's whim; a client that is quiet for longer seldom has a request under way.
            grace: seconds(1),
            slow: seconds(60),
            go_ahead: seconds(1),
            linger: (seconds(5), seconds(30)),
        }
    }
}

/// 16 bytes a second for a minute.
const SLOW_BYTES: u64 = 16 * 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No byte of a next request has come.
    Between(Instant),
    Head(Instant),
    Request,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    None,
    /// Its head is on its way to the client.
    Begun,
    /// Its last byte has been handed over, or it was given up.
    Ended,
    /// Its last byte is with the kernel.
    Sent,
}

/// Why the upload of a request ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Malformed(&'static str),
    TooLarge,
    /// The client has gone.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// Nothing was under way.
    Quiet,
    Head,
    /// The client owes the rest of its request.
    Upload,
    /// The upstream owes an answer, or takes nothing any more.
    Upstream,
    /// The answer has begun and neither side moves it, or the client takes it too slowly.
    Answer,
}

/// A side that has been waited for, while it moves too little.
#[derive(Default)]
struct Slow {
    since: Cell<Option<(Instant, u64)>>,
    is_awaited: Cell<bool>,
}

impl Slow {
    /// Says whether that is news.
    fn awaited(&self, now: Instant) -> bool {
        if self.since.get().is_none() {
            self.since.set(Some((now, 0)));
        }
        !self.is_awaited.replace(true)
    }

    fn moved(&self, bytes: u64) {
        self.is_awaited.set(false);
        if let Some((since, before)) = self.since.get() {
            let sum = before + bytes;
            self.since.set((sum < SLOW_BYTES).then_some((since, sum)));
        }
    }

    fn reset(&self) {
        self.is_awaited.set(false);
        self.since.set(None);
    }

    fn due(&self, patience: Duration) -> Option<Instant> {
        let (since, _) = self.since.get()?;
        self.is_awaited.get().then_some(since + patience)
    }
}

pub struct Session {
    patience: Patience,
    now: Cell<Instant>,
    stage: Cell<Stage>,
    /// The request's last byte has come.
    is_whole: Cell<bool>,
    answer: Cell<Answer>,
    /// Since when an answer is owed by an upstream that the request was sent to.
    awaited: Cell<Option<Instant>>,
    moved: Cell<Instant>,
    response: Cell<Duration>,
    idle: Cell<Duration>,
    reading: Slow,
    writing: Slow,
    fault: Cell<Option<Fault>>,
    expired: Cell<Option<Expired>>,
    /// An attempt at an upstream hears by itself that this one's time is over.
    is_attempted: Cell<bool>,
    /// Since when it is to end, and how long it still waits for a request.
    closing: Cell<Option<(Instant, Duration)>>,
    has_served: Cell<bool>,
    ends_with_close: Cell<bool>,
    tunnel: Cell<Option<Tunnel>>,
    record: Record,
}

impl Session {
    pub fn new(patience: Patience, record: Record) -> Session {
        let now = Instant::now();
        Session {
            patience,
            now: Cell::new(now),
            stage: Cell::new(Stage::Between(now)),
            is_whole: Cell::new(true),
            answer: Cell::new(Answer::None),
            awaited: Cell::default(),
            moved: Cell::new(now),
            response: Cell::default(),
            idle: Cell::default(),
            reading: Slow::default(),
            writing: Slow::default(),
            fault: Cell::default(),
            expired: Cell::default(),
            is_attempted: Cell::default(),
            closing: Cell::default(),
            has_served: Cell::default(),
            ends_with_close: Cell::default(),
            tunnel: Cell::default(),
            record,
        }
    }

    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    pub fn now(&self) -> Instant {
        self.now.get()
    }

    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Looks at the clock.
    pub fn tick(&self) {
        self.now.set(Instant::now());
    }

    // Said by the wire.

    /// The first bytes of a head have come, not yet all.
    pub fn head_began(&self) {
        if let Stage::Between(_) = self.stage.get() {
            self.stage.set(Stage::Head(self.now()));
        }
    }

    /// A whole head has come.
    pub fn request_began(&self) {
        self.stage.set(Stage::Request);
        self.has_served.set(true);
        self.is_whole.set(false);
        self.fault.set(None);
        self.expired.set(None);
        self.is_attempted.set(false);
        self.answer.set(Answer::None);
        self.awaited.set(None);
        self.moved.set(self.now());
        self.ends_with_close.set(false);
        self.record.begin(self.now());
    }

    pub fn received(&self, bytes: usize) {
        self.moved.set(self.now());
        self.reading.moved(bytes as u64);
    }

    /// The time for the answer runs from here.
    pub fn request_ended(&self) {
        self.is_whole.set(true);
        self.reading.reset();
        if self.awaited.get().is_some() {
            self.awaited.set(Some(self.now()));
        }
    }

    /// The upstream would take more of the upload than has come. Says whether that is news.
    pub fn awaits_client(&self) -> bool {
        self.reading.awaited(self.now())
    }

    pub fn sent(&self, bytes: usize) {
        self.moved.set(self.now());
        self.writing.moved(bytes as u64);
    }

    /// The client takes no more for now.
    pub fn awaits_reader(&self) {
        self.writing.awaited(self.now());
    }

    /// All of the answer is with the kernel.
    pub fn answer_sent(&self) {
        self.answer.set(Answer::Sent);
    }

    /// The request and its answer are over: the next request may begin.
    pub fn next(&self) {
        self.stage.set(Stage::Between(self.now()));
        self.writing.reset();
    }

    pub fn failed(&self, fault: Fault) {
        if self.fault.get().is_none() {
            self.fault.set(Some(fault));
        }
    }

    // Said by the exchange and by the answer's body.

    pub fn is_whole(&self) -> bool {
        self.is_whole.get()
    }

    /// The request goes to an upstream of a service that allows so much.
    pub fn awaits_answer(&self, response: Duration, idle: Duration) {
        self.response.set(response);
        self.idle.set(idle);
        self.moved.set(self.now());
        self.awaited.set(Some(self.now()));
    }

    /// The attempt has failed.
    pub fn awaits_nothing(&self) {
        self.awaited.set(None);
    }

    pub fn has_answer_begun(&self) -> bool {
        self.answer.get() != Answer::None
    }

    pub fn answer_began(&self) {
        self.answer.set(Answer::Begun);
        self.moved.set(self.now());
    }

    pub fn answer_ended(&self) {
        self.answer.set(Answer::Ended);
        self.awaited.set(None);
        self.record.end(self.now());
    }

    /// Only the connection's end tells the client where the answer ends, so that a cut must not look like it.
    pub fn end_with_close(&self) {
        self.ends_with_close.set(true);
    }

    pub fn ends_with_close(&self) -> bool {
        self.ends_with_close.get() && self.answer.get() != Answer::Sent
    }

    pub fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    pub fn set_tunnel(&self, tunnel: Tunnel) {
        self.tunnel.set(Some(tunnel));
    }

    pub fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.take()
    }

    /// Lets the future run until patience ends.
    pub async fn patient<T>(&self, mut future: Pin<&mut impl Future<Output = T>>) -> Result<T, Expired> {
        // The driver polls the whole connection after it has set `expired`, and this with it.
        poll_fn(|cx| match self.expired.get() {
            Some(expired) if expired != Expired::Upstream || !self.is_attempted.get() => {
                self.expired.set(None);
                Poll::Ready(Err(expired))
            }
            _ => future.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    /// Lets an attempt at an upstream run until the time of that one is over. It is not the end of `patient`, within which
    /// this runs: another upstream may be asked.
    pub async fn attempt<T>(&self, mut future: Pin<&mut impl Future<Output = T>>) -> Result<T, Expired> {
        self.is_attempted.set(true);
        let outcome = poll_fn(|cx| match self.expired.take() {
            Some(expired) => Poll::Ready(Err(expired)),
            None => future.as_mut().poll(cx).map(Ok),
        })
        .await;
        self.is_attempted.set(false);
        outcome
    }

    // Asked and said by the driver.

    pub fn is_closing(&self) -> bool {
        self.closing.get().is_some()
    }

    /// The proxy is to end, and allows so much for it.
    pub fn close(&self, allowed: Duration) {
        self.closing
            .set(Some((self.now(), self.patience.grace.min(allowed / 2))));
    }

    /// Whether no request is under way, and the next is not waited for any more.
    pub fn is_over(&self) -> bool {
        match self.stage.get() {
            Stage::Between(since) => self.now() >= self.quiet_until(since),
            Stage::Head(_) | Stage::Request => false,
        }
    }

    fn quiet_until(&self, since: Instant) -> Instant {
        match self.closing.get() {
            Some((closing, grace)) => closing.max(since) + grace,
            None if self.has_served.get() => since + self.patience.between,
            None => since + self.patience.head,
        }
    }

    /// When to look again, and what has expired if nothing happens until then.
    pub fn due(&self) -> (Instant, Option<Expired>) {
        match self.stage.get() {
            Stage::Between(since) => (self.quiet_until(since), Some(Expired::Quiet)),
            Stage::Head(since) => (since + self.patience.head, Some(Expired::Head)),
            Stage::Request => self.request_due(),
        }
    }

    fn request_due(&self) -> (Instant, Option<Expired>) {
        let answer = self.answer.get();
        let owed_by_client = match answer {
            Answer::None => Expired::Upload,
            _ => Expired::Answer,
        };
        let reading = self.reading.due(self.patience.slow).map(|at| (at, owed_by_client));
        let writing = self.writing.due(self.patience.slow).map(|at| (at, Expired::Answer));
        let stuck = match self.reading.is_awaited.get() {
            true => owed_by_client,
            false if answer == Answer::None => Expired::Upstream,
            false => Expired::Answer,
        };
        let idle = (self.moved.get() + self.idle.get(), stuck);
        let exchange = match (answer, self.awaited.get(), self.is_whole.get()) {
            (Answer::None, None, _) | (Answer::Sent, _, true) => None,
            (Answer::None, Some(since), true) => Some((since + self.response.get(), Expired::Upstream)),
            // An answer of our own moves, too, but no service says how fast.
            (_, None, _) => Some((self.moved.get() + self.patience.slow, Expired::Answer)),
            (_, Some(_), _) => Some(idle),
        };
        let first = [reading, writing, exchange]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at);
        match first {
            Some((at, expired)) => (at, Some(expired)),
            // Whatever the exchange does now has a deadline of its own.
            None => (self.now() + self.patience.between, None),
        }
    }

    /// The client takes no more for now, and there is more for it.
    pub fn is_blocked(&self) -> bool {
        self.writing.is_awaited.get()
    }

    /// `patient` has not been polled since `expire`.
    pub fn is_expired(&self) -> bool {
        self.expired.get().is_some()
    }

    /// Ends the wait of `patient`.
    pub fn expire(&self, expired: Expired) {
        self.expired.set(Some(expired));
    }
}
