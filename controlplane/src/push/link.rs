//! A proxy's stream once it is open, without a task of its own: whoever asks for the answer's next buffer reads what the
//! proxy said, and takes what there is to say. That is one wake-up per change where a task in between would cost two,
//! and thousands of proxies pay each of them.
//!
//! While the connection takes nothing, nobody asks: then nothing is read either, and the fleet's ticks see to it that
//! the publisher closes.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::Stream;
use futures_util::task::AtomicWaker;
use http_body::Frame;
use net::clock::boottime;
use net::ndjson::Lines;
use serde::de::DeserializeOwned;
use shared::stream::message::Up;
use shared::stream::publisher::{Closing, Input, Output, Publisher};
use shared::stream::roster::SessionId;
use uuid::Uuid;

use super::{Fleet, join};

/// Bytes of a line: a state that names everything that drains is far below, and so is what is told of a shard of limits.
const LINE_MAX: usize = 8 << 20;

/// The publisher of one connection, in reach of the fleet.
pub(super) struct Link {
    fleet: Arc<Fleet>,
    /// Name and life, by the first line.
    named: OnceLock<(Arc<str>, u64)>,
    waker: AtomicWaker,
    /// There is news in the hub.
    woken: AtomicBool,
    machine: Mutex<Machine>,
}

struct Machine {
    publisher: Publisher,
    /// The buffer that waits to be taken.
    outgoing: Option<Bytes>,
}

impl Link {
    pub(super) fn new(fleet: Arc<Fleet>) -> Arc<Link> {
        let machine = Machine {
            publisher: Publisher::new(boottime()),
            outgoing: None,
        };
        Arc::new(Link {
            fleet,
            named: OnceLock::new(),
            waker: AtomicWaker::new(),
            woken: AtomicBool::new(false),
            machine: Mutex::new(machine),
        })
    }

    /// Who speaks, by the first line.
    pub(super) fn named(&self, proxy: &Arc<str>, boot: u64) {
        let _ = self.named.set((proxy.clone(), boot));
    }

