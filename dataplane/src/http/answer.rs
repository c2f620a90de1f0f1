//! The body of an answer to a client.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::fields;
use super::session::Session;
use super::tunnel::Tunnel;
use super::whole::Rest;
use crate::upstream::endpoint::InFlight;
use crate::upstream::health::Doubt;
use crate::upstream::pool::{Connection, Incoming};

pub enum Answer {
    /// The proxy's own.
    Own {
        data: Option<Bytes>,
        end: End,
    },
    Relayed(Relay),
}

/// Tells the session, however the answer ends.
pub struct End(Rc<Session>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.answer_ended();
    }
}

/// What an upstream sends.
pub struct Relay {
    rest: Rest,
    lease: Option<Lease>,
    end: End,
}

/// The upstream's part in an exchange: its connection, and its count.
pub struct Lease {
    connection: Connection,
    in_flight: Rc<InFlight>,
    is_reusable: bool,
}

impl Lease {
    /// `is_reusable`: the connection may serve another request after this one.
    pub fn new(connection: Connection, in_flight: Rc<InFlight>, is_reusable: bool) -> Lease {
        Lease {
            connection,
            in_flight,
            is_reusable,
        }
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    pub fn is_reusable(&self) -> bool {
        self.is_reusable
    }

    /// The protocols are switched: the connection is the tunnel's. `answer`: the body of the answer that says so.
    pub fn hand_over(self, answer: Incoming, idle: Duration) -> Option<Tunnel> {
        self.in_flight.endpoint().health().succeeded();
        Some(Tunnel {
            upstream: self.connection.hand_over(answer)?,
            in_flight: self.in_flight,
            idle,
        })
    }

    /// The answer has ended before its end. An upstream that was cut is not to blame.
    fn fail(self) {
        let endpoint = self.in_flight.endpoint();
        if !endpoint.cut_token().is_cancelled() {
            endpoint.care().suspend(endpoint, Doubt::Completes, Instant::now());
        }
    }

    /// The answer is complete.
    fn end(self) {
        self.in_flight.endpoint().health().succeeded();
        if self.is_reusable {
            self.connection.release();
        }
    }
}

impl Answer {
    pub fn own(data: Bytes, session: Rc<Session>) -> Answer {
        session.answer_began();
        Answer::Own {
            data: (!data.is_empty()).then_some(data),
            end: End(session),
        }
    }

    pub fn relayed(rest: Rest, lease: Lease, session: Rc<Session>) -> Answer {
        session.answer_began();
        let mut relay = Relay {
            rest,
            lease: Some(lease),
            end: End(session),
        };
        relay.end_if_over();
        Answer::Relayed(relay)
    }
}

impl Relay {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let frame = match ready!(Pin::new(&mut self.rest).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => {
                self.end.0.record().broke_off("the upstream's answer was not complete");
                // It may be for the client's body that was not complete.
                let is_to_blame = self.end.0.fault().is_none();
                self.lease
                    .take()
                    .filter(|_| is_to_blame)
                    .into_iter()
                    .for_each(Lease::fail);
                return Poll::Ready(Some(Err(Cut)));
            }
            None => {
                self.end();
                return Poll::Ready(None);
            }
        };
        if let Some(data) = frame.data_ref() {
            self.end.0.record().sent(data.len());
            self.end_if_over();
            return Poll::Ready(Some(Ok(frame)));
        }
        // Nothing follows trailers.
        self.end();
        Poll::Ready(fields::trailers(frame).map(Ok))
    }

    fn end_if_over(&mut self) {
        if self.rest.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.end();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.lease.is_some() {
            self.end.0.record().broke_off("the connection ended within the answer");
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Answer::Own { data, end } => Poll::Ready(data.take().map(|data| {
                end.0.record().sent(data.len());
                Ok(Frame::data(data))
            })),
            Answer::Relayed(relay) => relay.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Own { data, .. } => data.is_none(),
            Answer::Relayed(relay) => relay.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Own { data, .. } => SizeHint::with_exact(data.as_ref().map_or(0, Bytes::len) as u64),
            Answer::Relayed(relay) => relay.rest.size_hint(),
        }
    }
}

/// The upstream's body ended before its end. The client's connection ends with it: an answer that was cut must not look
/// like one that is complete.
#[derive(Clone, Copy, Debug)]
pub struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the upstream's answer was not complete")
    }
}

impl std::error::Error for Cut {}
