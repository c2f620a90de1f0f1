//! What is to be written next, so that a head and its body go with one call.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// How often in a row one connection fills and empties its outbox. Then others have their turn: where much comes in small pieces
/// each round takes long.
pub const ROUNDS_MAX: usize = 16;
/// Copying so much costs less than the kernel's work on a list of buffers.
const COPIED_MAX: usize = 2048;
/// So much is gathered before it is written.
const LEAD_BYTES_MAX: usize = 16 * 1024;
/// A worker keeps a buffer of at most this size for the next one that writes.
const SPARE_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Heads and small pieces, and behind them at most one large piece with what ends it. Empty, it holds no memory.
#[derive(Debug, Default)]
pub struct Outbox {
    lead: Vec<u8>,
    /// So much of the lead is written.
    at: usize,
    data: Bytes,
    tail: &'static [u8],
}

impl Outbox {
    /// Where a head is put, or what else stands in front of a piece. Only while there is room.
    pub fn lead(&mut self) -> &mut Vec<u8> {
        if self.lead.capacity() == 0 {
            self.lead = SPARE.take();
        }
        &mut self.lead
    }

    /// Only while there is room.
    pub fn push(&mut self, data: Bytes, tail: &'static [u8]) {
        if data.len() <= COPIED_MAX {
            let lead = self.lead();
            lead.extend_from_slice(&data);
            lead.extend_from_slice(tail);
        } else {
            self.data = data;
            self.tail = tail;
        }
    }

    /// Whether more can be put there before what there is has been written.
    pub fn has_room(&self) -> bool {
        self.data.is_empty() && self.tail.is_empty() && self.lead.len() < LEAD_BYTES_MAX
    }

    pub fn is_empty(&self) -> bool {
        self.left() == 0
    }

    /// Bytes that are not written yet.
    pub fn left(&self) -> usize {
        self.lead.len() - self.at + self.data.len() + self.tail.len()
    }

    /// One call; says how much that has written.
    pub fn poll_write(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let lead = &self.lead[self.at..];
        let stream = Pin::new(stream);
        let written = match self.data.is_empty() && self.tail.is_empty() {
            true => ready!(stream.poll_write(cx, lead)),
            false => {
                let pieces = [lead, &self.data, self.tail].map(IoSlice::new);
                ready!(stream.poll_write_vectored(cx, &pieces))
            }
        }?;
        self.advance(written);
        match written {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => Poll::Ready(Ok(written)),
        }
    }

    fn advance(&mut self, written: usize) {
        let of_lead = written.min(self.lead.len() - self.at);
        let of_data = (written - of_lead).min(self.data.len());
        self.at += of_lead;
        self.data.advance(of_data);
        self.tail = &self.tail[written - of_lead - of_data..];
        if self.is_empty() {
            self.clear();
        }
    }

    /// Forgets what is not written.
    pub fn clear(&mut self) {
        let mut lead = std::mem::take(&mut self.lead);
        self.at = 0;
        self.data = Bytes::new();
        self.tail = &[];
        if lead.capacity() <= SPARE_BYTES_MAX {
            lead.clear();
            SPARE.set(lead);
        }
    }
}

#[cfg(test)]
impl Outbox {
    pub fn text(&self) -> String {
        let all = [&self.lead[self.at..], &self.data, self.tail].concat();
        String::from_utf8(all).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_goes_byte_by_byte() {
        let long = "x".repeat(COPIED_MAX + 1);
        let mut outbox = Outbox::default();
        outbox.lead().extend_from_slice(b"head");
        outbox.push(Bytes::from_static(b"short"), b"\r\n");
        assert!(outbox.has_room());
        outbox.push(long.clone().into(), b"\r\n");
        assert!(!outbox.has_room());
        let mut left = format!("headshort\r\n{long}\r\n");
        while !outbox.is_empty() {
            assert_eq!(outbox.text(), left);
            assert_eq!(outbox.left(), left.len());
            outbox.advance(1);
            left.remove(0);
        }
        assert!(left.is_empty() && outbox.has_room());
        assert_eq!(outbox.lead.capacity(), 0, "it holds none");
        assert!(outbox.lead().capacity() > 0, "but finds the last one's");
    }
}
