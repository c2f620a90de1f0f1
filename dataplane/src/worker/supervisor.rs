//! Starts the workers, and opens and closes their listeners as the phase says.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use net::announce::Announce;
use net::listen::ListenError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::accept::Acceptors;
use super::listener::{Listener, ListenerKind};
use super::{Barrier, Command, STOP_GRACE, Worker, WorkerContext, run};
use crate::Config;
use crate::authorizer::{Desk, Memory};
use crate::phase::{Phase, PhaseReceiver};
use crate::smtp;
use crate::upstream::pool::Pool;
use crate::view::Views;

/// Of one worker, whatever the limit on descriptors is.
const CONNECTIONS_MAX: u64 = 100_000;
/// Descriptors that are no connections of clients or upstreams.
const DESCRIPTORS_KEPT: u64 = 128;
const COMMANDS_MAX: usize = 8;
/// For a worker to answer a command, and to end once its last connection has.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const REOPEN_PAUSE: Duration = Duration::from_millis(200);

/// Whether the data listeners are open.
pub type Listening = watch::Receiver<bool>;

/// Client connections of all workers.
#[derive(Default)]
pub struct Connections {
    opened: AtomicU64,
    closed: AtomicU64,
}

impl Connections {
    pub(super) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// Since the start.
    pub fn total(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    pub fn now(&self) -> u64 {
        let closed = self.closed.load(Ordering::Relaxed);
        self.total().saturating_sub(closed)
    }
}

#[derive(Debug)]
pub enum WorkersError {
    Bind(ListenError),
    Start(io::Error),
    /// A worker's thread ended by itself.
    Lost,
}

impl std::fmt::Display for WorkersError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WorkersError::Bind(error) => error.fmt(f),
            WorkersError::Start(error) => write!(f, "a worker cannot be started: {error}"),
            WorkersError::Lost => f.write_str("a worker has ended unexpectedly"),
        }
    }
}

impl std::error::Error for WorkersError {}

pub struct Workers {
    config: Arc<Config>,
    commands: Vec<mpsc::Sender<Command>>,
    /// Each ends when its thread has.
    threads: JoinSet<()>,
    counted: Arc<Connections>,
    listening: watch::Sender<bool>,
    listeners: Vec<Listener>,
}

