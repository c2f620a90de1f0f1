//! What is refused before any handler of ours: paths, methods, versions of HTTP, and peers that dawdle.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::plane::Plane;

/// Sends bytes as they are and reads until the peer closes, or says nothing more.
pub async fn raw(plane: &Plane, request: &str) -> String {
    let mut stream = TcpStream::connect(plane.admin).await.unwrap();
    // The peer may stop reading and close while this still writes; what it said counts.
    let (mut reading, mut writing) = stream.split();
    let write = async {
        let _ = writing.write_all(request.as_bytes()).await;
    };
    let read = async {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4_096];
        while let Ok(Ok(count @ 1..)) = tokio::time::timeout(Duration::from_secs(2), reading.read(&mut buffer)).await {
            bytes.extend_from_slice(&buffer[..count]);
        }
        bytes
    };
    let ((), bytes) = tokio::join!(write, read);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let plane = Plane::start().await;
    for path in [
        "/v1",
        "/dashboard",
        "/dashboard/",
        "/dashboard/nothing.js",
        "/v1/",
        "/v1/services/",
        "/v1/services/web/",
        "/v2/services",
    ] {
        plane.get(path).await.expect_problem(404, "not-found");
    }
    for (method, path) in [
        ("POST", "/v1/services"),
        ("POST", "/v1/services/web"),
        ("DELETE", "/v1/services"),
        ("PUT", "/v1/revisions"),
        ("GET", "/v1/stream"),
        ("DELETE", "/v1/snapshot"),
        ("GET", "/v1/fleet/succeed/x"),
    ] {
        let reply = plane.send(method, path, "", "").await;
        match path {
            "/v1/fleet/succeed/x" => drop(reply.expect_problem(404, "not-found")),
            _ => {
                let reply = reply.expect_problem(405, "method-not-allowed");
                assert!(reply.headers.contains_key("allow"), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let plane = Plane::start().await;
    plane.with("web", &[]).await;
    let reply = plane.send("HEAD", "/v1/services/web", "", "").await.expect(200);
    assert_eq!((reply.headers["etag"].to_str().unwrap(), &*reply.text), ("\"1\"", ""));
}

#[tokio::test]
async fn http_2_is_spoken_on_the_same_port() {
    let plane = Plane::start().await;
    plane.with("web", &[]).await;
    let stream = TcpStream::connect(plane.admin).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let uri = format!("http://{}/v1/services/web", plane.admin);
    let request = Request::get(uri).body(Full::new(Bytes::new())).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(
        (response.version(), response.status().as_u16()),
        (http::Version::HTTP_2, 200)
    );
    response.into_body().collect().await.unwrap();

    let foreign = Request::get("http://example.com/v1/services/web")
        .body(Full::new(Bytes::new()))
        .unwrap();
    assert_eq!(sender.send_request(foreign).await.unwrap().status(), 403);
}

#[tokio::test]
async fn health_is_open_to_all() {
    let plane = Plane::start().await;
    for path in ["/healthz", "/readyz"] {
        plane
            .send("GET", path, "host: example.com\norigin: http://example.com", "")
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_control_plane_stops_and_comes_back_with_everything() {
    let plane = Plane::start().await;
    plane.with("web", &["127.0.0.1:1", "127.0.0.1:2"]).await;
    plane.delete("/v1/services/web/upstreams/127.0.0.1:1").await.expect(200);
    let paths = [
        "/v1/services",
        "/v1/services/web/upstreams",
        "/v1/revisions",
        "/v1/fleet",
    ];
    let mut before = Vec::new();
    for path in paths {
        before.push(plane.get(path).await.expect(200).json);
    }
    // An idle connection and a watcher hold up no end.
    let _idle = TcpStream::connect(plane.admin).await.unwrap();
    let _watching = plane.response("GET", "/v1/watch", "", b"").await;
    let plane = plane.restart().await;
    for (path, before) in paths.into_iter().zip(before) {
        assert_eq!(plane.get(path).await.expect(200).json, before, "{path}");
    }
}
