//! The network between a control plane and a node of Cassandra, with its faults. It reads frames of the native protocol
//! (version 4), so that it can tell appends to the log from everything else.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::dice::Dice;

const HEADER: usize = 9;
const RESULT: u8 = 0x08;
const PREPARE: u8 = 0x09;
const EXECUTE: u8 = 0x0a;

/// The kind of a result that holds a prepared statement's id.
const PREPARED: &[u8] = &[0, 0, 0, 4];

/// The statements that are told apart from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Statement {
    /// To the log; or a swap of a cell, which is conditional as well.
    Append,
    /// Reads commits.
    Read,
    /// Takes the lock on migrations.
    Lock,
}

const STATEMENTS: [(&[u8], Statement); 5] = [
    (b".changes SET head", Statement::Append),
    (b".limit_claims SET", Statement::Append),
    (b".limit_ledger USING", Statement::Append),
    (b"SELECT revision, op_id", Statement::Read),
    (b".schema_lock (name, holder)", Statement::Lock),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Appends get through, and their answers do not.
    DropAnswers,
    /// Appends get through late; everything else overtakes them.
    Delay(Duration),
    /// Of a hundred appends so many lose their answers, and so many more are late.
    Mixed {
        dropped: u64,
        late: u64,
        by: Duration,
    },
    /// Commits are read late, appends and the head are not: the client is behind.
    DelayReads(Duration),
    /// The lock on migrations is taken, and whoever took it does not hear of it.
    DropLock,
    /// The node accepts connections and answers nothing: it stands still.
    Freeze,
    /// There is no node.
    Refuse,
}

pub struct Link {
    /// Of the first node.
    pub address: SocketAddr,
    /// Where the nodes seem to be: `host:port`, comma-separated.
    pub contacts: String,
    mode: watch::Sender<Mode>,
    counts: Arc<Counts>,
    _end: oneshot::Sender<()>,
}

#[derive(Default)]
struct Counts {
    dropped: AtomicU64,
    delayed: AtomicU64,
    arrived_late: AtomicU64,
}

impl Link {
    pub fn to(node: &str) -> Link {
        Link::around(node, 0)
    }

    /// To all nodes of a cluster on loopback, `host:port` with commas between. Each is at its own host, with a port that all
    /// of them share: a client learns the hosts from the cluster, and takes the port of the node that told it.
    ///
    /// It has a thread of its own: nothing that a test does must slow it down.
    pub fn around(nodes: &str, seed: u64) -> Link {
        let nodes: Vec<SocketAddr> = nodes.split(',').map(|node| node.parse().expect("a node")).collect();
        let listeners = listeners(&nodes);
        let addresses: Vec<SocketAddr> = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap())
            .collect();
        let contacts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let (mode, modes) = watch::channel(Mode::Pass);
        let way = Way {
            modes,
            counts: Arc::default(),
            prepared: Arc::default(),
            dice: Arc::new(Mutex::new(Dice::new(seed))),
        };
        let counts = way.counts.clone();
        let (_end, ended) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                // Dropped with this, and all that they serve with them.
                let mut served = JoinSet::new();
                for (listener, node) in listeners.into_iter().zip(nodes) {
                    served.spawn(serve(listener, node, way.clone()));
                }
                drop(ended.await);
            });
        });
        Link {
            address: addresses[0],
            contacts: contacts.join(","),
            mode,
            counts,
            _end,
        }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Answers that were dropped.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(SeqCst)
    }

    /// Appends that were held back.
    pub fn delayed(&self) -> u64 {
        self.counts.delayed.load(SeqCst)
    }

    /// Appends that were held back and have been sent on.
    pub fn arrived_late(&self) -> u64 {
        self.counts.arrived_late.load(SeqCst)
    }
}

/// One port at the host of each node; of a node elsewhere, here.
fn listeners(nodes: &[SocketAddr]) -> Vec<std::net::TcpListener> {
    let host = |node: &SocketAddr| match node.ip().is_loopback() {
        true => node.ip(),
        false => std::net::Ipv4Addr::LOCALHOST.into(),
    };
    for _ in 0..100 {
        let mut port = 0;
        let bound: std::io::Result<Vec<_>> = nodes
            .iter()
            .map(|node| {
                let listener = std::net::TcpListener::bind((host(node), port))?;
                port = listener.local_addr()?.port();
                listener.set_nonblocking(true)?;
                Ok(listener)
            })
            .collect();
        if let Ok(bound) = bound {
            return bound;
        }
    }
    panic!("no port is free at all hosts");
}

/// What all connections of a link share.
#[derive(Clone)]
struct Way {
    modes: watch::Receiver<Mode>,
    counts: Arc<Counts>,
    /// Prepared statements, by their id.
    prepared: Arc<Mutex<HashMap<Vec<u8>, Statement>>>,
    dice: Arc<Mutex<Dice>>,
}

async fn serve(listener: std::net::TcpListener, node: SocketAddr, way: Way) {
    let listener = TcpListener::from_std(listener).expect("a listener of this runtime");
    // Dropped with the task, and its connections with it.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let way = way.clone();
        connections.spawn(async move {
            let mut ending = way.modes.clone();
            let refused = ending.wait_for(|mode| *mode == Mode::Refuse);
            tokio::select! {
                _ = refused => {}
                () = connection(client, node, way.clone()) => {}
            }
        });
    }
}