impl Workers {
    /// Starts one thread for each worker; nothing is accepted yet, but all addresses could be listened at. `handler` lives
    /// on the worker's thread: its future ends when the connection and all that came of it have, and dropping that future
    /// cuts them.
    pub fn start<H, F>(
        config: &Arc<Config>,
        views: &Arc<Views>,
        phase: &PhaseReceiver,
        handler: H,
    ) -> Result<Workers, WorkersError>
    where
        H: Fn(ListenerKind, TcpStream, SocketAddr, Rc<WorkerContext>) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        // Ports are opened when there is something to serve; one that is taken shows before the proxy joins a fleet.
        let listeners = Listener::all(config);
        for listener in &listeners {
            let refused = |error| WorkersError::Bind(listener.refused(error));
            net::listen::probe(listener.address).map_err(refused)?;
        }
        let counted = Arc::<Connections>::default();
        let connections_max = connections_max(config.workers);
        let mut commands = Vec::new();
        let mut threads = JoinSet::new();
        // What one worker was told, all know.
        let memory = Arc::<Memory>::default();
        let failures = Arc::<smtp::Failures>::default();
        for index in 0..config.workers {
            let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
            let (ended, end) = oneshot::channel::<()>();
            let (config, views, phase) = (config.clone(), views.clone(), phase.clone());
            let (handler, counted) = (handler.clone(), counted.clone());
            let (memory, failures) = (memory.clone(), failures.clone());
            let make = move || {
                let upstreams = Pool::new();
                Worker {
                    context: Rc::new(WorkerContext {
                        index,
                        views: views.reader(),
                        authorizers: Desk::new(views.reader(), upstreams.clone(), memory),
                        limits: crate::limiter::Desk::new(&views),
                        mail_clients: smtp::Clients::new(failures),
                        mail_memory: smtp::Memory::default(),
                        upstreams,
                        log: config.access_log.as_ref().map(|log| log.feed()),
                        config,
                        phase,
                    }),
                    acceptors: Acceptors::default(),
                    connections: Default::default(),
                    connections_max,
                    counted,
                    handler,
                }
            };
            let body = move || {
                let _ended = ended;
                if let Err(error) = run(make, receiver) {
                    tracing::error!(%error, index, "a worker has no runtime");
                }
            };
            let named = std::thread::Builder::new().name(format!("worker-{index}"));
            named.spawn(body).map_err(WorkersError::Start)?;
            commands.push(sender);
            threads.spawn(async move { drop(end.await) });
        }
        Ok(Workers {
            config: config.clone(),
            commands,
            threads,
            counted,
            listening: watch::Sender::new(false),
            listeners,
        })
    }

    pub fn connections(&self) -> &Arc<Connections> {
        &self.counted
    }

    pub fn barrier(&self) -> Barrier {
        Barrier::of(&self.commands)
    }

    pub fn listening(&self) -> Listening {
        self.listening.subscribe()
    }

    /// Follows the phase. Returns once it is `Draining`, the listeners are closed, and nothing is in flight any more or
    /// it was cut.
    pub async fn follow(mut self, mut phase: PhaseReceiver, announce: Announce) -> Result<(), WorkersError> {
        loop {
            let now = *phase.borrow_and_update();
            let all_open = *self.listening.borrow();
            let any_open = self.listeners.iter().any(|listener| listener.is_open);
            let mut retry = None;
            match now {
                Phase::Draining => return self.drain().await,
                _ if now.is_open() && !all_open => retry = self.open(&announce).await?,
                Phase::Stopped if any_open => self.close().await,
                _ => {}
            }
            tokio::select! {
                changed = phase.changed() => if changed.is_err() {
                    return self.drain().await;
                },
                Some(_) = self.threads.join_next() => return Err(WorkersError::Lost),
                () = super::sleep_until(retry) => {}
            }
        }
    }

    /// The first bind must succeed, as it could when the workers were started. After a stop somebody else may hold a port
    /// for a while: says when to try again.
    async fn open(&mut self, announce: &Announce) -> Result<Option<Instant>, WorkersError> {
        let mut retry = None;
        for listener in self.listeners.iter_mut().filter(|listener| !listener.is_open) {
            let sockets = match net::listen::bind_workers(listener.address, self.commands.len()) {
                Ok(sockets) => sockets,
                Err(error) if listener.announced => {
                    let Listener { kind, address, .. } = listener;
                    tracing::error!(%error, kind = kind.name(), %address, "cannot listen again yet");
                    retry = Some(Instant::now() + REOPEN_PAUSE);
                    continue;
                }
                Err(error) => return Err(WorkersError::Bind(listener.refused(error))),
            };
            if let Some(first) = sockets.first() {
                let address = first.local_addr();
                listener.address = address.map_err(|error| WorkersError::Bind(listener.refused(error)))?;
            }
            for (commands, socket) in self.commands.iter().zip(sockets) {
                let told = commands.send(Command::Open(listener.kind, socket)).await;
                told.map_err(|_| WorkersError::Lost)?;
            }
            listener.is_open = true;
            if !std::mem::replace(&mut listener.announced, true) {
                announce.listening(listener.kind.name(), listener.address);
            }
        }
        self.listening.send_replace(retry.is_none());
        Ok(retry)
    }

    async fn close(&mut self) {
        let cut_at = Instant::now() + STOP_GRACE;
        self.all(|closed| Command::Close { cut_at, closed }).await;
    }

    async fn drain(mut self) -> Result<(), WorkersError> {
        let cut_at = Instant::now() + self.config.drain_timeout;
        self.all(|closed| Command::Drain { cut_at, closed }).await;
        let ends = async { while self.threads.join_next().await.is_some() {} };
        let within = self.config.drain_timeout + ANSWER_WITHIN;
        timeout(within, ends).await.map_err(|_| WorkersError::Lost)
    }

    /// Tells all workers, then waits until each has closed its listeners.
    async fn all(&mut self, command: impl Fn(oneshot::Sender<()>) -> Command) {
        let mut answers = Vec::new();
        for commands in &self.commands {
            let (closed, answer) = oneshot::channel();
            let told = timeout(ANSWER_WITHIN, commands.send(command(closed))).await;
            if let Ok(Ok(())) = told {
                answers.push(answer);
            }
        }
        let answered = async {
            for answer in answers {
                let _ = answer.await;
            }
        };
        if timeout(ANSWER_WITHIN, answered).await.is_err() {
            tracing::error!("a worker does not close its listeners");
        }
        for listener in &mut self.listeners {
            listener.is_open = false;
        }
        self.listening.send_replace(false);
    }
}

/// Each client's connection may need one more to an upstream.
fn connections_max(workers: usize) -> usize {
    let pairs = descriptors().saturating_sub(DESCRIPTORS_KEPT) / 2;
    let share = (pairs / workers.max(1) as u64).clamp(1, CONNECTIONS_MAX);
    usize::try_from(share).unwrap_or(usize::MAX)
}

/// How many this process may open, raised as far as it may by itself.
fn descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit on descriptors stays as it is");
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
