//! The proxy as a whole: what it starts, and in which order it ends.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Fuse, FusedFuture};
use net::announce::Announce;
use net::listen::ListenError;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::phase::{self, Phase};
use crate::status::Status;
use crate::sync;
use crate::upstream::resolve;
use crate::view::Views;
use crate::worker::{ListenerKind, WorkerContext, Workers, WorkersError};
use crate::{Config, http, smtp};

/// More than the synchronisation takes by itself to say goodbye.
const GOODBYE_WITHIN: Duration = Duration::from_secs(8);

#[derive(Debug)]
pub enum Error {
    Status(ListenError),
    Workers(WorkersError),
    Sync(sync::Error),
    /// A task of the proxy panicked.
    Defect,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Status(error) => error.fmt(f),
            Error::Workers(error) => error.fmt(f),
            Error::Sync(error) => error.fmt(f),
            Error::Defect => f.write_str("a part of the proxy has failed unexpectedly"),
        }
    }
}

impl std::error::Error for Error {}

/// Runs a proxy until `stop`, and then until it has drained and said goodbye, on a multi-threaded runtime. It ends:
///
/// 1. not ready any more, so that load balancers look elsewhere
/// 2. listeners closed, once what was queued on them is accepted
/// 3. drained: requests finished, or cut at `drain_timeout`
/// 4. goodbye: writes do not wait for this proxy any more
pub async fn run(config: Config, announce: Announce, stop: CancellationToken) -> Result<(), Error> {
    let config = Arc::new(config);
    let views = Views::new(config.workers);
    let (sender, phase) = phase::channel();
    let leave = sync::Leave::default();
    // The status port answers to the very end.
    let over = CancellationToken::new();
    let _over = over.clone().drop_guard();

    let status_listener = config.status.map(|address| listen(address, &announce)).transpose()?;
    let workers = Workers::start(&config, &views, &phase, serve_connection).map_err(Error::Workers)?;
    let status = Status {
        phase: phase.clone(),
        listening: workers.listening(),
        views: views.clone(),
        connections: workers.connections().clone(),
        log: config.access_log.clone(),
    };
    if let Some(listener) = status_listener {
        tokio::spawn(status.clone().serve(listener, over.clone()));
    }
    if let Some(certificates) = &config.tls {
        tokio::spawn(certificates.clone().keep(over.clone()));
    }
    let log = config.access_log.clone();
    if let Some(log) = log.clone() {
        tokio::spawn(log.follow_hangups(over.clone()));
    }
    tokio::spawn(announce_ready(status, announce.clone(), over.clone()));
    tokio::spawn(views.names().clone().keep(Arc::new(resolve::system), over.clone()));
    tokio::spawn(views.checks().clone().keep(over.clone()));
    tokio::spawn(views.now().strays().clone().keep(over.clone()));
    tokio::spawn(views.clone().keep_ending(over.clone()));
    let limiter = views.limiter().clone();
    tokio::spawn(limiter.clone().keep(over.clone()));
    tokio::spawn(views.clone().keep_cutting(over));
    let barrier = workers.barrier();
    let mut serving = part(workers.follow(phase, announce), Error::Workers);
    let mut synchronising = part(
        sync::run(config, views, barrier, sender.clone(), leave.clone()),
        Error::Sync,
    );

    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = &mut serving => ended,
        ended = &mut synchronising => ended,
    };
    sender.set(Phase::Draining);
    limiter.end_turns();
    leave.stopping.cancel();
    let drained = rest(serving).await;
    leave.drained.cancel();
    let left = tokio::time::timeout(GOODBYE_WITHIN, rest(synchronising)).await;
    if let Some(log) = log {
        log.close().await;
    }
    ended.and(drained).and(left.unwrap_or(Ok(())))
}

async fn serve_connection(kind: ListenerKind, stream: TcpStream, peer: SocketAddr, context: Rc<WorkerContext>) {
    match kind {
        ListenerKind::Http => http::serve_connection(stream, peer, context).await,
        // Apart, so that a connection of HTTP is no larger for it.
        ListenerKind::Smtp => Box::pin(smtp::serve_connection(stream, peer, context, false)).await,
        ListenerKind::Smtps => Box::pin(smtp::serve_connection(stream, peer, context, true)).await,
    }
}

fn listen(address: SocketAddr, announce: &Announce) -> Result<std::net::TcpListener, Error> {
    let cannot = ListenError::of("--status", address);
    let refused = |error| Error::Status(cannot(error));
    let listener = net::listen::bind(address).map_err(refused)?;
    announce.listening("status", listener.local_addr().map_err(refused)?);
    Ok(listener)
}

async fn announce_ready(status: Status, announce: Announce, over: CancellationToken) {
    tokio::select! {
        () = over.cancelled() => {}
        () = status.ready() => announce.ready(),
    }
}

type Part = Fuse<BoxFuture<'static, Result<(), Error>>>;

/// A task that ends with its future at the latest.
fn part<E: Send + 'static>(
    work: impl Future<Output = Result<(), E>> + Send + 'static,
    failed: impl FnOnce(E) -> Error + Send + 'static,
) -> Part {
    let task = AbortOnDropHandle::new(tokio::spawn(work));
    let ended = async { task.await.map_err(|_| Error::Defect)?.map_err(failed) };
    ended.boxed().fuse()
}

/// Waits for a part that may have ended, and been heard, before.
async fn rest(part: Part) -> Result<(), Error> {
    match part.is_terminated() {
        true => Ok(()),
        false => part.await,
    }
}

#[cfg(test)]
mod tests;
