//! One worker with one service, `web`, that takes everything but DELETE; clients and origins are scripts.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use shared::change::{Epoch, Kind, Revision};
use shared::quota::ProxyId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;
use uuid::Uuid;

use crate::authorizer::Desk;
use crate::config::Config;
use crate::fixture::{self, Registry};
use crate::http::session::Patience;
use crate::limiter;
use crate::limiter::Identity;
use crate::limiter::tests::owner::Machine;
use crate::phase::{self, Phase, PhaseSender};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::pool::Pool;
use crate::view::Views;
use crate::worker::WorkerContext;

/// Long enough for any machine; nothing waits for it to pass.
const AMPLE: Duration = Duration::from_secs(20);

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

/// The others get on with it, as far as they come without time passing.
pub async fn others() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub struct Stage {
    pub views: Arc<Views>,
    pub phase: PhaseSender,
    pub upstreams: Rc<Pool>,
    registry: RefCell<Registry>,
    listener: std::net::SocketAddr,
}

pub struct Setting {
    /// Of the service.
    pub fields: &'static str,
    pub trusted: &'static [&'static str],
    pub half_close: bool,
    pub patience: Patience,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting {
            fields: "",
            trusted: &[],
            half_close: false,
            patience: Patience {
                linger: (AMPLE, AMPLE),
                ..Patience::default()
            },
        }
    }
}

impl Stage {
    pub async fn new() -> Stage {
        Stage::set(Setting::default()).await
    }

    /// With fields of the service beside its match, each beginning with a comma.
    pub async fn with(fields: &'static str) -> Stage {
        let setting = Setting {
            fields,
            ..Setting::default()
        };
        Stage::set(setting).await
    }

