//! Connections to a control plane, by HTTP/2 in the clear or over TLS.

use std::sync::Arc;

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{Address, Outgoing, PING_EVERY, WINDOW};
use crate::tls::{Trust, explain};

/// What a server is asked for in the handshake of TLS.
const PROTOCOL: &[u8] = b"h2";

pub(super) async fn dial(address: &Address, trust: Arc<Trust>) -> Result<SendRequest<Outgoing>, String> {
    let connecting = TcpStream::connect((address.host(), address.port())).await;
    let stream = connecting.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    match address.is_tls() {
        false => greet(stream).await,
        true => greet(trust.connect(stream, address.host(), PROTOCOL).await?).await,
    }
}

async fn greet<S>(stream: S) -> Result<SendRequest<Outgoing>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| explain(&error))?;
    // Ends once nobody can send over it and its streams are over.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = explain(&error), "the connection to a control plane ends");
        }
    });
    Ok(sender)
}
