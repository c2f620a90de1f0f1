//! A connection that has left HTTP (WebSocket and the like): bytes both ways until both sides have ended, nothing has
//! come for too long, or the upstream is cut.

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until};
use tokio_util::io::{poll_read_buf, poll_write_buf};

use crate::upstream::endpoint::InFlight;
use crate::upstream::pool::Raw;

const BUFFER_BYTES: usize = 16 * 1024;

/// An upstream that has switched protocols, and waits for the client to get the answer.
pub struct Tunnel {
    pub upstream: Raw,
    pub in_flight: Rc<InFlight>,
    pub idle: Duration,
}

impl Tunnel {
    /// `early`: what the client has sent already.
    pub async fn run(self, mut client: TcpStream, early: Bytes) {
        let mut raw = self.upstream;
        let moved = Cell::new(Instant::now());
        let (client_read, client_write) = client.split();
        let (upstream_read, upstream_write) = raw.stream.split();
        let mut up = Flow::new(client_read, upstream_write, early);
        let mut down = Flow::new(upstream_read, client_write, std::mem::take(&mut raw.early));
        let both = std::future::poll_fn(|cx| {
            let up = up.poll(cx, &moved)?;
            let down = down.poll(cx, &moved)?;
            match up.is_ready() && down.is_ready() {
                true => Poll::Ready(io::Result::Ok(())),
                false => Poll::Pending,
            }
        });
        // However it ends: both sockets close.
        tokio::select! {
            biased;
            () = self.in_flight.endpoint().cut_token().cancelled() => {}
            _ = both => {}
            () = silence(&moved, self.idle) => {}
        }
    }
}

/// Until nothing has moved for so long. The timer is set anew only when it fires.
async fn silence(moved: &Cell<Instant>, idle: Duration) {
    let mut sleep = pin!(sleep_until(moved.get() + idle));
    loop {
        sleep.as_mut().await;
        let end = moved.get() + idle;
        if Instant::now() >= end {
            return;
        }
        sleep.as_mut().reset(end);
    }
}

/// One direction.
struct Flow<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    buffer: BytesMut,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    /// The source has ended; what is left is written before its end is.
    Ending,
    Ended,
}

impl<'a> Flow<'a> {
    fn new(from: ReadHalf<'a>, to: WriteHalf<'a>, early: Bytes) -> Flow<'a> {
        Flow {
            from,
            to,
            buffer: BytesMut::from(early),
            state: State::Open,
        }
    }

    /// Reads only what has been written, so that a slow side slows the other.
    fn poll(&mut self, cx: &mut Context<'_>, moved: &Cell<Instant>) -> Poll<io::Result<()>> {
        loop {
            while self.buffer.has_remaining() {
                ready!(poll_write_buf(Pin::new(&mut self.to), cx, &mut self.buffer))?;
                moved.set(Instant::now());
            }
            match self.state {
                State::Open => {
                    self.buffer.reserve(BUFFER_BYTES);
                    if ready!(poll_read_buf(Pin::new(&mut self.from), cx, &mut self.buffer))? == 0 {
                        self.state = State::Ending;
                    }
                    moved.set(Instant::now());
                }
                State::Ending => {
                    ready!(Pin::new(&mut self.to).poll_shutdown(cx))?;
                    self.state = State::Ended;
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}
