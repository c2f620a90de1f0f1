//! TLS on the admin port, and a word for those who speak none there.

use std::time::Duration;

use net::problem::{self, Problem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::stall::Stalling;

/// A handshake begins with a record of this type (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;
/// A client that speaks HTTP/2 at once begins so (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI ";
const ADVICE: &str = "TLS is spoken here: https:// instead of http://";
/// For a client to read that, and to end.
const FAREWELL_WITHIN: Duration = Duration::from_secs(1);

/// The caller sets the deadline. None: it did not come to that.
pub async fn accept(acceptor: TlsAcceptor, stream: TcpStream) -> Option<TlsStream<Stalling<TcpStream>>> {
    let mut begun = [0; PREFACE.len()];
    let length = stream.peek(&mut begun).await.ok()?;
    match begun[..length] {
        [HANDSHAKE, ..] => {}
        [] => return None,
        _ => {
            // Whoever is gone needs no advice.
            let _ = timeout(FAREWELL_WITHIN, advise(stream, begun == PREFACE)).await;
            return None;
        }
    }
    match acceptor.accept(Stalling::new(stream)).await {
        Ok(stream) => Some(stream),
        Err(error) => {
            tracing::debug!(%error, "a handshake failed");
            None
        }
    }
}

async fn advise(mut stream: TcpStream, is_http2: bool) -> std::io::Result<()> {
    let words = if is_http2 { to_http2() } else { to_http1() };
    stream.write_all(&words).await?;
    stream.shutdown().await?;
    // What it has sent would be answered with a reset, and the words lost.
    let mut forgotten = [0; 4 << 10];
    while stream.read(&mut forgotten).await? > 0 {}
    Ok(())
}

fn to_http1() -> Vec<u8> {
    let body = Problem::new(problem::MALFORMED, ADVICE).to_json();
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        problem::CONTENT_TYPE,
        body.len()
    );
    [head.into_bytes(), body].concat()
}

/// Settings, as everybody begins, and a GOAWAY that says why (RFC 9113, 6.5 and 6.8).
fn to_http2() -> Vec<u8> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const LAST_STREAM: [u8; 4] = [0; 4];
    const INADEQUATE_SECURITY: [u8; 4] = [0, 0, 0, 0xc];
    // Three bytes of length, of which a short text needs one.
    let length = [0, 0, 8 + ADVICE.len() as u8];
    let head = [7, 0, 0, 0, 0, 0];
    let parts: [&[u8]; 6] = [
        &SETTINGS,
        &length,
        &head,
        &LAST_STREAM,
        &INADEQUATE_SECURITY,
        ADVICE.as_bytes(),
    ];
    parts.concat()
}
