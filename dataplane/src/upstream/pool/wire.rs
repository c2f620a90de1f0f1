use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::response;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::Pool;
use crate::codec::inflow;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::talk::head::Head;
use crate::upstream::talk::{Error, OutBody, Reading, Writing};

/// A connection that has left HTTP, with what the upstream has said since.
pub struct Raw {
    pub stream: TcpStream,
    pub early: Bytes,
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Or there is no request.
    Awaited,
    Begun,
    /// `is_clean`: the connection may serve another.
    Ended {
        is_clean: bool,
    },
}

/// Why a connection is used no more, whatever is under way.
#[derive(Clone, Copy)]
enum Over {
    GivenUp,
    /// The body of its request ended before its end.
    Aborted,
}

/// A connection to an upstream, shared by whoever sends its request, whoever reads its answer, and its pool. It closes when
/// none of them holds it any more.
pub(super) struct Wire {
    endpoint: Arc<Endpoint>,
    pool: Weak<Pool>,
    /// None once it has been handed on.
    stream: RefCell<Option<TcpStream>>,
    /// Among its site's open connections.
    place: Cell<usize>,
    /// For so long it may stay idle.
    keep: Cell<Duration>,
    answer: Cell<Answer>,
    /// A byte has come since the last request began.
    is_heard: Cell<bool>,
    is_deaf: Cell<bool>,
    /// The last request has not been written to its end.
    is_writing: Cell<bool>,
    /// Whoever had it needs it no more, but for the rest of its request.
    is_released: Cell<bool>,
    /// The number of a head that has been handed over, and of which the kernel has not taken all.
    owed: Cell<Option<u64>>,
    over: Cell<Option<Over>>,
    /// Whoever sends the rest of a request whose answer was early.
    carrier: Cell<Option<Waker>>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, endpoint: Arc<Endpoint>, pool: Weak<Pool>, keep: Duration) -> Wire {
        Wire {
            endpoint,
            pool,
            stream: RefCell::new(Some(stream)),
            place: Cell::default(),
            keep: Cell::new(keep),
            answer: Cell::new(Answer::Awaited),
            is_heard: Cell::default(),
            is_deaf: Cell::default(),
            is_writing: Cell::default(),
            is_released: Cell::default(),
            owed: Cell::default(),
            over: Cell::default(),
            carrier: Cell::default(),
        }
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub(super) fn place(&self) -> usize {
        self.place.get()
    }

    pub(super) fn set_place(&self, place: usize) {
        self.place.set(place);
    }

    pub(super) fn keep(&self) -> Duration {
        self.keep.get()
    }

    pub(super) fn keep_for(&self, most: Duration) {
        self.keep.set(self.keep.get().min(most));
    }

    pub(super) fn is_heard(&self) -> bool {
        self.is_heard.get()
    }

    pub(super) fn is_deaf(&self) -> bool {
        self.is_deaf.get()
    }

    pub(super) fn owes(&self, head: u64) -> bool {
        self.owed.get() == Some(head)
    }

    /// A request is about to be sent.
    pub(super) fn begin(&self) {
        self.answer.set(Answer::Awaited);
        self.is_heard.set(false);
        self.is_writing.set(true);
    }

    /// Sends, and reads the answer up to the end of its head.
    pub(super) fn poll_exchange<B: OutBody>(
        self: &Rc<Self>,
        writing: &mut Writing<B>,
        reading: &mut Reading,
        cx: &mut Context<'_>,
        on_interim: &mut impl FnMut(&response::Parts),
    ) -> Poll<Result<Head, Error>> {
        if let Poll::Ready(Err(error)) = self.poll_writing(writing, cx) {
            return Poll::Ready(Err(error));
        }
        let head = self.with_stream(|stream| reading.poll(stream, cx, on_interim));
        self.is_heard.set(reading.is_heard());
        if let Poll::Ready(Ok(_)) = head {
            self.answer.set(Answer::Begun);
        }
        head
    }

    fn poll_writing<B: OutBody>(
        self: &Rc<Self>,
        writing: &mut Writing<B>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        if !self.is_writing.get() {
            return Poll::Ready(Ok(()));
        }
        let written = self.with_stream(|stream| writing.poll(stream, cx));
        self.is_deaf.set(writing.is_deaf());
        // What has failed is written no further.
        let is_owed = written.is_pending() && !writing.is_head_written();
        match is_owed {
            false => self.owed.set(None),
            true if self.owed.get().is_none() => self.owed.set(self.pool.upgrade().map(|pool| pool.owe(self))),
            true => {}
        }
        if written.is_ready() {
            self.is_writing.set(false);
        }
        written
    }

    fn with_stream<T>(&self, act: impl FnOnce(&mut TcpStream) -> Poll<Result<T, Error>>) -> Poll<Result<T, Error>> {
        if let Some(over) = self.over.get() {
            return Poll::Ready(Err(over.into()));
        }
        match &mut *self.stream.borrow_mut() {
            Some(stream) => act(stream),
            None => Poll::Ready(Err(Error::Ended)),
        }
    }

    /// More of an answer's body; nothing at its end.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        self.with_stream(|stream| inflow::poll_read(stream, cx).map_err(Error::from))
    }

    /// The answer has come to its end. `is_clean`: and nothing behind it, and it leaves the connection as it was.
    pub(super) fn answered(&self, is_clean: bool) {
        self.answer.set(Answer::Ended { is_clean });
    }

    /// Sends what is left of a request whose answer has begun.
    pub(super) async fn carry<B: OutBody>(self: Rc<Self>, mut writing: Writing<B>) {
        let written = std::future::poll_fn(|cx| {
            self.carrier.set(Some(cx.waker().clone()));
            // Nobody else looks at it then, and an upstream that has ended it takes nothing more.
            if self.is_released.get() && !self.poll_is_quiet(cx) {
                return Poll::Ready(Err(Error::Ended));
            }
            self.poll_writing(&mut writing, cx)
        });
        match written.await {
            Ok(()) if self.is_released.get() => self.put(),
            Ok(()) => {}
            Err(Error::Aborted) => self.end(Over::Aborted),
            Err(_) => self.end(Over::GivenUp),
        }
    }

    /// Whoever has it needs it no more: it may serve another once its request is complete.
    pub(super) fn release(self: Rc<Self>) {
        match self.is_writing.get() {
            true => {
                self.is_released.set(true);
                self.carrier.take().into_iter().for_each(Waker::wake);
            }
            false => self.put(),
        }
    }

    fn put(self: Rc<Self>) {
        self.is_released.set(false);
        if let (true, Some(pool)) = (self.is_reusable(), self.pool.upgrade()) {
            pool.put(self);
        }
    }

    fn is_reusable(&self) -> bool {
        let is_clean = self.answer.get() == Answer::Ended { is_clean: true };
        is_clean && !self.is_deaf() && !self.keep().is_zero() && self.over.get().is_none()
    }

    /// Whether nothing has come on an idle connection, not even its end. What comes then wakes.
    pub(super) fn poll_is_quiet(&self, cx: &mut Context<'_>) -> bool {
        let stream = self.stream.borrow();
        let Some(stream) = &*stream else { return false };
        loop {
            match stream.poll_read_ready(cx) {
                Poll::Pending => return true,
                Poll::Ready(Err(_)) => return false,
                Poll::Ready(Ok(())) if !is_quiet(stream) => return false,
                // It was ready for another reason; now it is not.
                Poll::Ready(Ok(())) => {}
            }
        }
    }

    /// The same as far as it is known now, which costs no call where nothing is known.
    pub(super) fn is_quiet(&self) -> bool {
        self.stream.borrow().as_ref().is_some_and(is_quiet)
    }

    /// Ends the connection, whatever is under way.
    pub(super) fn give_up(&self) {
        self.end(Over::GivenUp);
    }

    fn end(&self, over: Over) {
        if self.over.get().is_some() {
            return;
        }
        self.over.set(Some(over));
        self.owed.set(None);
        if let Some(carrier) = self.carrier.take() {
            carrier.wake();
        }
        // Whoever waits for the socket hears of it. It fails only where there is nothing left to end.
        if let Some(stream) = &*self.stream.borrow() {
            let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Both);
        }
    }

    pub(super) fn take_stream(&self) -> Option<TcpStream> {
        self.stream.take()
    }
}

fn is_quiet(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0]);
    matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.leave(self);
        }
    }
}

impl From<Over> for Error {
    fn from(over: Over) -> Error {
        match over {
            Over::GivenUp => Error::GivenUp,
            Over::Aborted => Error::Aborted,
        }
    }
}
