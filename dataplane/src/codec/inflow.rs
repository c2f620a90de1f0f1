//! What a worker reads. There is one buffer for all of its connections, so that those that have nothing to say hold none.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

const BUFFER_BYTES: usize = 128 * 1024;
/// At least so much is asked for at a time: long bodies cost by the call.
const READ_BYTES_MIN: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<BytesMut> = RefCell::default();
}

/// Nothing at the stream's end. The bytes hold on to the worker's buffer: what is to be kept for longer than it takes to pass
/// it on is copied.
pub fn poll_read(stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    BUFFER.with_borrow_mut(|buffer| {
        // All that was read before has gone on, as a rule, and its place can be used again: it is in the processor's caches,
        // and what was secret in it does not stay.
        if !buffer.try_reclaim(BUFFER_BYTES) && buffer.capacity() < READ_BYTES_MIN {
            *buffer = BytesMut::with_capacity(BUFFER_BYTES);
        }
        ready!(poll_read_buf(Pin::new(stream), cx, buffer))?;
        Poll::Ready(Ok(buffer.split().freeze()))
    })
}
