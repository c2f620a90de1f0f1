//! A control plane on loopback, and proxies that are nothing but their lines.

use std::sync::Arc;

use axum::Router;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use net::ndjson::{self, Lines};
use redb::backends::InMemoryBackend;
use shared::change::{Body, Epoch, Kind, Op, Revision, Verb};
use shared::stream::message::{Down, Hello, Level, State, Up};
use shared::stream::planes::PlaneId;
use shared::stream::wait::{Condition, WaitSpec};
use shared::time::Time;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::api;
use crate::changelog::{Changelog, Decision};
use crate::push::{self, Fleet};
use crate::store::Log;
use crate::store::core::Core;
use crate::store::redb::RedbLog;

pub struct Stage {
    pub changelog: Arc<Changelog>,
    pub fleet: Arc<Fleet>,
    pub address: std::net::SocketAddr,
    stop: CancellationToken,
    _stopping: DropGuard,
}

type Outgoing = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

impl Stage {
    pub async fn new() -> Stage {
        Stage::on(log()).await
    }

    pub async fn on(log: Arc<dyn Log>) -> Stage {
        Stage::with(log, None, |_| Router::new()).await
    }

    /// `more`: further routes.
    pub async fn with(log: Arc<dyn Log>, own: Option<PlaneId>, more: impl FnOnce(&Stage) -> Router) -> Stage {
        let (changelog, _) = Changelog::start(log).await.unwrap();
        let fleet = Fleet::new(changelog.clone(), own);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(fleet.clone().keep(std::time::Duration::from_secs(86_400), stop.clone()));
        let stage = Stage {
            changelog,
            fleet,
            address,
            _stopping: stop.clone().drop_guard(),
            stop,
        };
        let router = push::router(stage.fleet.clone(), stage.stop.clone()).merge(more(&stage));
        let router = api::guarded(router, Arc::new(api::Access::Loopback));
        tokio::spawn(api::server::serve(listener, None, router, stage.stop.clone()));
        stage
    }

    /// Ends with it.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    pub fn stop(&self) {
        self.stop.cancel();
    }

    pub async fn service(&self, name: &str) -> Revision {
        let body = format!(r#"{{"match":[{{"hosts":["{name}.test"]}}]}}"#);
        self.put(Kind::Service, name, &body).await
    }

    pub async fn put(&self, kind: Kind, key: &str, body: &str) -> Revision {
        let op = Op {
            verb: Verb::Put,
            kind,
            key: key.into(),
            body: Some(Body::from_json(body).unwrap()),
            registration: None,
            before: None,
        };
        let decide = move |_: &crate::changelog::Head| Decision::Append(vec![op.clone()]);
        self.changelog
            .submit("test".into(), Arc::new(decide))
            .await
            .unwrap()
            .revision
    }

    async fn dial(&self) -> SendRequest<Outgoing> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    pub async fn get(&self, path: &str, accept: &str) -> (StatusCode, Bytes) {
        let request = Request::get(format!("http://{}{path}", self.address)).header("accept", accept);
        let request = request.body(Full::new(Bytes::new()).boxed()).unwrap();
        let response = self.dial().await.send_request(request).await.unwrap();
        let status = response.status();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    }

    /// The status and the text of a stream that is refused.
    pub async fn refused(&self, hello: Hello) -> (StatusCode, String) {
        let (_, response) = self.open(hello).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    pub async fn proxy(&self, hello: Hello) -> Proxy {
        let (said, response) = self.open(hello).await;
        assert_eq!(response.status(), StatusCode::OK);
        Proxy {
            said,
            body: response.into_body(),
            lines: Lines::new(1 << 20),
        }
    }

    async fn open(&self, hello: Hello) -> (mpsc::Sender<Bytes>, Response<Incoming>) {
        let (said, lines) = mpsc::channel(16);
        said.send(ndjson::encode(&Up::Hello(hello))).await.unwrap();
        let body = StreamBody::new(ReceiverStream::new(lines).map(|line| Ok(Frame::data(line))));
        let request = Request::post(format!("http://{}/v1/stream", self.address))
            .body(body.boxed())
            .unwrap();
        (said, self.dial().await.send_request(request).await.unwrap())
    }
}

pub struct Proxy {
    pub said: mpsc::Sender<Bytes>,
    body: Incoming,
    lines: Lines,
}

impl Proxy {
    /// The next line but for beats; none once the stream has ended.
    pub async fn next(&mut self) -> Option<Down> {
        loop {
            match self.any().await? {
                Down::Beat(_) => {}
                other => return Some(other),
            }
        }
    }

    pub async fn any(&mut self) -> Option<Down> {
        loop {
            if let Some(line) = self.lines.next_line().unwrap() {
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.ok()?;
            self.lines.push(&frame.into_data().unwrap());
        }
    }

    pub async fn change(&mut self) -> Revision {
        match self.next().await {
            Some(Down::Change(change)) => change.to,
            other => panic!("{other:?}"),
        }
    }

    pub async fn say(&self, up: Up) {
        self.said.send(ndjson::encode(&up)).await.unwrap();
    }

    pub async fn acknowledge(&self, applied: Revision) {
        let level = Some(Level {
            applied,
            persisted: true,
            ..Level::default()
        });
        self.say(Up::State(State {
            sent: Time::from_nanos(7),
            level,
        }))
        .await;
    }
}

/// An empty one, in memory.
pub fn log() -> Arc<dyn Log> {
    let core = Core::with_backend(InMemoryBackend::new(), Epoch(Uuid::new_v4())).unwrap();
    Arc::new(RedbLog::of(core).unwrap())
}

pub fn hello(name: &str, instance: u128) -> Hello {
    Hello {
        name: name.into(),
        instance: Uuid::from_u128(instance),
        boot: 1,
        epoch: None,
        since: Revision::ZERO,
        digest: Default::default(),
        lease_ms: 1_000,
        resync: false,
        build: "test".into(),
        features: Vec::new(),
    }
}

pub fn applied(revision: Revision) -> WaitSpec {
    WaitSpec {
        revision,
        condition: Condition::Applied,
        objects: Vec::new(),
    }
}
