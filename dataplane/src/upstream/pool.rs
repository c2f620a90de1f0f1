//! A worker's connections to upstreams. The one that was used last is used next, so that a burst's connections grow old
//! and close. Nothing is shared with other workers, and nothing is locked.
//!
//! Every connection has a task that drives hyper, and every endpoint that has connections a task that closes them: the
//! idle ones when they are old or the endpoint is retired, all of them when it is cut.

mod connection;
mod driver;
mod heads;
mod site;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use self::connection::Link;
pub use self::connection::{Connection, Raw};
use self::site::{Idle, Site};
use self::wire::Wire;
use super::connect::{ConnectError, connect};
use super::endpoint::Endpoint;

/// Idle connections of all endpoints.
const IDLE_MAX: usize = 4096;
/// Servers commonly keep a connection for a minute or more; those that say otherwise (`Keep-Alive`) are believed.
const KEEP: Duration = Duration::from_secs(50);
/// A request that must not be sent twice is not entrusted to a connection that the server may be closing just now.
const FRESH: Duration = Duration::from_secs(2);
/// An answer's head is at most so long.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Of what is read ahead of the client, and written ahead of the upstream.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// hyper reads more than a hundred fields at a price that nearly no server makes worth paying: only where an answer had
/// more, later ones may have so many.
const FIELDS_MAX_WIDE: usize = 4096;

/// The body of a request to an upstream.
pub trait OutBody: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static {}

impl<T> OutBody for T where T: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static {}

pub struct Pool<B> {
    builder: http1::Builder,
    wide: http1::Builder,
    sites: RefCell<HashMap<Key, Site<B>>>,
    idle: Cell<usize>,
}

/// The endpoint's place in memory; its site's task holds it, so that no other endpoint can have that place.
type Key = *const Endpoint;

impl<B: OutBody> Pool<B> {
    pub fn new() -> Rc<Pool<B>> {
        let mut builder = http1::Builder::new();
        builder.max_header_size(HEAD_BYTES_MAX).max_buf_size(BUFFER_BYTES_MAX);
        let mut wide = builder.clone();
        wide.max_headers(FIELDS_MAX_WIDE);
        Rc::new(Pool {
            builder,
            wide,
            sites: RefCell::default(),
            idle: Cell::new(0),
        })
    }

    /// A kept connection that is ready for a request. `repeatable`: the request may be sent again if the server closes
    /// the connection at the same moment.
    pub fn take(self: &Rc<Self>, endpoint: &Arc<Endpoint>, repeatable: bool) -> Option<Connection<B>> {
        if endpoint.is_retired() {
            return None;
        }
        let mut sites = self.sites.borrow_mut();
        let site = sites.get_mut(&Arc::as_ptr(endpoint))?;
        let now = Instant::now();
        while let Some(newest) = site.take_idle() {
            let age = now.saturating_duration_since(newest.since);
            if !repeatable && age > FRESH {
                site.put_idle(newest);
                return None;
            }
            self.idle.set(self.idle.get() - 1);
            if newest.sender.is_ready() && age < newest.link.keep() {
                return Some(Connection::new(newest.sender, newest.link, self.clone(), true));
            }
        }
        None
    }

    /// A new connection, of which `within` is the deadline.
    pub async fn connect(
        self: &Rc<Self>,
        endpoint: &Arc<Endpoint>,
        within: Duration,
    ) -> Result<Connection<B>, ConnectError> {
        let stream = connect(endpoint, within).await?;
        let is_wide = self.is_wide(endpoint);
        let link = Rc::new(Link::new(endpoint.clone(), KEEP, is_wide));
        let wire = TokioIo::new(Wire::new(stream, link.signs().clone()));
        let builder = if is_wide { &self.wide } else { &self.builder };
        // Nothing is exchanged for it: it is ready at once, and cannot fail.
        let (sender, http) = builder
            .handshake(wire)
            .await
            .map_err(|error| ConnectError::Failed(std::io::Error::other(error)))?;
        if self.enter(&link) {
            tokio::task::spawn_local(site::watch(endpoint.clone(), self.clone()));
        }
        tokio::task::spawn_local(driver::drive(http, link.clone(), self.clone()));
        Ok(Connection::new(sender, link, self.clone(), false))
    }

    fn is_wide(&self, endpoint: &Arc<Endpoint>) -> bool {
        let sites = self.sites.borrow();
        sites.get(&Arc::as_ptr(endpoint)).is_some_and(Site::is_wide)
    }

    /// Whether that makes a difference to what the link could read.
    fn widen(&self, link: &Link<B>) -> bool {
        if let Some(site) = self.sites.borrow_mut().get_mut(&Arc::as_ptr(link.endpoint())) {
            site.widen();
        }
        !link.is_wide()
    }

    /// Whether it is its endpoint's first.
    fn enter(&self, link: &Rc<Link<B>>) -> bool {
        let mut sites = self.sites.borrow_mut();
        let before = sites.len();
        sites.entry(Arc::as_ptr(link.endpoint())).or_default().enter(link);
        sites.len() > before
    }

    /// The connection has ended.
    fn leave(&self, link: &Rc<Link<B>>) {
        if let Some(site) = self.sites.borrow_mut().get_mut(&Arc::as_ptr(link.endpoint())) {
            self.idle.set(self.idle.get() - site.leave(link));
        }
    }

    /// Keeps it, unless there are too many already or its endpoint has been retired: then it closes.
    fn put(&self, sender: http1::SendRequest<B>, link: &Rc<Link<B>>) {
        if self.idle.get() >= IDLE_MAX || link.endpoint().is_retired() {
            return;
        }
        if let Some(site) = self.sites.borrow_mut().get_mut(&Arc::as_ptr(link.endpoint())) {
            let idle = Idle {
                sender,
                link: link.clone(),
                since: Instant::now(),
            };
            if site.put_idle(idle) {
                self.idle.set(self.idle.get() + 1);
            }
        }
    }

    /// Connections that wait for a request, of all endpoints.
    pub fn idle(&self) -> usize {
        self.idle.get()
    }
}
