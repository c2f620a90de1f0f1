use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::connection::Signs;
use crate::http::poll_write_gathered;

/// A socket to an upstream. A server that answers early and closes resets the connection under the rest of the upload;
/// its answer is still there to be read. So a failed write is no error yet: what is written from then on is dropped, and
/// reading tells how it ended.
pub struct Wire {
    stream: TcpStream,
    signs: Rc<Signs>,
}

impl Wire {
    pub fn new(stream: TcpStream, signs: Rc<Signs>) -> Wire {
        Wire { stream, signs }
    }

    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// What came of writing pieces of `bytes` together.
    fn written(&self, written: io::Result<usize>, bytes: usize, first_piece: usize) -> io::Result<usize> {
        let written = match written {
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.signs.is_deaf.set(true);
                bytes
            }
            written => written?,
        };
        self.signs.heads.wrote(written, first_piece);
        Ok(written)
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut wire.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            wire.signs.is_heard.set(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        wire.signs.heads.writing();
        let written = match wire.signs.is_deaf.get() {
            true => Ok(buf.len()),
            false => ready!(Pin::new(&mut wire.stream).poll_write(cx, buf)),
        };
        Poll::Ready(wire.written(written, buf.len(), buf.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        wire.signs.heads.writing();
        let bytes = bufs.iter().map(|buf| buf.len()).sum();
        let written = match wire.signs.is_deaf.get() {
            true => Ok(bytes),
            false => ready!(poll_write_gathered(&mut wire.stream, cx, bufs)),
        };
        Poll::Ready(wire.written(written, bytes, bufs.first().map_or(0, |buf| buf.len())))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        ready!(Pin::new(&mut wire.stream).poll_flush(cx))?;
        wire.signs.heads.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