    pub async fn set(setting: Setting) -> Stage {
        let views = Views::new(1);
        let mut registry = Registry::default();
        let fields = setting.fields;
        let methods = r#""methods":["GET","HEAD","POST","PUT","OPTIONS"]"#;
        registry.service("web", &format!(r#"{{"match":[{{{methods}}}]{fields}}}"#));
        registry.deploy(&views);
        let (phase, receiver) = phase::channel();
        phase.set(Phase::Serving { stale: false });
        let upstreams = Pool::new();
        // Until the runtime ends with the story.
        tokio::spawn(views.checks().clone().keep(Default::default()));
        let context = Rc::new(WorkerContext {
            index: 0,
            views: views.reader(),
            upstreams: upstreams.clone(),
            authorizers: Desk::new(views.reader(), upstreams.clone(), Arc::default()),
            limits: limiter::Desk::new(&views),
            mail_clients: Default::default(),
            mail_memory: Default::default(),
            log: None,
            config: Arc::new(config(&setting)),
            phase: receiver,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        spawn_local(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                spawn_local(crate::http::serve(stream, peer, context.clone(), setting.patience));
            }
        });
        Stage {
            views,
            phase,
            upstreams,
            registry: RefCell::new(registry),
            listener: address,
        }
    }

    pub async fn client(&self) -> Peer {
        Peer::new(TcpStream::connect(self.listener).await.unwrap())
    }

    /// Registers a new origin under this id.
    pub async fn origin(&self, id: &str) -> Origin {
        let origin = Origin::new().await;
        self.register(id, &origin.address());
        origin
    }

    /// Registers a new origin that gives everyone the same answer.
    pub async fn robot(&self, id: &str, answer: &str) -> Robot {
        let robot = Robot::default();
        robot.say(answer);
        let (origin, serving) = (self.origin(id).await, robot.clone());
        spawn_local(async move {
            loop {
                let (stream, _) = origin.listener.accept().await.unwrap();
                spawn_local(serving.clone().serve(Peer::new(stream)));
            }
        });
        robot
    }

    pub fn register(&self, id: &str, address: &str) {
        let mut registry = self.registry.borrow_mut();
        registry.upstream(id, &format!(r#"{{"address":"{address}"}}"#));
        registry.deploy(&self.views);
    }

    /// Until so many requests wait for a place.
    pub async fn waits(&self, requests: usize) {
        let view = self.views.now();
        let pool = view.pool(&"web".try_into().unwrap()).unwrap();
        let waiting = async {
            while pool.care().queue().len() != requests {
                tokio::task::yield_now().await;
            }
        };
        soon(waiting).await;
    }

    /// Until so many requests wait for the end of a hold.
    pub async fn held(&self, requests: usize) {
        let waiting = async {
            while self.views.holding().waiting() != requests {
                tokio::task::yield_now().await;
            }
        };
        soon(waiting).await;
    }

    /// Puts a limit, and an owner that answers at once. Once a stage.
    pub fn limit(&self, id: &str, body: &str) {
        self.put(Kind::Limit, id, body);
        let table = self.registry.borrow().table();
        let (limiter, instance) = (self.views.limiter().clone(), Uuid::new_v4());
        limiter.begin(Identity {
            id: ProxyId { instance, boot: 1 },
            accounts: 1 << 10,
            is_marked: true,
        });
        limiter.follow(&table, Revision(1_000), Epoch(instance));
        let mut owner = Machine::new(BTreeSet::from([instance]));
        owner.begin(&limiter, table.rules(Revision(1_000)));
        spawn_local(async move {
            loop {
                owner.go_on(&limiter);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    pub fn put(&self, kind: Kind, key: &str, body: &str) {
        let mut registry = self.registry.borrow_mut();
        registry.put(kind, key, body);
        registry.deploy(&self.views);
    }

    pub fn delete(&self, kind: Kind, key: &str) {
        let mut registry = self.registry.borrow_mut();
        registry.delete(kind, key);
        registry.deploy(&self.views);
    }

    /// As a snapshot would bring it.
    pub fn start_over(&self) {
        let table = self.registry.borrow().table();
        self.views.retire(self.views.swap(table));
    }

    pub fn unregister(&self, id: &str) {
        self.delete(Kind::Upstream, &format!("web/{id}"));
    }

    pub fn endpoint(&self, id: &str) -> Arc<Endpoint> {
        let view = self.views.now();
        let pool = view.pool(&"web".try_into().unwrap()).unwrap();
        pool.endpoint(&id.try_into().unwrap()).unwrap().clone()
    }
}

/// What most stories begin with: the service with these fields, an origin `a` of it, and a client.
pub async fn scene(fields: &'static str) -> (Stage, Origin, Peer) {
    let stage = Stage::with(fields).await;
    let (origin, client) = (stage.origin("a").await, stage.client().await);
    (stage, origin, client)
}

fn config(setting: &Setting) -> Config {
    Config {
        lease: AMPLE,
        drain_timeout: AMPLE,
        trusted: setting.trusted.iter().map(|net| net.parse().unwrap()).collect(),
        half_close: setting.half_close,
        workers: 1,
        ..fixture::config("unused".as_ref())
    }
}

/// An address where nobody listens.
pub async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

pub struct Origin {
    listener: TcpListener,
}

impl Origin {
    pub async fn new() -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Origin { listener }
    }

    pub fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    pub async fn accept(&self) -> Peer {
        let (stream, _) = soon(self.listener.accept()).await.unwrap();
        Peer::new(stream)
    }

    /// Takes one connection and one request, and answers it.
    pub async fn answers(&self, answer: &str) -> Peer {
        let mut peer = self.accept().await;
        peer.head().await;
        peer.send(answer).await;
        peer
    }

    /// Nobody has connected so far, or will while the others get on with it.
    pub async fn is_left_alone(&self) {
        assert!(!self.is_connected_to().await, "somebody has connected");
    }

    pub async fn is_connected_to(&self) -> bool {
        others().await;
        tokio::time::timeout(Duration::ZERO, self.listener.accept())
            .await
            .is_ok()
    }
}

#[derive(Clone, Default)]
pub struct Robot {
    answer: Rc<RefCell<String>>,
    pub asked: Rc<Cell<usize>>,
    /// The connection, after each answer.
    pub closes: Rc<Cell<bool>>,
}

impl Robot {
    pub fn say(&self, answer: &str) {
        answer.clone_into(&mut self.answer.borrow_mut());
    }

    async fn serve(self, mut peer: Peer) {
        while peer.is_asking().await {
            peer.message().await;
            self.asked.set(self.asked.get() + 1);
            let answer = self.answer.borrow().clone();
            peer.send(&answer).await;
            if self.closes.get() {
                return;
            }
        }
    }
}

/// One end of a connection: a client's or an origin's.
pub struct Peer {
    pub stream: TcpStream,
    read: Vec<u8>,
}

/// How a connection ended for a peer.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Closed,
    Reset,
}

#[derive(Debug)]
pub struct Message {
    pub head: String,
    pub body: String,
}

impl Message {
    pub fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// Asserts a problem answer of that status and kind.
    #[track_caller]
    pub fn is_problem(&self, status: u16, kind: &str) {
        let document: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(self.status(), status.to_string(), "{self:?}");
        assert_eq!(self.field("content-type"), Some("application/problem+json"));
        assert_eq!(document["status"], status);
        assert_eq!(document["type"], format!("urn:vulcan:{kind}"), "{document}");
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

impl Peer {
    fn new(stream: TcpStream) -> Peer {
        stream.set_nodelay(true).unwrap();
        Peer {
            stream,
            read: Vec::new(),
        }
    }

    pub async fn send(&mut self, bytes: &str) {
        soon(self.stream.write_all(bytes.as_bytes())).await.unwrap();
    }

    /// Sends a request that the origin takes on a new connection: that, and the head that arrived.
    pub async fn asks(&mut self, request: &str, origin: &Origin) -> (Peer, String) {
        self.send(request).await;
        let mut upstream = origin.accept().await;
        let head = upstream.head().await;
        (upstream, head)
    }

    /// Its side of the connection.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Whether there is more to read than the connection's end.
    async fn is_asking(&mut self) -> bool {
        !self.read.is_empty() || matches!(self.stream.read_buf(&mut self.read).await, Ok(1..))
    }

    /// Reads until that many bytes are there.
    async fn fill(&mut self, until: impl Fn(&[u8]) -> Option<usize>) -> String {
        loop {
            if let Some(end) = until(&self.read) {
                let rest = self.read.split_off(end);
                return String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
            }
            let read = soon(self.stream.read_buf(&mut self.read)).await.unwrap();
            assert!(read > 0, "ended after {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    pub async fn exactly(&mut self, bytes: usize) -> String {
        self.fill(|read| (read.len() >= bytes).then_some(bytes)).await
    }

    pub async fn until(&mut self, mark: &str) -> String {
        let mark = mark.as_bytes();
        self.fill(|read| {
            read.windows(mark.len())
                .position(|part| part == mark)
                .map(|at| at + mark.len())
        })
        .await
    }

    pub async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// A head and the body that it delimits; chunks stay as they are.
    pub async fn message(&mut self) -> Message {
        let head = self.head().await;
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let body = match field(&head, "transfer-encoding") {
            Some(_) => self.until("0\r\n\r\n").await,
            None => self.exactly(length).await,
        };
        Message { head, body }
    }

    /// What comes until the end, and how that is.
    pub async fn rest(&mut self) -> (String, End) {
        let end = loop {
            match soon(self.stream.read_buf(&mut self.read)).await {
                Ok(0) => break End::Closed,
                Ok(_) => {}
                Err(_) => break End::Reset,
            }
        };
        (String::from_utf8(std::mem::take(&mut self.read)).unwrap(), end)
    }

    #[track_caller]
    pub fn ends(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let (rest, _) = self.rest().await;
            assert_eq!(rest, "", "{caller}");
        }
    }
}

/// A request of the usual kind.
pub const GET: &str = "GET /path?query HTTP/1.1\r\nHost: example.com\r\n\r\n";
pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
pub const PUT: &str = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
pub const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
/// It may not be repeated, so that its answer goes on as it comes.
pub const EMPTY_POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
pub const HALF_A_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-";
pub const GARBAGE: &str = "nonsense\r\n\r\n";

/// Of a service.
pub const IN_TURN: &str = r#","balance":"round_robin""#;

/// The head of an answer of ten bytes and so many of them.
pub fn part_of_ten(bytes: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        &"0123456789"[..bytes]
    )
}
