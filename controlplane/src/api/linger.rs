//! What still comes of a body that nobody wants. Left alone, the connection would be closed, the client's bytes answered
//! with a reset, and the client would lose the answer that it has not read yet (RFC 9112, 9.6).

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use http::HeaderMap;
use http::header::EXPECT;
use http_body::Body as _;
use http_body_util::BodyExt;

/// What comes later is answered with a reset after all.
const WITHIN: Duration = Duration::from_secs(5);
/// Likewise beyond it.
const BYTES_MAX: usize = 64 << 20;

/// To be called when the request is answered without its body.
pub fn forget(request: Request) {
    let (parts, body) = request.into_parts();
    forget_rest(&parts.headers, body);
}

/// Reads on beside the answer, which goes out meanwhile; ends with the body, the connection, or its own limits.
pub fn forget_rest(headers: &HeaderMap, body: Body) {
    // Whoever waits to be asked for the body has sent none, and reading it would ask.
    if body.is_end_stream() || headers.contains_key(EXPECT) {
        return;
    }
    tokio::spawn(tokio::time::timeout(WITHIN, read(body)));
}

async fn read(mut body: Body) {
    let mut left = BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, bytes::Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
