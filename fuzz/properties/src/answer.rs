//! An upstream's bytes: the proxy's own reading of an answer against that of another parser. The first byte says what was
//! asked, and how the rest is cut.

use bytes::Bytes;
use dataplane::codec::decoder::{Decoder, Piece};
use dataplane::upstream::talk::{Error, Reading};
use http::header::HeaderMap;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// More than a head may have, and than its fields can be.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
const FIELDS_MAX: usize = 16 * 1024;
/// The other parser takes no more trailers.
const TRAILERS_MAX: usize = 100;

#[derive(Debug, PartialEq)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

pub fn check(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else {
        return;
    };
    let method = if first % 2 == 0 { Method::GET } else { Method::HEAD };
    let answer = read(&method, bytes, usize::MAX);
    let in_pieces = read(&method, bytes, 1 + usize::from(first / 2));
    assert_eq!(in_pieces.as_ref().ok(), answer.as_ref().ok());
    let Ok(answer) = answer else { return };
    let trailers = answer.trailers.as_ref().map_or(0, HeaderMap::len);
    if answer.status != StatusCode::SWITCHING_PROTOCOLS && trailers <= TRAILERS_MAX {
        assert_eq!(
            read_by_other(&method, bytes).expect("the other parser refuses it"),
            answer
        );
    }
}

/// A whole answer.
fn read(method: &Method, bytes: &[u8], piece: usize) -> Result<Answer, Error> {
    let mut pieces = bytes.chunks(piece);
    let mut next = || pieces.next().map(Bytes::copy_from_slice);
    let mut reading = Reading::new(method.clone());
    let head = loop {
        match reading.take_head()? {
            Some(head) if head.parts.status.is_informational() && head.parts.status.as_u16() != 101 => {}
            Some(head) => break head,
            None => reading.push(next().ok_or(Error::Ended)?),
        }
    };
    let mut answer = Answer {
        status: head.parts.status,
        headers: head.parts.headers,
        body: Vec::new(),
        trailers: None,
    };
    let mut decoder = Decoder::new(head.framing);
    let mut read = reading.into_rest();
    loop {
        match decoder.next(&mut read).map_err(Error::Malformed)? {
            Piece::Data(data) => answer.body.extend_from_slice(&data),
            Piece::Trailers(trailers) => answer.trailers = Some(trailers),
            Piece::End => return Ok(answer),
            Piece::More => match next() {
                Some(more) => read = more,
                None if decoder.end() => return Ok(answer),
                None => return Err(Error::Ended),
            },
        }
    }
}

fn read_by_other(method: &Method, bytes: &[u8]) -> hyper::Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (near, far) = tokio::io::duplex(BUFFER_BYTES_MAX);
    runtime.block_on(async { tokio::join!(ask(method, near), serve(far, bytes)).0 })
}

/// Says it when it is asked, and nothing behind it.
async fn serve(mut stream: DuplexStream, bytes: &[u8]) {
    let mut request = [0; 1024];
    if stream.read(&mut request).await.is_ok() {
        // Whoever asked may have heard enough.
        let _ = stream.write_all(bytes).await;
    }
}

async fn ask(method: &Method, stream: DuplexStream) -> hyper::Result<Answer> {
    let mut http = http1::Builder::new();
    http.max_buf_size(BUFFER_BYTES_MAX).max_headers(FIELDS_MAX);
    let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let request = Request::builder().method(method).uri("/").body(Empty::<Bytes>::new());
        let answer = sender.send_request(request.unwrap()).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes().to_vec(),
            trailers,
        })
    };
    // What comes behind the answer is nothing to it.
    tokio::join!(exchange, async { drop(connection.await) }).0
}
