//! A worker's connections to upstreams. The one that was used last is used next, so that a burst's connections grow old
//! and close. Nothing is shared with other workers, and nothing is locked.
//!
//! No connection has a task: whoever sends a request on it reads the answer, and whoever waits for the answer sends. Only
//! what is left of a request whose answer has come already goes on by itself. Every endpoint that has connections has a task
//! that closes them: the idle ones when they are old, have been closed by the server, or the endpoint is retired, all of them
//! when it is cut.

mod connection;
mod heads;
mod incoming;
mod site;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::time::Instant;

pub use self::connection::Connection;
use self::heads::Owed;
pub use self::incoming::Incoming;
use self::site::{Idle, Site};
pub use self::wire::Raw;
use self::wire::Wire;
use super::connect::{ConnectError, connect};
use super::endpoint::Endpoint;

/// Idle connections of all endpoints.
const IDLE_MAX: usize = 4096;
/// Servers commonly keep a connection for a minute or more; those that say otherwise (`Keep-Alive`) are believed.
const KEEP: Duration = Duration::from_secs(50);
/// A request that must not be sent twice is not entrusted to a connection that the server may be closing just now.
const FRESH: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Pool {
    sites: RefCell<HashMap<Key, Site, RandomState>>,
    idle: Cell<usize>,
    /// The number of the last head that was not written at once.
    heads: Cell<u64>,
    owed: RefCell<Vec<Owed>>,
}

/// The endpoint's place in memory; its site's task holds it, so that no other endpoint can have that place.
type Key = *const Endpoint;

impl Pool {
    pub fn new() -> Rc<Pool> {
        Rc::default()
    }

    /// A kept connection that is ready for a request. `repeatable`: the request may be sent again if the server closes
    /// the connection at the same moment.
    pub fn take(&self, endpoint: &Arc<Endpoint>, repeatable: bool) -> Option<Connection> {
        if endpoint.is_retired() {
            return None;
        }
        let now = Instant::now();
        // One that closes looks for its site, which nobody else may be looking at then.
        while let Some(newest) = self.take_idle(endpoint) {
            let age = now.saturating_duration_since(newest.since);
            if !repeatable && age > FRESH {
                if let Some(site) = self.sites.borrow_mut().get_mut(&Arc::as_ptr(endpoint)) {
                    self.idle.set(self.idle.get() + 1);
                    site.put_back(newest);
                }
                return None;
            }
            if age < newest.wire.keep() && newest.wire.is_quiet() {
                return Some(Connection::new(newest.wire, true));
            }
        }
        None
    }

    fn take_idle(&self, endpoint: &Arc<Endpoint>) -> Option<Idle> {
        let mut sites = self.sites.borrow_mut();
        let idle = sites.get_mut(&Arc::as_ptr(endpoint))?.take_idle()?;
        self.idle.set(self.idle.get() - 1);
        Some(idle)
    }

    /// A new connection, of which `within` is the deadline.
    pub async fn connect(
        self: &Rc<Self>,
        endpoint: &Arc<Endpoint>,
        within: Duration,
    ) -> Result<Connection, ConnectError> {
        let stream = connect(endpoint, within).await?;
        let wire = Rc::new(Wire::new(stream, endpoint.clone(), Rc::downgrade(self), KEEP));
        if self.enter(&wire) {
            tokio::task::spawn_local(site::watch(endpoint.clone(), self.clone()));
        }
        Ok(Connection::new(wire, false))
    }

    /// Whether it is its endpoint's first.
    fn enter(&self, wire: &Rc<Wire>) -> bool {
        let mut sites = self.sites.borrow_mut();
        let before = sites.len();
        sites.entry(Arc::as_ptr(wire.endpoint())).or_default().enter(wire);
        sites.len() > before
    }

    /// The connection has closed.
    fn leave(&self, wire: &Wire) {
        if let Some(site) = self.sites.borrow_mut().get_mut(&Arc::as_ptr(wire.endpoint())) {
            site.leave(wire);
        }
    }

    /// Keeps it, unless there are too many already, it has been closed by the server, or its endpoint has been retired.
    fn put(&self, wire: Rc<Wire>) {
        if self.idle.get() >= IDLE_MAX || wire.endpoint().is_retired() {
            return;
        }
        // Where it is not kept it closes after that look at its site.
        let idle = Idle {
            wire: wire.clone(),
            since: Instant::now(),
        };
        let mut sites = self.sites.borrow_mut();
        let site = sites.get_mut(&Arc::as_ptr(wire.endpoint()));
        if site.is_some_and(|site| site.has_room() && site.put_idle(idle)) {
            self.idle.set(self.idle.get() + 1);
        }
    }

    /// Connections that wait for a request, of all endpoints.
    pub fn idle(&self) -> usize {
        self.idle.get()
    }
}
