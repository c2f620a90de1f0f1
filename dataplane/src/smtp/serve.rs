//! A client's connection from its first byte on: PROXY header, TLS, sessions.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::backend::Backend;
use super::proxy_protocol;
use super::session::{Client, Patience, Session};
use super::wire::Wire;
use super::{handshake, replies};
use crate::worker::WorkerContext;

/// For the first byte of a trusted peer, which may send a PROXY header, or wait for us to greet.
const HEADER_SILENCE: Duration = Duration::from_millis(500);
const HEADER_WITHIN: Duration = Duration::from_secs(5);

/// Serves it to its end, on the worker's own `LocalSet`. `implicit_tls`: from the first byte on (RFC 8314, 3.3).
pub async fn serve_connection(stream: TcpStream, peer: SocketAddr, context: Rc<WorkerContext>, implicit_tls: bool) {
    let config = context.config.clone();
    serve(
        stream,
        peer,
        &config.trusted,
        &context,
        &Patience::default(),
        implicit_tls,
    )
    .await;
}

async fn serve<B: Backend>(
    mut stream: TcpStream,
    peer: SocketAddr,
    trusted: &[IpNet],
    backend: &B,
    patience: &Patience,
    implicit_tls: bool,
) {
    let own = peer.ip().to_canonical();
    let is_trusted = trusted.iter().any(|net| net.contains(&own));
    let address = match is_trusted {
        true => Box::pin(proxy_protocol::client(&mut stream, peer, HEADER_SILENCE, HEADER_WITHIN)).await,
        false => Some(own),
    };
    let Some(address) = address else { return };
    // A server that may speak for others has as many as it wants.
    let is_counted = !is_trusted || address != own;
    let connection = is_counted.then(|| backend.clients().connect(address));
    if let Some(None) = connection {
        return turn_away(stream, patience, implicit_tls).await;
    }
    let client = Client { address, is_trusted };
    converse(stream, client, backend, patience, implicit_tls).await;
}

/// Before TLS there is nothing to be said.
async fn turn_away(stream: TcpStream, patience: &Patience, implicit_tls: bool) {
    if !implicit_tls {
        let mut wire = Wire::new(stream);
        wire.say(&replies::TOO_MANY_CONNECTIONS);
        wire.close(Instant::now() + patience.linger).await;
    }
}

pub(super) async fn converse<S, B>(stream: S, client: Client, backend: &B, patience: &Patience, implicit_tls: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend,
{
    let begun = match implicit_tls {
        true => Some(stream),
        false => {
            let session = Session::new(stream, client, None, backend, patience);
            session.run(true).await
        }
    };
    if let Some(stream) = begun {
        // Not part of what every session without it carries along.
        Box::pin(converse_in_private(stream, client, backend, patience, implicit_tls)).await;
    }
}

async fn converse_in_private<S, B>(stream: S, client: Client, backend: &B, patience: &Patience, greets: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend,
{
    let Some(acceptor) = backend.acceptor() else { return };
    let until = Instant::now() + patience.handshake;
    let Some((stream, tls)) = Box::pin(handshake::accept(acceptor, stream, until)).await else {
        return;
    };
    let session = Session::new(stream, client, Some(tls), backend, patience);
    // It cannot begin TLS again.
    session.run(greets).await;
}
