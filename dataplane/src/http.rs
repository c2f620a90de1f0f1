//! The HTTP/1 edge: turns bytes into a `RequestMeta`, and what the pipeline makes of it into bytes again.
//!
//! ```text
//! socket → wire → exchange → pipeline → pool → socket
//!                   ↑ upload, answer: bodies both ways at once
//! ```
//!
//! A connection is one task. It has one timer, which follows whatever is due first, and ends in one place.
//!
//! What only looks at bytes and fields is public: `fuzz/` holds it against another parser.

mod answer;
pub mod basic;
mod converse;
mod date;
mod exchange;
pub mod fields;
mod forward;
pub mod forwarded;
pub mod head;
mod intake;
mod linger;
mod nudge;
mod outgoing;
mod quota;
mod record;
mod refusal;
mod reply;
mod session;
pub mod target;
mod tunnel;
mod upload;
mod whole;
mod wire;

use std::future::{Future, poll_fn};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use self::converse::{Ended, converse};
use self::exchange::Client;
use self::forwarded::Forwarding;
use self::linger::linger;
use self::nudge::Nudged;
use self::record::Record;
use self::refusal::Refusal;
use self::session::{Expired, Patience, Session};
pub use self::upload::{Aborted, Upload};
use self::wire::Wire;
use crate::phase::{Phase, PhaseReceiver};
use crate::worker::{STOP_GRACE, WorkerContext};

/// Serves a client's connection to its end, on the worker's own `LocalSet`.
pub async fn serve_connection(stream: TcpStream, peer: SocketAddr, context: Rc<WorkerContext>) {
    serve(stream, peer, context, Patience::default()).await;
}

async fn serve(stream: TcpStream, peer: SocketAddr, context: Rc<WorkerContext>, patience: Patience) {
    // Fails only on a connection that is gone already.
    let Ok(local) = stream.local_addr() else { return };
    let record = Record::new(context.clone(), peer.ip().to_canonical(), Instant::now());
    let session = Rc::new(Session::new(patience, record));
    let wire = Wire::new(stream, session.clone(), context.config.half_close);
    let phase = context.phase.clone();
    let drain_timeout = context.config.drain_timeout;
    let client = Client {
        forwarding: Forwarding::new(peer, local, &context.config.trusted),
        context,
        session: session.clone(),
        wire: wire.clone(),
    };
    let ended = {
        let http = pin!(converse(&client, &wire));
        drive(http, &wire, ending(phase, drain_timeout)).await
    };
    end(ended, &wire).await;
}

/// Ready once connections are to end; says how long they may take.
async fn ending(mut phase: PhaseReceiver, drain_timeout: Duration) -> Duration {
    match phase.wait_for(|phase| phase.ends_keep_alives()).await.as_deref() {
        Ok(Phase::Stopped) => STOP_GRACE,
        // Without a sender nobody is left who would want it to go on.
        Ok(_) | Err(_) => drain_timeout,
    }
}

/// Lets requests be served until that has ended, the connection is to end, or patience has.
async fn drive(
    mut http: Pin<&mut impl Future<Output = Ended>>,
    wire: &Wire,
    ending: impl Future<Output = Duration>,
) -> Ended {
    let session = wire.session();
    let mut ending = pin!(ending);
    let mut nudged = Nudged::default();
    let mut sleep = pin!(sleep_until(session.due().0));
    let mut is_first = true;
    poll_fn(|cx| {
        wire.belongs_to(cx);
        session.tick();
        loop {
            if let Poll::Ready(ended) = http.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            if !session.is_closing()
                && let Poll::Ready(allowed) = nudged.poll(ending.as_mut(), cx)
            {
                session.close(allowed);
                // There is a last look at the socket.
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
                // There is a last look at the socket.
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

async fn end(ended: Ended, wire: &Wire) {
    let session = wire.session();
    let is_unread = wire.is_unread();
    let Some((stream, early)) = wire.take() else { return };
    let refusal = match ended {
        Ended::Refused(refused) => Some(Refusal::from(refused)),
        Ended::Late => Some(Expired::Head.into()),
        Ended::Done | Ended::Quiet | Ended::Broken | Ended::Cut => None,
    };
    let is_orderly = matches!(ended, Ended::Done | Ended::Quiet);
    if let Some(refusal) = refusal {
        session.record().no_request(&refusal, session.now());
        linger(stream, &refusal.into_bytes(), session.patience().linger).await;
    } else if let (Ended::Done, Some(tunnel)) = (ended, session.take_tunnel()) {
        tunnel.run(stream, early).await;
    } else if is_orderly && (is_unread || has_bytes(&stream)) {
        linger(stream, &[], session.patience().linger).await;
    } else if !is_orderly && session.ends_with_close() {
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
