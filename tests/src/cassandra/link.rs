//! The network between a control plane and a node of Cassandra, with its faults. It reads frames of the native protocol
//! (version 4), so that it can tell appends to the log from everything else.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

const HEADER: usize = 9;
const RESULT: u8 = 0x08;
const PREPARE: u8 = 0x09;
const EXECUTE: u8 = 0x0a;

/// The kind of a result that holds a prepared statement's id.
const PREPARED: &[u8] = &[0, 0, 0, 4];

const APPEND: &[u8] = b".changes SET head";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Appends get through, and their answers do not.
    DropAnswers,
    /// Appends get through late; everything else overtakes them.
    Delay(Duration),
    /// The node accepts connections and answers nothing: it stands still.
    Freeze,
    /// There is no node.
    Refuse,
}

pub struct Link {
    pub address: SocketAddr,
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
    /// It has a thread of its own: nothing that a test does must slow it down.
    pub fn to(node: &str) -> Link {
        let node: SocketAddr = node.parse().expect("one node");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        listener.set_nonblocking(true).expect("a listener can be asked to");
        let (mode, modes) = watch::channel(Mode::Pass);
        let counts = Arc::new(Counts::default());
        let (_end, ended) = oneshot::channel::<()>();
        let counted = counts.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener of this runtime");
                tokio::select! {
                    () = serve(listener, node, modes, counted) => {}
                    _ = ended => {}
                }
            });
        });
        Link {
            address,
            mode,
            counts,
            _end,
        }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Answers to appends that were dropped.
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

async fn serve(listener: TcpListener, node: SocketAddr, modes: watch::Receiver<Mode>, counts: Arc<Counts>) {
    // Dropped with the task, and its connections with it.
    let mut connections = JoinSet::new();
    let appends: Ids = Arc::default();
    while let Ok((client, _)) = listener.accept().await {
        let (modes, counts, appends) = (modes.clone(), counts.clone(), appends.clone());
        connections.spawn(async move {
            let mut ending = modes.clone();
            let refused = ending.wait_for(|mode| *mode == Mode::Refuse);
            tokio::select! {
                _ = refused => {}
                () = connection(client, node, modes, counts, appends) => {}
            }
        });
    }
}

type Ids = Arc<Mutex<HashSet<Vec<u8>>>>;

/// What both directions of a connection know.
#[derive(Clone, Default)]
struct Streams {
    /// Requests in flight, by their number: statements that prepare an append, and appends.
    preparing: Arc<Mutex<HashSet<[u8; 2]>>>,
    appending: Arc<Mutex<HashSet<[u8; 2]>>>,
}

async fn connection(
    client: TcpStream,
    node: SocketAddr,
    modes: watch::Receiver<Mode>,
    counts: Arc<Counts>,
    appends: Ids,
) {
    let Ok(server) = TcpStream::connect(node).await else {
        return;
    };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let streams = Streams::default();
    let (send, queue) = mpsc::channel(1_024);
    tokio::select! {
        () = requests(from_client, send, &streams, modes.clone(), &counts, &appends) => {}
        () = written(queue, to_server) => {}
        () = answers(from_server, to_client, &streams, modes, &counts, &appends) => {}
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    to: mpsc::Sender<Vec<u8>>,
    streams: &Streams,
    modes: watch::Receiver<Mode>,
    counts: &Arc<Counts>,
    appends: &Ids,
) {
    while let Some(frame) = frame(&mut from).await {
        let (stream, opcode, body) = ([frame[2], frame[3]], frame[4], &frame[HEADER..]);
        if opcode == PREPARE && body.windows(APPEND.len()).any(|part| part == APPEND) {
            streams.preparing.lock().unwrap().insert(stream);
        }
        let is_append = opcode == EXECUTE && appends.lock().unwrap().contains(&short_bytes(body));
        if is_append {
            streams.appending.lock().unwrap().insert(stream);
            let mode = *modes.borrow();
            if let Mode::Delay(time) = mode {
                let (to, counts) = (to.clone(), counts.clone());
                counts.delayed.fetch_add(1, SeqCst);
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    if to.send(frame).await.is_ok() {
                        counts.arrived_late.fetch_add(1, SeqCst);
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

async fn written(mut queue: mpsc::Receiver<Vec<u8>>, mut to: OwnedWriteHalf) {
    while let Some(frame) = queue.recv().await {
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    streams: &Streams,
    mut modes: watch::Receiver<Mode>,
    counts: &Arc<Counts>,
    appends: &Ids,
) {
    while let Some(frame) = frame(&mut from).await {
        let (stream, opcode, body) = ([frame[2], frame[3]], frame[4], &frame[HEADER..]);
        let prepared = streams.preparing.lock().unwrap().remove(&stream);
        if prepared && opcode == RESULT && body.starts_with(PREPARED) {
            appends.lock().unwrap().insert(short_bytes(&body[PREPARED.len()..]));
        }
        let is_append = streams.appending.lock().unwrap().remove(&stream);
        if is_append && *modes.borrow() == Mode::DropAnswers {
            counts.dropped.fetch_add(1, SeqCst);
            continue;
        }
        if modes.wait_for(|mode| *mode != Mode::Freeze).await.is_err() || to.write_all(&frame).await.is_err() {
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
