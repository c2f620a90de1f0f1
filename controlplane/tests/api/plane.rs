//! A control plane of a test's own, and a small client of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use controlplane::{Config, StoreUrl};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use net::announce::Announce;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Beyond it a test has failed; nothing is expected to take so long.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Plane {
    pub admin: SocketAddr,
    directory: tempfile::TempDir,
    stop: CancellationToken,
    running: JoinHandle<Result<(), controlplane::Error>>,
}

pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    pub json: Value,
}

impl Plane {
    pub async fn start() -> Plane {
        Plane::start_in(tempfile::tempdir().unwrap(), None).await
    }

    pub async fn start_with_tokens(tokens: &str) -> Plane {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("tokens.toml"), tokens).unwrap();
        Plane::start_in(directory, Some("tokens.toml")).await
    }

    async fn start_in(directory: tempfile::TempDir, tokens: Option<&str>) -> Plane {
        let config = config(directory.path(), tokens.map(|name| directory.path().join(name)));
        let (announce, stop) = (Announce::to(std::io::sink()), CancellationToken::new());
        let running = tokio::spawn(controlplane::run(config, announce.clone(), stop.clone()));
        let admin = tokio::time::timeout(PATIENCE, announce.bound("admin")).await;
        let plane = Plane {
            admin: admin.expect("it listens"),
            directory,
            stop,
            running,
        };
        let ready = async {
            while plane.get("/readyz").await.status != 200 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("it gets ready");
        plane
    }

    /// Stops it; what it stored stays.
    pub async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.running).await;
        ended.expect("it ends").unwrap().unwrap();
        self.directory
    }

    pub async fn restart(self) -> Plane {
        let directory = self.stop().await;
        Plane::start_in(directory, None).await
    }

    /// `headers` as `name: value`, one a line.
    pub async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        self.send_bytes(method, path, headers, body.as_bytes()).await
    }

    pub async fn send_bytes(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let answered = self.response(method, path, headers, body);
        let response = tokio::time::timeout(PATIENCE, answered).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let collected = tokio::time::timeout(PATIENCE, body.collect()).await.expect("a body");
        let text = String::from_utf8(collected.unwrap().to_bytes().to_vec()).unwrap();
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            json: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }

    pub async fn response(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Response<Incoming> {
        let stream = TcpStream::connect(self.admin).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if !headers.to_lowercase().contains("host:") {
            request = request.header("host", self.admin.to_string());
        }
        for line in headers.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
        sender.send_request(request).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "", "").await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, "", "").await
    }

    pub async fn put(&self, path: &str, body: &str) -> Reply {
        self.send("PUT", path, typed(body), body).await
    }

    pub async fn post(&self, path: &str, body: &str) -> Reply {
        self.send("POST", path, typed(body), body).await
    }

    pub async fn patch(&self, path: &str, body: &str) -> Reply {
        self.send("PATCH", path, "content-type: application/json", body).await
    }

    /// Service `name` for the host of that name, and its upstreams.
    pub async fn with(&self, name: &str, upstreams: &[&str]) {
        let body = format!(r#"{{"match":[{{"hosts":["{name}.example.com"]}}]}}"#);
        self.put(&format!("/v1/services/{name}"), &body).await.expect(200);
        for id in upstreams {
            let path = format!("/v1/services/{name}/upstreams/{id}");
            self.put(&path, "").await.expect(200);
        }
    }

    pub async fn head(&self) -> u64 {
        self.get("/v1/fleet").await.expect(200).json["head"].as_u64().unwrap()
    }
}

fn typed(body: &str) -> &'static str {
    if body.is_empty() {
        ""
    } else {
        "content-type: application/json"
    }
}

pub fn config(directory: &Path, tokens: Option<PathBuf>) -> Config {
    Config {
        store: StoreUrl::Redb(directory.join("log.redb")),
        admin: "127.0.0.1:0".parse().unwrap(),
        forget_after: Duration::from_secs(86_400),
        tokens,
        advertise: None,
        tls: None,
        peer_token: None,
        trust: Default::default(),
    }
}

impl Reply {
    #[track_caller]
    pub fn expect(self, status: u16) -> Reply {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// A problem of this kind, as all are rendered.
    #[track_caller]
    pub fn expect_problem(self, status: u16, kind: &str) -> Reply {
        assert_eq!((self.status, self.kind()), (status, kind), "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.json["status"], status);
        assert!(self.json["title"].is_string() && self.json["detail"].is_string());
        self
    }

    pub fn kind(&self) -> &str {
        let kind = self.json["type"].as_str().unwrap_or("");
        kind.strip_prefix("urn:vulcan:").unwrap_or(kind)
    }

    /// The fields that a problem names.
    pub fn fields(&self) -> Vec<&str> {
        let errors = self.json["errors"].as_array().into_iter().flatten();
        errors.filter_map(|error| error["field"].as_str()).collect()
    }

    pub fn revision(&self) -> u64 {
        self.json["revision"].as_u64().expect("a revision")
    }
}
