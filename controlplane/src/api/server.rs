//! The admin listener: HTTP/1 and HTTP/2 on one port, in the clear or over TLS, with a limit on everything that a peer can hold.

mod newcomer;
mod secure;
mod stall;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use net::tls::Certificates;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use newcomer::Newcomers;
use stall::Stalling;

pub use newcomer::Newcomer;

const CONNECTIONS_MAX: usize = 16_384;

/// For a request's head, from the connection's first byte on.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// A connection on which nobody was let in is over after this.
const ADMITTED_WITHIN: Duration = Duration::from_secs(10);

/// After `stop`: for answers that are under way.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// A proxy that is paused misses these, and must not lose its connection by a hiccup.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Serves until `stop`, then closes the listener, and returns once every connection is finished or cut.
pub async fn serve(listener: TcpListener, tls: Option<Arc<Certificates>>, router: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
    let newcomers = Arc::new(Newcomers::default());
    let builder = Arc::new(builder());
    while let Some((stream, peer, place)) = stop.run_until_cancelled(accept(&listener, &places)).await {
        let Some(newcomer) = newcomers.count(peer.ip()) else {
            tracing::debug!(%peer, "a connection too many of an address on which nobody is let in");
            continue;
        };
        let (builder, router) = (builder.clone(), router.clone());
        let acceptor = tls.as_ref().map(|tls| tls.acceptor());
        let ending = Ending {
            stop: stop.clone(),
            cut: cut.clone(),
        };
        connections.spawn(async move {
            let _place = place;
            let service = service(router, peer, Scheme::of(&acceptor), newcomer.clone());
            connection(&builder, stream, acceptor, service, &newcomer, ending).await;
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

/// How connections come to an end.
struct Ending {
    stop: CancellationToken,
    cut: CancellationToken,
}

/// In the extensions of every request: how URLs of this listener begin.
#[derive(Clone, Copy)]
pub struct Scheme(pub &'static str);

impl Scheme {
    fn of(acceptor: &Option<TlsAcceptor>) -> Scheme {
        Scheme(if acceptor.is_some() { "https://" } else { "http://" })
    }
}

type Answers = BoxFuture<'static, Result<Response, Infallible>>;

fn service(
    router: Router,
    peer: SocketAddr,
    scheme: Scheme,
    newcomer: Arc<Newcomer>,
) -> impl Service<hyper::Request<Incoming>, Response = Response, Error = Infallible, Future = Answers> {
    let inner = TowerToHyperService::new(router);
    service_fn(move |mut request: hyper::Request<Incoming>| -> Answers {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(scheme);
        request.extensions_mut().insert(newcomer.clone());
        Box::pin(inner.call(request))
    })
}

async fn connection(
    builder: &Builder<TokioExecutor>,
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    service: impl Service<hyper::Request<Incoming>, Response = Response, Error = Infallible, Future = Answers>,
    newcomer: &Newcomer,
    ending: Ending,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection closed at once");
        return;
    }
    let due = Instant::now() + ADMITTED_WITHIN;
    let Some(acceptor) = acceptor else {
        let serving = builder.serve_connection(TokioIo::new(Stalling::new(stream)), service);
        return see_through(serving, due, newcomer, ending).await;
    };
    let accepted = tokio::select! {
        accepted = timeout_at(due, secure::accept(acceptor, stream)) => accepted,
        () = ending.stop.cancelled() => return,
    };
    if let Ok(Some(stream)) = accepted {
        let serving = builder.serve_connection(TokioIo::new(stream), service);
        see_through(serving, due, newcomer, ending).await;
    }
}

/// `due`: until then somebody has to be let in.
async fn see_through(serving: impl GracefulConnection, due: Instant, newcomer: &Newcomer, ending: Ending) {
    let mut serving = pin!(serving);
    let mut welcome = pin!(tokio::time::sleep_until(due));
    let (mut finishing, mut is_over) = (false, false);
    loop {
        tokio::select! {
            // Peers break off as they like; what it means to a request, its handler knows.
            _ = serving.as_mut() => return,
            () = ending.stop.cancelled(), if !finishing => {
                finishing = true;
                serving.as_mut().graceful_shutdown();
            }
            () = ending.cut.cancelled() => return,
            () = welcome.as_mut(), if !newcomer.is_admitted() => {
                // Of what nobody needs a token for, the answer that is on its way goes out.
                if is_over {
                    return;
                }
                (finishing, is_over) = (true, true);
                serving.as_mut().graceful_shutdown();
                welcome.as_mut().reset(due + ADMITTED_WITHIN);
            }
        }
    }
}
