use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// Copying so much costs less than the kernel's work on a list of buffers.
const COPIED_MAX: usize = 2048;

/// Writes a head and its body with the cheapest call there is for them.
pub fn poll_write_gathered(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    bufs: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    if let [only] = bufs {
        return stream.poll_write(cx, only);
    }
    let total = bufs.iter().map(|buf| buf.len()).sum();
    if total > COPIED_MAX {
        return stream.poll_write_vectored(cx, bufs);
    }
    let mut copy = [0; COPIED_MAX];
    let mut end = 0;
    for buf in bufs {
        copy[end..end + buf.len()].copy_from_slice(buf);
        end += buf.len();
    }
    stream.poll_write(cx, &copy[..total])
}
