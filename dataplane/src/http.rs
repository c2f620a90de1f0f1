//! The HTTP/1 edge: turns bytes into a `RequestMeta`, and what the pipeline makes of it into bytes again.
//!
//! ```text
//! socket → gate → hyper → exchange → pipeline → pool → codec → socket
//!                           ↑ upload, answer: bodies both ways at once
//! ```
//!
//! A connection is one task. It has one timer, which follows whatever is due first, and ends in one place.
//!
//! What only looks at bytes and fields is public: `fuzz/` holds it against the parser behind it.

mod answer;
pub mod basic;
mod exchange;
pub mod fields;
mod forward;
pub mod forwarded;
mod gate;
mod gather;
pub mod head;
mod linger;
mod nudge;
mod outgoing;
mod quota;
mod record;
mod refusal;
mod session;
pub mod target;
mod tunnel;
mod upload;
mod whole;

use std::future::{Future, poll_fn};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use self::exchange::{Client, exchange};
use self::forwarded::Forwarding;
use self::gate::Gate;
use self::head::Refused;
use self::linger::linger;
use self::nudge::Nudged;
use self::record::Record;
use self::refusal::Refusal;
use self::session::{Expired, Fault, Patience, Session};
pub use self::upload::{Aborted, Upload};
use crate::phase::{Phase, PhaseReceiver};
use crate::worker::{STOP_GRACE, WorkerContext};

/// Of what is read ahead of the upstream, and written ahead of the client. More than a head may have.
const BUFFER_BYTES_MAX: usize = 128 * 1024;

/// Serves a client's connection to its end, on the worker's own `LocalSet`.
pub async fn serve_connection(stream: TcpStream, peer: SocketAddr, context: Rc<WorkerContext>) {
    serve(stream, peer, context, Patience::default()).await;
}

/// How a connection's HTTP ended.
enum Ended {
    /// By hyper's account, or the gate's.
    Http(hyper::Result<()>),
    /// With no request under way.
    Quiet,
    /// The client has not sent its head in time.
    Late,
    /// Within an answer.
    Cut,
}

async fn serve(stream: TcpStream, peer: SocketAddr, context: Rc<WorkerContext>, patience: Patience) {
    // Fails only on a connection that is gone already.
    let Ok(local) = stream.local_addr() else { return };
    let record = Record::new(context.clone(), peer.ip().to_canonical(), Instant::now());
    let session = Rc::new(Session::new(patience, record));
    let gate = Gate::new(stream, session.clone(), context.config.half_close);
    let phase = context.phase.clone();
    let drain_timeout = context.config.drain_timeout;
    let client = Rc::new(Client {
        forwarding: Forwarding::new(peer, local, &context.config.trusted),
        context,
        session: session.clone(),
    });
    let service = service_fn(|request| exchange(client.clone(), request));
    let mut http = http1::Builder::new()
        // The driver has its own.
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(gate), service);
    let ended = drive(&mut http, &session, ending(phase, drain_timeout)).await;
    let parts = http.into_parts();
    end(ended, parts.io.into_inner(), parts.read_buf, &session).await;
}

/// Ready once connections are to end; says how long they may take.
async fn ending(mut phase: PhaseReceiver, drain_timeout: Duration) -> Duration {
    match phase.wait_for(|phase| phase.ends_keep_alives()).await.as_deref() {
        Ok(Phase::Stopped) => STOP_GRACE,
        // Without a sender nobody is left who would want it to go on.
        Ok(_) | Err(_) => drain_timeout,
    }
}

/// Runs hyper until it has ended, the connection is to end, or patience has.
async fn drive<C>(mut http: C, session: &Session, ending: impl Future<Output = Duration>) -> Ended
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let mut ending = pin!(ending);
    let mut nudged = Nudged::default();
    let mut sleep = pin!(sleep_until(session.due().0));
    let mut is_first = true;
    poll_fn(|cx| {
        session.tick();
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut http).poll(cx) {
                return Poll::Ready(Ended::Http(ended));
            }
            if !session.is_closing()
                && let Poll::Ready(allowed) = nudged.poll(ending.as_mut(), cx)
            {
                session.close(allowed);
                // The gate has its last look.
                continue;
            }
            if session.is_over() {
                return Poll::Ready(Ended::Quiet);
            }
            let (due, expired) = session.due();
            let is_earlier = due < sleep.deadline();
            if is_earlier {
                sleep.as_mut().reset(due);
            }
            if !is_first && !is_earlier && session.now() < sleep.deadline() {
                return Poll::Pending;
            }
            is_first = false;
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            session.tick();
            if session.now() < due {
                sleep.as_mut().reset(due);
                continue;
            }
            match expired {
                // The gate has its last look.
                None | Some(Expired::Quiet) => {}
                Some(Expired::Head) => return Poll::Ready(Ended::Late),
                // Nobody took the last one: there is no answer to be had.
                Some(_) if session.is_expired() => return Poll::Ready(Ended::Cut),
                Some(Expired::Answer) => return Poll::Ready(Ended::Cut),
                Some(expired) => session.expire(expired),
            }
        }
    })
    .await
}

/// `read`: what hyper has read beyond the last request.
async fn end(ended: Ended, gate: Gate, read: Bytes, session: &Session) {
    let refusal = match &ended {
        Ended::Http(Ok(())) => gate.refused().map(Refusal::from),
        Ended::Http(Err(error)) if error.is_parse() && !session.is_served() => Some(match error.is_parse_too_large() {
            true => Refused::TooLarge.into(),
            false => Refused::Malformed("the head is not that of an HTTP/1 request").into(),
        }),
        Ended::Late => Some(Expired::Head.into()),
        Ended::Http(Err(_)) | Ended::Quiet | Ended::Cut => None,
    };
    let is_complete = matches!(ended, Ended::Http(Ok(()))) && !session.is_blocked();
    let is_orderly = is_complete || matches!(ended, Ended::Quiet);
    let is_unread = gate.is_unread() || matches!(session.fault(), Some(Fault::Malformed(_)));
    let (stream, kept) = gate.into_parts();
    if let Some(refusal) = refusal {
        session.record().no_request(&refusal, session.now());
        linger(stream, &refusal.into_bytes(), session.patience().linger).await;
    } else if let (true, Some(tunnel)) = (is_complete, session.take_tunnel()) {
        let early = [read, kept].into_iter().fold(BytesMut::new(), |mut early, bytes| {
            early.extend_from_slice(&bytes);
            early
        });
        tunnel.run(stream, early.freeze()).await;
    } else if is_orderly && (is_unread || has_bytes(&stream)) {
        linger(stream, &[], session.patience().linger).await;
    } else if !is_complete && session.ends_with_close() {
        // A FIN would say that the answer is complete.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

/// Also those that tokio has not heard of yet. A socket that is closed on them resets the connection.
fn has_bytes(stream: &TcpStream) -> bool {
    matches!(SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]), Ok(1..))
}

#[cfg(test)]
mod tests;
