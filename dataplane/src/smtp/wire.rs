//! A session's connection: what came and was not read, what was said and is not sent.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::ready;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::lines::Input;
use super::{Reply, replies};

const READ_BYTES_MAX: usize = 16 * 1024;
/// Replies to pipelined commands are sent together (RFC 2920, 3.2), up to so much.
const OUTPUT_BYTES_MAX: usize = 4 * 1024;
/// Of what is read and thrown away for the sake of the last reply.
const LINGER_BYTES_MAX: usize = 64 << 20;

pub struct Wire<S> {
    stream: S,
    pub input: Input,
    output: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub fn new(stream: S) -> Wire<S> {
        Wire {
            stream,
            input: Input::default(),
            output: Vec::new(),
        }
    }

    /// Waits for more input; 0 bytes are the end of it. Safe to cancel. While it waits it holds no buffer.
    pub async fn fill(&mut self) -> io::Result<usize> {
        let Wire { stream, input, .. } = self;
        poll_fn(|cx| {
            let mut space = [MaybeUninit::uninit(); READ_BYTES_MAX];
            let mut read = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
            input.extend(read.filled());
            Ok(read.filled().len()).into()
        })
        .await
    }

    /// Is sent with the next `flush`.
    pub fn say(&mut self, reply: &Reply) {
        replies::write(reply, &mut self.output);
    }

    pub fn say_extensions(&mut self, first: &str, extensions: &[String]) {
        replies::write_extensions(first, extensions, &mut self.output);
    }

    /// Nothing more is to be said before some of it is sent.
    pub fn is_full(&self) -> bool {
        self.output.len() > OUTPUT_BYTES_MAX
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            let output = std::mem::take(&mut self.output);
            self.stream.write_all(&output).await?;
            // TLS keeps bytes back.
            self.stream.flush().await?;
        }
        Ok(())
    }

    /// Ends the connection so that the last reply arrives: closing it on bytes that nobody read would be a reset.
    pub async fn close(mut self, until: Instant) {
        let _ = timeout_at(until, async {
            self.flush().await?;
            self.stream.shutdown().await?;
            let mut read = 0;
            while read < LINGER_BYTES_MAX {
                self.input = Input::default();
                match self.fill().await? {
                    0 => break,
                    count => read += count,
                }
            }
            io::Result::Ok(())
        })
        .await;
    }

    /// For TLS to begin on, once everything is sent.
    pub fn into_stream(self) -> S {
        self.stream
    }
}
