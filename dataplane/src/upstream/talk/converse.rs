use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Body;
use tokio::net::TcpStream;

use super::{Error, Reading, Writing};
use crate::codec::decoder::{Decoder, Piece};
use crate::codec::inflow;

/// A connection on which one request was made.
pub struct Conversation {
    pub status: StatusCode,
    stream: TcpStream,
    decoder: Decoder,
    read: Bytes,
}

/// Makes a request on a connection of its own, up to the head of its answer.
pub async fn converse<B: Body<Data = Bytes> + Unpin>(
    mut stream: TcpStream,
    request: Request<B>,
) -> Result<Conversation, Error> {
    let (head, body) = request.into_parts();
    let mut reading = Reading::new(head.method.clone());
    let mut writing = Writing::new(&head, body);
    let head = poll_fn(|cx| {
        if let Poll::Ready(Err(error)) = writing.poll(&mut stream, cx) {
            return Poll::Ready(Err(error));
        }
        reading.poll(&mut stream, cx, &mut |_| {})
    })
    .await?;
    Ok(Conversation {
        status: head.parts.status,
        stream,
        decoder: Decoder::new(head.framing),
        read: reading.into_rest(),
    })
}

impl Conversation {
    /// Reads the answer's body to its end, or as far as it is read at all.
    pub async fn drain(mut self, bytes_max: usize) -> Result<(), Error> {
        let mut bytes = 0;
        while bytes <= bytes_max {
            match self.decoder.next(&mut self.read).map_err(Error::Malformed)? {
                Piece::Data(data) => bytes += data.len(),
                Piece::Trailers(_) => {}
                Piece::End => break,
                Piece::More => {
                    self.read = poll_fn(|cx| inflow::poll_read(&mut self.stream, cx)).await?;
                    if self.read.is_empty() {
                        return match self.decoder.end() {
                            true => Ok(()),
                            false => Err(Error::Ended),
                        };
                    }
                }
            }
        }
        Ok(())
    }
}
