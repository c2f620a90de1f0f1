use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// A POST is echoed, a GET answered by 100,000 bytes, or refused.
async fn serve(socket: tokio::io::DuplexStream) {
    let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
        let status = if request.uri().path() == "/no" { 503 } else { 200 };
        let body = match *request.method() {
            Method::POST => {
                let frames = futures_body(request.into_body());
                BodyExt::boxed_unsync(frames)
            }
            _ => BodyExt::boxed_unsync(Full::new(Bytes::from(vec![b'x'; 100_000]))),
        };
        Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
    });
    let io = hyper_util::rt::TokioIo::new(socket);
    let executor = hyper_util::rt::TokioExecutor::new();
    let _ended = hyper::server::conn::http2::Builder::new(executor)
        .serve_connection(io, service)
        .await;
}

fn futures_body(body: Incoming) -> impl hyper::body::Body<Data = Bytes, Error = Infallible> {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut body = body;
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            if sender.send(Ok(Frame::data(data))).is_err() {
                return;
            }
        }
    });
    StreamBody::new(tokio_stream::wrappers::UnboundedReceiverStream::new(receiver))
}

#[derive(Default)]
struct Seen {
    echoed: Vec<u8>,
    heads: Vec<(u32, bool)>,
    fetched: usize,
    ended: Vec<u32>,
}

#[tokio::test]
async fn a_real_server_understands_and_is_understood() {
    let (mut near, far) = tokio::io::duplex(4096);
    tokio::spawn(serve(far));
    let mut client = Http2::default();
    client.post("bench.test", "/v1/stream", "application/x-ndjson");
    assert!(client.send(b"hello\n"));
    let (good, bad) = (client.get("bench.test", "/yes"), client.get("bench.test", "/no"));
    let mut seen = Seen::default();
    let mut sent_more = false;
    let mut scratch = [0; 1000];
    while seen.ended.len() < 2 || seen.echoed.len() < 12 {
        near.write_all(&std::mem::take(&mut client.out)).await.unwrap();
        let read = near.read(&mut scratch).await.unwrap();
        assert!(read > 0, "the server closed");
        client
            .feed(&scratch[..read], |event| match event {
                Event::Head { stream, ok } => seen.heads.push((stream, ok)),
                Event::Data { stream: 1, bytes } => seen.echoed.extend_from_slice(bytes),
                Event::Data { stream, bytes } => seen.fetched += if stream == good { bytes.len() } else { 0 },
                Event::End { stream } => seen.ended.push(stream),
            })
            .unwrap();
        if !sent_more && !seen.echoed.is_empty() {
            sent_more = client.send(b"again\n");
        }
    }
    assert_eq!(seen.echoed, b"hello\nagain\n");
    assert_eq!(seen.fetched, 100_000);
    seen.heads.sort_unstable();
    assert_eq!(seen.heads, [(1, true), (good, true), (bad, false)]);
}

#[test]
fn the_server_s_window_holds_back() {
    let mut client = Http2::default();
    client.post("bench.test", "/v1/stream", "application/x-ndjson");
    let part = vec![b'x'; 16 * 1024];
    assert_eq!(
        (0..10).filter(|_| client.send(&part)).count(),
        3,
        "65,535 bytes hold three parts"
    );
    let mut more = Vec::new();
    for stream in [0, 1] {
        frame(&mut more, WINDOW_UPDATE, 0, stream, &20_000u32.to_be_bytes());
    }
    client.feed(&more, |_| {}).unwrap();
    assert!(client.send(&part));
}
