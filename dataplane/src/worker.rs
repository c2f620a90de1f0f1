//! A worker: one thread with a runtime of its own, on which a connection lives from its accept to its end.

mod accept;
mod barrier;
mod listener;
mod supervisor;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet, LocalSet};
use tokio::time::Instant;

pub use self::barrier::Barrier;
pub use self::listener::ListenerKind;
pub use self::supervisor::{Connections, Listening, Workers, WorkersError};

use self::accept::Acceptors;
use crate::Config;
use crate::access_log::Feed;
use crate::authorizer::Desk;
use crate::limiter;
use crate::phase::PhaseReceiver;
use crate::smtp;
use crate::upstream::inflight;
use crate::upstream::pool::Pool;
use crate::view::Reader;

/// What the connections of one worker share. Nothing in it is for other threads.
pub struct WorkerContext {
    /// From 0; this worker's cell at every endpoint.
    pub index: usize,
    pub views: Reader,
    /// Its connections to upstreams.
    pub upstreams: Rc<Pool>,
    pub authorizers: Desk,
    pub limits: limiter::Desk,
    pub mail_clients: smtp::Clients,
    pub mail_memory: smtp::Memory,
    /// None: nobody wants it.
    pub log: Option<Feed>,
    pub config: Arc<Config>,
    /// Connections end with their current request once it `ends_keep_alives`.
    pub phase: PhaseReceiver,
}

/// What a worker is told by the supervisor.
enum Command {
    /// Accept here, too, from now on. What is under way goes on, also if it was about to be cut.
    Open(ListenerKind, std::net::TcpListener),
    /// Accept what the kernel has queued, close all listeners, say so, and cut what is left at that time.
    Close {
        cut_at: Instant,
        closed: oneshot::Sender<()>,
    },
    /// As `Close`, and the worker ends with its last connection.
    Drain {
        cut_at: Instant,
        closed: oneshot::Sender<()>,
    },
    /// Say so once all has been sent that was decided before: see `Barrier`.
    Pass { passed: oneshot::Sender<()> },
}

struct Worker<H> {
    context: Rc<WorkerContext>,
    acceptors: Acceptors,
    connections: JoinSet<()>,
    connections_max: usize,
    counted: Arc<Connections>,
    handler: H,
}

/// Runs on the calling thread until it is drained or the supervisor has gone. Whatever was spawned on the worker ends
/// with it.
fn run<H, F>(make: impl FnOnce() -> Worker<H>, mut commands: mpsc::Receiver<Command>) -> io::Result<()>
where
    H: Fn(ListenerKind, TcpStream, SocketAddr, Rc<WorkerContext>) -> F,
    F: Future<Output = ()> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut worker = make();
        inflight::count_as_worker(worker.context.index);
        worker.serve(&mut commands).await;
    });
    Ok(())
}

impl<H, F> Worker<H>
where
    H: Fn(ListenerKind, TcpStream, SocketAddr, Rc<WorkerContext>) -> F,
    F: Future<Output = ()> + 'static,
{
    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>) {
        let mut draining = false;
        let mut cut_at = None;
        let mut said_full_at = None;
        while !(draining && self.connections.is_empty()) {
            let room = self.connections.len() < self.connections_max;
            if !room && self.acceptors.any_open() {
                self.say_full(&mut said_full_at);
            }
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Open(kind, listener)) => {
                        cut_at = None;
                        self.acceptors.open(kind, listener);
                    }
                    Some(Command::Close { cut_at: at, closed }) => {
                        cut_at = Some(at);
                        self.close(closed);
                    }
                    Some(Command::Drain { cut_at: at, closed }) => {
                        cut_at = Some(at);
                        draining = true;
                        self.close(closed);
                    }
                    Some(Command::Pass { passed }) => self.pass(passed),
                    None => return,
                },
                (kind, stream, peer) = self.acceptors.next(), if room => self.begin(kind, stream, peer),
                Some(ended) = self.connections.join_next() => self.end(ended),
                () = sleep_until(cut_at) => {
                    cut_at = None;
                    self.cut();
                }
            }
        }
    }

    /// Whatever looks at the view from now on finds one that is at least as new as the command. Nothing waits between its
    /// last look and handing its request over, so that all that looked before has done that.
    fn pass(&self, passed: oneshot::Sender<()>) {
        let upstreams = self.context.upstreams.clone();
        tokio::task::spawn_local(async move {
            upstreams.heads_written(HEADS_WITHIN).await;
            // Nobody listens when the proxy ends.
            let _ = passed.send(());
        });
    }

    fn begin(&mut self, kind: ListenerKind, stream: TcpStream, peer: SocketAddr) {
        self.counted.opened();
        self.connections
            .spawn_local((self.handler)(kind, stream, peer, self.context.clone()));
    }

    /// Now and then: at the limit every end of a connection makes room for one.
    fn say_full(&self, said_at: &mut Option<Instant>) {
        let now = Instant::now();
        if said_at.is_none_or(|at| now >= at + SAY_FULL_EVERY) {
            *said_at = Some(now);
            let (worker, connections_max) = (self.context.index, self.connections_max);
            tracing::warn!(
                worker,
                connections_max,
                "the limit on connections is reached: new ones wait"
            );
        }
    }

    fn cut(&mut self) {
        let left = self.connections.len();
        if left > 0 {
            tracing::warn!(worker = self.context.index, left, "connections are cut");
            self.connections.abort_all();
        }
    }

    fn end(&self, ended: Result<(), JoinError>) {
        self.counted.closed();
        if let Err(error) = ended
            && error.is_panic()
        {
            tracing::error!(%error, "a connection's task panicked");
        }
    }

    /// Those who were queued did reach us: closing the socket on them would be a reset.
    fn close(&mut self, closed: oneshot::Sender<()>) {
        for (kind, stream, peer) in self.acceptors.close() {
            self.begin(kind, stream, peer);
        }
        // Nobody listens when the supervisor has stopped waiting.
        let _ = closed.send(());
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What a proxy that stopped at its lease's end still grants requests under way. The control plane gives up on it a
/// margin of two seconds after that end; nothing may be in flight by then.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(1);

/// For a head that was decided to be sent: what an upstream does not take by then it does not get.
const HEADS_WITHIN: Duration = Duration::from_secs(1);

const SAY_FULL_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
