//! The admin listener: HTTP/1 and HTTP/2 without TLS on one port, with a limit on everything that a peer can hold.

mod stall;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use stall::Stalling;

const CONNECTIONS_MAX: usize = 16_384;

/// For a request's head, from the connection's first byte on.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// After `stop`: for answers that are under way.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// A proxy that is paused misses these, and must not lose its connection by a hiccup.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Serves until `stop`, then closes the listener, and returns once every connection is finished or cut.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
    let builder = Arc::new(builder());
    while let Some((stream, peer, place)) = stop.run_until_cancelled(accept(&listener, &places)).await {
        let (builder, router) = (builder.clone(), router.clone());
        let (stop, cut) = (stop.clone(), cut.clone());
        connections.spawn(async move {
            let _place = place;
            connection(&builder, stream, peer, router, stop, cut).await;
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(FINISH_WITHIN, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections of the admin listener are cut");
        cut.cancel();
        connections.wait().await;
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<tokio::sync::OwnedSemaphorePermit>) {
    // Never closed, so there is always a place in the end; peers beyond it wait in the backlog.
    let place = places.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) => {
                // Out of descriptors, most likely: trying again at once would only burn the processor.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(64 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY)
        .max_concurrent_streams(1_024)
        .max_header_list_size(16 << 10);
    builder
}

async fn connection(
    builder: &Builder<TokioExecutor>,
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    stop: CancellationToken,
    cut: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection closed at once");
        return;
    }
    let began = Arc::new(AtomicBool::new(false));
    let inner = TowerToHyperService::new(router);
    let service = service_fn({
        let began = began.clone();
        move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            began.store(true, Ordering::Relaxed);
            let answering = inner.call(request);
            async move { answering.await as Result<Response, Infallible> }
        }
    });
    let mut serving = pin!(builder.serve_connection(TokioIo::new(Stalling::new(stream)), service));
    let mut head_due = pin!(tokio::time::sleep(HEAD_WITHIN));
    let (mut finishing, mut due) = (false, true);
    loop {
        tokio::select! {
            // Peers break off as they like; what it means to a request, its handler knows.
            _ = serving.as_mut() => return,
            () = stop.cancelled(), if !finishing => {
                finishing = true;
                serving.as_mut().graceful_shutdown();
            }
            () = cut.cancelled() => return,
            () = head_due.as_mut(), if due => {
                due = false;
                if !began.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }
}