/// What both directions of a connection know.
#[derive(Clone, Default)]
struct Streams {
    /// Requests in flight, by their number: what is being prepared, appends, and appends whose answer gets lost.
    preparing: Arc<Mutex<HashMap<[u8; 2], Statement>>>,
    appending: Arc<Mutex<HashSet<[u8; 2]>>>,
    losing: Arc<Mutex<HashSet<[u8; 2]>>>,
}

async fn connection(client: TcpStream, node: SocketAddr, way: Way) {
    let Ok(server) = TcpStream::connect(node).await else {
        return;
    };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, mut to_server)) = (client.into_split(), server.into_split());
    let streams = Streams::default();
    let (send, mut queue) = mpsc::channel(1_024);
    tokio::select! {
        () = requests(from_client, send, &streams, &way) => {}
        () = written(&mut queue, &mut to_server) => return,
        () = answers(from_server, to_client, &streams, way.clone()) => {}
    }
    // What is late is under way, also when its sender is dead.
    written(&mut queue, &mut to_server).await;
}

enum Fate {
    Pass,
    LoseAnswer,
    Late(Duration),
}

impl Way {
    fn fate(&self, statement: Statement) -> Fate {
        match (*self.modes.borrow(), statement) {
            (Mode::Delay(time), Statement::Append) | (Mode::DelayReads(time), Statement::Read) => Fate::Late(time),
            (Mode::DropLock, Statement::Lock) => Fate::LoseAnswer,
            (Mode::Mixed { dropped, late, by }, Statement::Append) => match self.dice.lock().unwrap().below(100) {
                roll if roll < dropped => Fate::LoseAnswer,
                roll if roll < dropped + late => Fate::Late(by),
                _ => Fate::Pass,
            },
            _ => Fate::Pass,
        }
    }
}

async fn requests(mut from: OwnedReadHalf, to: mpsc::Sender<Vec<u8>>, streams: &Streams, way: &Way) {
    while let Some(frame) = frame(&mut from).await {
        let (stream, opcode, body) = ([frame[2], frame[3]], frame[4], &frame[HEADER..]);
        let holds = |text: &[u8]| body.windows(text.len()).any(|part| part == text);
        if opcode == PREPARE
            && let Some((_, statement)) = STATEMENTS.iter().find(|(text, _)| holds(text))
        {
            streams.preparing.lock().unwrap().insert(stream, *statement);
        }
        let executed = match opcode {
            EXECUTE => way.prepared.lock().unwrap().get(&short_bytes(body)).copied(),
            _ => None,
        };
        let is_append = executed == Some(Statement::Append);
        if is_append {
            streams.appending.lock().unwrap().insert(stream);
        }
        match executed.map_or(Fate::Pass, |statement| way.fate(statement)) {
            Fate::Pass => {}
            Fate::LoseAnswer => drop(streams.losing.lock().unwrap().insert(stream)),
            Fate::Late(time) => {
                let (to, counts) = (to.clone(), way.counts.clone());
                counts.delayed.fetch_add(u64::from(is_append), SeqCst);
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    if to.send(frame).await.is_ok() {
                        counts.arrived_late.fetch_add(u64::from(is_append), SeqCst);
                    }
                });
                continue;
            }
        }
        if to.send(frame).await.is_err() {
            return;
        }
    }
}

async fn written(queue: &mut mpsc::Receiver<Vec<u8>>, to: &mut OwnedWriteHalf) {
    while let Some(frame) = queue.recv().await {
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, streams: &Streams, mut way: Way) {
    while let Some(frame) = frame(&mut from).await {
        let (stream, opcode, body) = ([frame[2], frame[3]], frame[4], &frame[HEADER..]);
        let preparing = streams.preparing.lock().unwrap().remove(&stream);
        if let Some(statement) = preparing
            && opcode == RESULT
            && body.starts_with(PREPARED)
        {
            let id = short_bytes(&body[PREPARED.len()..]);
            way.prepared.lock().unwrap().insert(id, statement);
        }
        let is_append = streams.appending.lock().unwrap().remove(&stream);
        let is_lost = streams.losing.lock().unwrap().remove(&stream);
        if is_lost || is_append && *way.modes.borrow() == Mode::DropAnswers {
            way.counts.dropped.fetch_add(1, SeqCst);
            continue;
        }
        if way.modes.wait_for(|mode| *mode != Mode::Freeze).await.is_err() || to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// One frame with its header; none at the connection's end.
async fn frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut frame = vec![0; HEADER];
    from.read_exact(&mut frame).await.ok()?;
    let length = u32::from_be_bytes(frame[5..].try_into().ok()?);
    frame.resize(HEADER + length as usize, 0);
    from.read_exact(&mut frame[HEADER..]).await.ok()?;
    Some(frame)
}

/// The protocol's `[short bytes]`: how long, and they.
fn short_bytes(body: &[u8]) -> Vec<u8> {
    let length = body
        .get(..2)
        .map_or(0, |length| usize::from(u16::from_be_bytes([length[0], length[1]])));
    body.get(2..2 + length).unwrap_or_default().to_vec()
}
