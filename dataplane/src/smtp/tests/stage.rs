//! A worker without listeners, with one service, `web`; its applications are scripts.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use shared::change::Kind;
use shared::model::Service;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::fixture::{self, Registry};
use crate::pipeline::Counted;
use crate::smtp::{Envelope, Reception, Record, Reply, Spooled, admit, deliver};
use crate::upstream::endpoint::Endpoint;
use crate::view::Views;
use crate::worker::WorkerContext;

/// Long enough for any machine; nothing waits for it to pass.
const AMPLE: Duration = Duration::from_secs(60);

/// Runs a story on a worker's kind of runtime.
pub fn story(tell: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async { soon(tell()).await });
}

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(AMPLE, future).await.expect("it hangs")
}

pub struct Stage {
    pub context: Rc<WorkerContext>,
    pub views: Arc<Views>,
    pub registry: RefCell<Registry>,
}

impl Stage {
    /// With fields of the service beside its match, each beginning with a comma.
    pub fn with(fields: &str) -> Stage {
        let views = Views::new(1);
        let stage = Stage {
            context: fixture::context(&views),
            views,
            registry: RefCell::default(),
        };
        stage.change(fields);
        stage
    }

    /// The service is another one from now on.
    pub fn change(&self, fields: &str) {
        let mut registry = self.registry.borrow_mut();
        registry.service(
            "web",
            &format!(r#"{{"match":[{{"recipients":["example.org"]}}]{fields}}}"#),
        );
        registry.deploy(&self.views);
    }

    pub fn register(&self, id: &str, address: &str) {
        let mut registry = self.registry.borrow_mut();
        registry.upstream(id, &format!(r#"{{"address":"{address}"}}"#));
        registry.deploy(&self.views);
    }

    pub fn unregister(&self, id: &str) {
        let mut registry = self.registry.borrow_mut();
        registry.delete(Kind::Upstream, &format!("web/{id}"));
        registry.deploy(&self.views);
    }

    pub async fn application(&self, id: &str) -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.register(id, &listener.local_addr().unwrap().to_string());
        Application { listener }
    }

    pub fn endpoint(&self, id: &str) -> Arc<Endpoint> {
        let view = self.views.now();
        let pool = view.pool(&"web".try_into().unwrap()).unwrap();
        pool.endpoint(&id.try_into().unwrap()).unwrap().clone()
    }

    pub async fn admit(&self, envelope: &Envelope, message: &Spooled) -> Result<Vec<Reception>, Reply> {
        let mut receptions: Vec<Reception> = Vec::new();
        for recipient in &envelope.recipients {
            let first = receptions.first().map(|first| first.admitted.service().clone());
            let length = Some(message.len());
            let before = Counted::default();
            let admitted = admit(&self.context, envelope, recipient, length, first.as_deref(), before).await?;
            let recipient = recipient.clone();
            receptions.push(Reception { recipient, admitted });
        }
        Ok(receptions)
    }

    /// As it is admitted now.
    pub async fn deliver(&self, envelope: &Envelope, message: &Spooled) -> Reply {
        match self.admit(envelope, message).await {
            Ok(receptions) => deliver(&self.context, envelope, receptions, message, &Record::begin()).await,
            Err(reply) => reply,
        }
    }

    pub fn service(&self) -> Arc<Service> {
        let view = self.views.now();
        view.pool(&"web".try_into().unwrap()).unwrap().service().clone()
    }
}

pub struct Application {
    listener: TcpListener,
}

/// As it came.
pub struct Request {
    pub head: String,
    pub body: Vec<u8>,
}

impl Application {
    pub async fn accept(&self) -> Peer {
        let (stream, _) = soon(self.listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Peer { stream }
    }

    /// Takes one connection and one request, and answers it.
    pub async fn answers(&self, answer: &str) -> Request {
        let mut peer = self.accept().await;
        let request = peer.request().await;
        peer.send(answer).await;
        request
    }

    /// Nobody has connected.
    pub async fn is_left_alone(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let connecting = timeout(Duration::ZERO, self.listener.accept());
        assert!(connecting.await.is_err(), "somebody has connected");
    }
}

pub struct Peer {
    pub stream: TcpStream,
}

impl Peer {
    pub async fn send(&mut self, answer: &str) {
        soon(self.stream.write_all(answer.as_bytes())).await.unwrap();
    }

    pub async fn head(&mut self) -> (String, Vec<u8>) {
        let mut read = Vec::new();
        loop {
            if let Some(end) = read.windows(4).position(|part| part == b"\r\n\r\n") {
                let body = read.split_off(end + 4);
                return (String::from_utf8(read).unwrap(), body);
            }
            assert!(soon(self.stream.read_buf(&mut read)).await.unwrap() > 0, "it ended");
        }
    }

    pub async fn request(&mut self) -> Request {
        let (head, mut body) = self.head().await;
        let length: usize = field(&head, "content-length").unwrap().parse().unwrap();
        while body.len() < length {
            assert!(soon(self.stream.read_buf(&mut body)).await.unwrap() > 0, "it ended");
        }
        assert_eq!(body.len(), length);
        Request { head, body }
    }

    pub async fn ends(&mut self) {
        let mut rest = Vec::new();
        soon(self.stream.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// As when the process is killed with something unread.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// Its only value in a head.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut values = lines.filter(|(field, _)| field.eq_ignore_ascii_case(name));
    let value = values.next().map(|(_, value)| value);
    assert!(values.next().is_none(), "{name} stands there twice: {head}");
    value
}

impl Request {
    pub fn field(&self, name: &str) -> &str {
        field(&self.head, name).unwrap_or_else(|| panic!("{name} is not there: {}", self.head))
    }

    pub fn key(&self) -> &str {
        self.field("idempotency-key")
    }

    /// What the last part of a form holds, behind what was put before it.
    pub fn message(&self) -> &[u8] {
        let content_type = self.field("content-type");
        let Some((_, boundary)) = content_type.split_once("boundary=") else {
            return behind_trace(&self.body);
        };
        let end = format!("\r\n--{boundary}--\r\n");
        let body = self.body.strip_suffix(end.as_bytes()).unwrap();
        let begin = format!("--{boundary}\r\n");
        let at = body
            .windows(begin.len())
            .rposition(|part| part == begin.as_bytes())
            .unwrap();
        let part = &body[at..];
        let head = part.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
        behind_trace(&part[head + 4..])
    }
}

/// `Received` is the last of our fields, and ends with the time in UTC.
fn behind_trace(message: &[u8]) -> &[u8] {
    let end = b" +0000\r\n";
    let at = message.windows(end.len()).position(|part| part == end).unwrap();
    let trace = std::str::from_utf8(&message[..at]).unwrap();
    assert!(
        trace.contains("Received: from client.example ([192.0.2.1])\r\n\tby proxy.test with "),
        "{trace}"
    );
    &message[at + end.len()..]
}

pub fn of(reply: &Reply) -> (u16, &str, &str) {
    (reply.code, reply.enhanced, &reply.text)
}

pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
pub const MESSAGE: &[u8] = b"From: a@example.com\r\nTo: b@example.org\r\nSubject: hi\r\n\r\nhello\r\n";
pub const IN_TURN: &str = r#","balance":"round_robin","mail":{}"#;
pub const ONCE: &str = r#","retries":{"attempts":0}"#;
