use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper::{Request, Response};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::heads::Heads;
use super::{OutBody, Pool};
use crate::upstream::endpoint::Endpoint;

/// A connection that has left HTTP, with what the upstream has said since.
pub struct Raw {
    pub stream: TcpStream,
    pub early: Bytes,
}

/// What the socket has shown.
#[derive(Default)]
pub(super) struct Signs {
    /// A byte has come since the last request began.
    pub(super) is_heard: Cell<bool>,
    /// Nothing that is written arrives any more.
    pub(super) is_deaf: Cell<bool>,
    pub(super) heads: Heads,
}

/// What a connection's user, its driver and its pool tell each other.
pub(super) struct Link<B> {
    endpoint: Arc<Endpoint>,
    signs: Rc<Signs>,
    place: Cell<usize>,
    /// For so long it may stay idle.
    keep: Cell<Duration>,
    is_wide: bool,
    /// Its answer was complete before its request was.
    unready: Cell<Option<http1::SendRequest<B>>>,
    is_given_up: Cell<bool>,
    upgrade: Cell<Option<oneshot::Sender<Raw>>>,
    driver: RefCell<Option<Waker>>,
}

impl<B> Link<B> {
    pub(super) fn new(endpoint: Arc<Endpoint>, keep: Duration, is_wide: bool) -> Link<B> {
        Link {
            endpoint,
            signs: Rc::default(),
            place: Cell::default(),
            keep: Cell::new(keep),
            is_wide,
            unready: Cell::default(),
            is_given_up: Cell::default(),
            upgrade: Cell::default(),
            driver: RefCell::default(),
        }
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub(super) fn signs(&self) -> &Rc<Signs> {
        &self.signs
    }

    /// Among its site's open connections.
    pub(super) fn place(&self) -> usize {
        self.place.get()
    }

    pub(super) fn set_place(&self, place: usize) {
        self.place.set(place);
    }

    pub(super) fn keep(&self) -> Duration {
        self.keep.get()
    }

    /// Whether it reads answers with very many fields.
    pub(super) fn is_wide(&self) -> bool {
        self.is_wide
    }

    /// Ends the connection, whatever is under way.
    pub(super) fn give_up(&self) {
        self.is_given_up.set(true);
        self.wake();
    }

    /// Asked by the driver, which is woken when that changes.
    pub(super) fn is_given_up(&self, cx: &Context<'_>) -> bool {
        let driver = &mut *self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
        self.is_given_up.get()
    }

    pub(super) fn take_ready(&self) -> Option<http1::SendRequest<B>> {
        let sender = self.unready.take()?;
        if sender.is_ready() {
            return (!self.signs.is_deaf.get()).then_some(sender);
        }
        self.unready.set(Some(sender));
        None
    }

    pub(super) fn take_upgrade(&self) -> Option<oneshot::Sender<Raw>> {
        self.upgrade.take()
    }

    fn wake(&self) {
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }
}

/// A connection in the hands of one request. Dropped, it closes; `release` lets it be used again.
pub struct Connection<B: OutBody> {
    sender: http1::SendRequest<B>,
    leash: Leash<B>,
    pool: Rc<Pool<B>>,
    is_kept: bool,
}

struct Leash<B> {
    link: Rc<Link<B>>,
    is_released: bool,
}

impl<B> Drop for Leash<B> {
    fn drop(&mut self) {
        if !self.is_released {
            self.link.give_up();
        }
    }
}

impl<B: OutBody> Connection<B> {
    pub(super) fn new(
        sender: http1::SendRequest<B>,
        link: Rc<Link<B>>,
        pool: Rc<Pool<B>>,
        is_kept: bool,
    ) -> Connection<B> {
        link.signs.is_heard.set(false);
        Connection {
            sender,
            leash: Leash {
                link,
                is_released: false,
            },
            pool,
            is_kept,
        }
    }

    /// Whether it comes from the pool.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Whether the upstream has said anything since this request began.
    pub fn is_heard(&self) -> bool {
        self.leash.link.signs.is_heard.get()
    }

    /// Whether the upstream has stopped reading: of what was written since nothing has arrived.
    pub fn is_deaf(&self) -> bool {
        self.leash.link.signs.is_deaf.get()
    }

    /// The request comes back in the error when nothing of it was sent.
    pub async fn send(&mut self, request: Request<B>) -> Result<Response<Incoming>, TrySendError<Request<B>>> {
        self.leash.link.signs.heads.hand_over();
        self.sender.try_send_request(request).await
    }

    /// Where the connection arrives if the upstream switches protocols.
    pub fn upgrade(&self) -> oneshot::Receiver<Raw> {
        let (sender, receiver) = oneshot::channel();
        self.leash.link.upgrade.set(Some(sender));
        receiver
    }

    /// The server has said for how long it keeps an idle connection.
    pub fn keep_for(&self, most: Duration) {
        let keep = &self.leash.link.keep;
        // It counts from its own last byte, and its FIN takes a moment.
        keep.set(keep.get().min(most.saturating_sub(Duration::from_secs(1))));
    }

    /// The answer had more fields than this connection reads, or was too long. Says whether it is worth asking again.
    pub fn widen(&self) -> bool {
        self.pool.widen(&self.leash.link)
    }

    /// The answer is complete: once the request is, too, the connection may serve another.
    pub fn release(self) {
        let Connection {
            sender,
            mut leash,
            pool,
            ..
        } = self;
        let link = &leash.link;
        link.upgrade.set(None);
        if link.signs.is_deaf.get() || link.keep.get().is_zero() || sender.is_closed() {
            return;
        }
        if sender.is_ready() {
            pool.put(sender, link);
        } else {
            link.unready.set(Some(sender));
            link.wake();
        }
        leash.is_released = true;
    }

    /// The protocols are switched: the connection ends as soon as it has been handed on.
    pub fn hand_over(mut self) {
        self.leash.is_released = true;
    }
}
