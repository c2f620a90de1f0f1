//! TLS on a session's connection.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ProtocolVersion, ServerConnection};
use tokio_rustls::server::TlsStream;

use super::Tls;

/// None: the client went away, or speaks no TLS that we take.
pub async fn accept<S>(acceptor: TlsAcceptor, stream: S, until: Instant) -> Option<(TlsStream<S>, Tls)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = timeout_at(until, acceptor.accept(stream)).await.ok()?.ok()?;
    let tls = negotiated(stream.get_ref().1);
    Some((stream, tls))
}

fn negotiated(connection: &ServerConnection) -> Tls {
    let protocol = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLS",
    };
    let suite = connection.negotiated_cipher_suite();
    let cipher = suite.and_then(|suite| suite.suite().as_str()).unwrap_or_default();
    Tls {
        protocol,
        cipher: match cipher {
            // The names of the registry, of which rustls has its own for these.
            "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
            "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
            "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
            other => other,
        },
    }
}