    fn with<R>(&self, look: impl FnOnce(&mut Machine) -> R) -> R {
        // What a panic left behind is closed: the publisher was taken out of its stage.
        look(&mut self.machine.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the proxy knows queries.
    pub(super) fn answers(&self) -> bool {
        self.with(|machine| machine.publisher.answers())
    }

    /// The proxy's instance, if it keeps limits.
    pub(super) fn counts(&self) -> Option<Uuid> {
        self.with(|machine| machine.publisher.counts())
    }

    /// From outside: whoever waits for a buffer is woken if there is one now, or the end.
    pub(super) fn feed(self: &Arc<Self>, input: Input) {
        self.step(input);
        self.waker.wake();
    }

    /// Answers with what is about a stream that is not open yet, or not any more.
    pub(super) fn step(self: &Arc<Self>, input: Input) -> Vec<Output> {
        let (session, outputs) = self.with(|machine| {
            let publisher = &mut machine.publisher;
            let session = publisher.session();
            let handle = |hub: &mut _| publisher.handle(input, hub, boottime());
            let mut outputs = self.fleet.with(handle).unwrap_or_default();
            let sent = outputs.extract_if(.., |output| matches!(output, Output::Send(_)));
            // The publisher hands out one buffer at a time.
            if let Some(Output::Send(bytes)) = sent.last() {
                machine.outgoing = Some(bytes);
            }
            (session, outputs)
        });
        let mut others = Vec::new();
        for output in outputs {
            match output {
                Output::Answered(answer) => self.fleet.questions.answered(session, answer),
                Output::Heard(up) => self.fleet.counting.heard(up),
                Output::Leave { name, instance } => self.leave(name, instance),
                other => {
                    if let Output::Close(closing) = &other {
                        log(self.named.get().map(|(name, _)| name), *closing);
                    }
                    others.push(other);
                }
            }
        }
        others
    }

    pub(super) fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn leave(self: &Arc<Self>, name: Arc<str>, instance: Uuid) {
        let link = self.clone();
        let boot = self.named.get().map_or(0, |(_, boot)| *boot);
        tokio::spawn(async move {
            match join::say_goodbye(&link.fleet.changelog, name.clone(), instance, boot).await {
                Ok(_) => tracing::info!(proxy = %name, "left"),
                Err(error) => tracing::warn!(proxy = %name, "a goodbye could not be committed: {error}"),
            }
            link.feed(Input::Left);
        });
    }
}

fn log(proxy: Option<&Arc<str>>, closing: Closing) {
    let proxy = proxy.map(|name| &**name);
    let closed = match closing {
        Closing::Goodbye | Closing::Ended | Closing::Shutdown => {
            return tracing::debug!(proxy, ?closing, "a proxy's stream ends");
        }
        Closing::Evicted => "another connection speaks for it, or it was removed",
        Closing::NoProgress => "it takes nothing any more",
        Closing::Overrun => "it is too slow for the changes",
        Closing::Protocol => "what it said has no place in a stream",
    };
    tracing::warn!(proxy, "a proxy's stream is closed: {closed}");
}

/// The answer's body. Its end, however it comes, is the connection's.
pub(super) struct Spoken {
    link: Arc<Link>,
    reader: Reader<Up>,
    /// A buffer was taken; asked again, there is room for another.
    taken: bool,
    /// By which the fleet reaches the link.
    session: Option<SessionId>,
}

impl Spoken {
    pub(super) fn new(link: Arc<Link>, reader: Reader<Up>) -> Spoken {
        Spoken {
            link,
            reader,
            taken: false,
            session: None,
        }
    }

    /// From now on the fleet reaches it.
    pub(super) fn attach(&mut self) {
        self.session = self.link.with(|machine| machine.publisher.session());
        if let Some(session) = self.session {
            self.link.fleet.attach(session, self.link.clone());
            // What was committed before woke nobody here.
            self.link.wake();
        }
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(super) fn reader(&mut self) -> &mut Reader<Up> {
        &mut self.reader
    }

    fn read(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(line) = self.reader.poll_next_line(cx) {
            let input = match line {
                Ok(Some(up)) => Input::Line(up),
                Ok(None) => Input::Ended,
                Err(error) => {
                    tracing::debug!(error, "a proxy's stream ends");
                    Input::Ended
                }
            };
            let ended = matches!(input, Input::Ended);
            self.link.step(input);
            if ended {
                return;
            }
        }
    }
}

impl http_body::Body for Spoken {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        // Before anything is looked at: what comes later wakes.
        this.link.waker.register(cx.waker());
        if std::mem::take(&mut this.taken) {
            this.link.step(Input::Written);
        }
        this.read(cx);
        if this.link.woken.swap(false, Ordering::Acquire) {
            this.link.step(Input::Wake);
        }
        let (outgoing, closed) = this
            .link
            .with(|machine| (machine.outgoing.take(), machine.publisher.is_closed()));
        this.taken = outgoing.is_some();
        match outgoing {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None if closed => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl Drop for Spoken {
    fn drop(&mut self) {
        self.link.step(Input::Ended);
        if let Some(session) = self.session {
            self.link.fleet.detach(session);
        }
    }
}

/// What the other side says, line by line.
pub(crate) struct Reader<T> {
    body: BodyDataStream,
    lines: Lines,
    what: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Reader<T> {
    pub(crate) fn new(body: Body) -> Reader<T> {
        Reader {
            body: body.into_data_stream(),
            lines: Lines::new(LINE_MAX),
            what: PhantomData,
        }
    }

    pub(crate) async fn next(&mut self) -> Result<Option<T>, String> {
        std::future::poll_fn(|cx| self.poll_next_line(cx)).await
    }

    /// `None` at the end.
    fn poll_next_line(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<T>, String>> {
        loop {
            match self.lines.next_line() {
                Err(error) => return Poll::Ready(Err(error.to_string())),
                Ok(Some(line)) => {
                    return Poll::Ready(
                        serde_json::from_slice(&line)
                            .map(Some)
                            .map_err(|error| error.to_string()),
                    );
                }
                Ok(None) => {}
            }
            match ready!(Pin::new(&mut self.body).poll_next(cx)) {
                Some(Ok(chunk)) => self.lines.push(&chunk),
                Some(Err(error)) => return Poll::Ready(Err(error.to_string())),
                None => return Poll::Ready(Ok(None)),
            }
        }
    }
}
