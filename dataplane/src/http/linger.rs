//! Ends a connection on which the client may still be sending. Closed at once, the kernel would answer its bytes with a
//! reset, and the client would lose the answer that it has not read yet (RFC 9112, 9.6).

use std::cell::RefCell;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Sends what is left to say and a FIN, then reads and forgets until the client ends, too: at most `patience.0` from one
/// read to the next, and `patience.1` in all.
pub async fn linger(mut stream: TcpStream, last_words: &[u8], patience: (Duration, Duration)) {
    let end = Instant::now() + patience.1;
    let farewell = async {
        stream.write_all(last_words).await?;
        stream.shutdown().await
    };
    if !matches!(timeout_at(end, farewell).await, Ok(Ok(()))) {
        return;
    }
    loop {
        let next = end.min(Instant::now() + patience.0);
        match timeout_at(next, stream.readable()).await {
            Ok(Ok(())) => {}
            _ => return,
        }
        match forget(&stream) {
            Some(0) | None => return,
            Some(_) => {}
        }
        // A client that sends without a pause must not keep the worker to itself.
        tokio::task::yield_now().await;
        if Instant::now() >= end {
            return;
        }
    }
}

/// How much there was; none when the connection is broken.
fn forget(stream: &TcpStream) -> Option<usize> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(SCRATCH_BYTES, 0);
        match stream.try_read(scratch) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Some(1),
            Err(_) => None,
        }
    })
}
