//! A request's body on its way to an upstream.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::fields;
use super::intake::Intake;
use super::session::{Fault, Session};
use crate::upstream::endpoint::InFlight;

/// Bodies up to here are kept for another attempt.
pub const KEPT_MAX: u64 = 64 * 1024;

/// What the client sends, as long as attempts are made to send it on.
pub struct Source {
    intake: RefCell<Intake>,
    session: Rc<Session>,
    bytes_max: u64,
    bytes: Cell<u64>,
    /// Names that no trailer may have.
    withheld: RefCell<Vec<Arc<str>>>,
    /// What has been read so far, if another attempt is to begin with it.
    kept: Option<RefCell<Vec<Bytes>>>,
}

impl Source {
    /// `kept` for a body of at most `KEPT_MAX` bytes.
    pub fn new(intake: Intake, session: Rc<Session>, bytes_max: u64, kept: bool) -> Rc<Source> {
        Rc::new(Source {
            intake: RefCell::new(intake),
            session,
            bytes_max,
            bytes: Cell::new(0),
            withheld: RefCell::default(),
            kept: kept.then(RefCell::default),
        })
    }

    /// Trailers under these names are not the client's to send.
    pub fn withhold(&self, names: &[Arc<str>]) {
        let withheld = &mut *self.withheld.borrow_mut();
        withheld.clear();
        withheld.extend_from_slice(names);
    }

    fn kept(&self, at: usize) -> Option<Bytes> {
        self.kept.as_ref()?.borrow().get(at).cloned()
    }

    fn is_over(&self) -> bool {
        self.intake.borrow().is_end_stream()
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let frame = match ready!(Pin::new(&mut *self.intake.borrow_mut()).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Ok(frame)) => frame,
            Some(Err(fault)) => return self.abort(fault),
        };
        match frame.into_data() {
            Ok(data) => {
                let bytes = self.bytes.get() + data.len() as u64;
                self.bytes.set(bytes);
                self.session.record().received(data.len());
                if bytes > self.bytes_max {
                    return self.abort(Fault::TooLarge);
                }
                if let Some(kept) = &self.kept {
                    kept.borrow_mut().push(data.clone());
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Err(frame) => Poll::Ready(self.trailers(frame).map(Ok)),
        }
    }

    fn trailers(&self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let mut trailers = fields::trailers(frame)?.into_trailers().ok()?;
        for name in &*self.withheld.borrow() {
            fields::take_spellings(&mut trailers, name);
        }
        Some(Frame::trailers(trailers))
    }

    fn abort(&self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        self.session.failed(fault);
        Poll::Ready(Some(Err(Aborted)))
    }
}

type Made = dyn Body<Data = Bytes, Error = Aborted>;

/// The body of one attempt. It counts as in flight as long as there is any of it left to send.
pub struct Upload {
    source: Option<Rc<Source>>,
    /// The whole body, of a request that the proxy makes by itself.
    own: Option<Bytes>,
    /// In the place of both: what comes from elsewhere, as a message does.
    made: Option<Pin<Box<Made>>>,
    /// How many of the source's kept pieces this attempt has sent.
    sent: usize,
    wait: Option<Wait>,
    in_flight: Option<Rc<InFlight>>,
}

impl Upload {
    pub fn empty() -> Upload {
        Upload::of(Bytes::new())
    }

    pub fn of(own: Bytes) -> Upload {
        Upload {
            source: None,
            own: (!own.is_empty()).then_some(own),
            made: None,
            sent: 0,
            wait: None,
            in_flight: None,
        }
    }

    pub fn new(source: Rc<Source>, in_flight: Rc<InFlight>, wait: Option<Wait>) -> Upload {
        Upload {
            source: Some(source),
            own: None,
            made: None,
            sent: 0,
            wait,
            in_flight: Some(in_flight),
        }
    }

    pub fn made(body: impl Body<Data = Bytes, Error = Aborted> + 'static, in_flight: Rc<InFlight>) -> Upload {
        Upload {
            made: Some(Box::pin(body)),
            in_flight: Some(in_flight),
            ..Upload::empty()
        }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        if let Some(made) = &mut self.made {
            return made.as_mut().poll_frame(cx);
        }
        let Some(source) = &self.source else {
            return Poll::Ready(self.own.take().map(|data| Ok(Frame::data(data))));
        };
        if let Some(wait) = &mut self.wait {
            ready!(wait.poll(cx));
            self.wait = None;
        }
        if let Some(data) = source.kept(self.sent) {
            self.sent += 1;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let frame = ready!(source.poll_next(cx));
        self.sent += 1;
        Poll::Ready(frame)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let upload = self.get_mut();
        let frame = ready!(upload.poll_source(cx));
        if frame.is_none() || upload.is_end_stream() {
            upload.in_flight = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.made.as_ref().is_none_or(|made| made.is_end_stream())
            && self.own.is_none()
            && self
                .source
                .as_ref()
                .is_none_or(|source| source.kept(self.sent).is_none() && source.is_over())
    }

    /// The head says it: a length as it was sent, or chunks.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// What was to be sent on ended before its end; the session knows why, or the log.
#[derive(Clone, Copy, Debug)]
pub struct Aborted;

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request's body was not complete")
    }
}

impl std::error::Error for Aborted {}

/// For a client that expects `100 Continue`: its body is not asked for before the upstream does so, or has had its time
/// to. The client is told when the body is first polled.
pub struct Wait {
    go_ahead: Rc<GoAhead>,
    patience: Pin<Box<Sleep>>,
}

/// Shared with whoever reads the upstream's answer.
#[derive(Default)]
pub struct GoAhead {
    is_given: Cell<bool>,
    is_used: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl GoAhead {
    pub fn give(&self) {
        self.is_given.set(true);
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    /// Whether the client has been asked for its body.
    pub fn is_used(&self) -> bool {
        self.is_used.get()
    }
}

impl Wait {
    pub fn new(until: Instant) -> Wait {
        Wait {
            go_ahead: Rc::default(),
            patience: Box::pin(sleep_until(until)),
        }
    }

    pub fn go_ahead(&self) -> Rc<GoAhead> {
        self.go_ahead.clone()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.go_ahead.is_given.get() {
            self.go_ahead.waker.set(Some(cx.waker().clone()));
            ready!(self.patience.as_mut().poll(cx));
        }
        self.go_ahead.is_used.set(true);
        Poll::Ready(())
    }
}
