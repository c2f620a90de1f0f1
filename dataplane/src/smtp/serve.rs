//! A client's connection from its first byte on: PROXY header, TLS, sessions.

use std::net::SocketAddr;
use std::rc::Rc;

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::backend::Backend;
use super::proxy_protocol::{self, Whose};
use super::session::{Client, Patience, Session};
use super::wire::Wire;
use super::{handshake, replies};
use crate::worker::WorkerContext;

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
    let peer = peer.ip().to_canonical();
    let is_trusted = trusted.iter().any(|net| net.contains(&peer));
    let whose = match is_trusted && implicit_tls {
        // The header comes before the handshake, which the client begins.
        true => {
            let until = Instant::now() + patience.handshake;
            match Box::pin(proxy_protocol::take(&mut stream, until)).await {
                Some(whose) => whose,
                None => return,
            }
        }
        false => Whose::Own,
    };
    let address = match whose {
        Whose::Own | Whose::Unknown => peer,
        Whose::Of(client) => client,
    };
    let place = match is_trusted && whose == Whose::Own {
        true => None,
        false => match backend.clients().connect(address) {
            None => return turn_away(stream, patience, implicit_tls).await,
            place => place,
        },
    };
    let client = Client {
        address,
        is_trusted,
        place,
    };
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
        true => Some((stream, client)),
        false => {
            let session = Session::new(stream, client, None, backend, patience);
            session.run(true).await
        }
    };
    if let Some((stream, client)) = begun {
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

#[cfg(test)]
mod tests;
