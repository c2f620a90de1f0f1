//! The way of requests' heads to the socket: hyper writes what it is handed a little later, in the connection's own task,
//! and a socket that is full takes none of it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connection::Link;
use super::{OutBody, Pool};

/// Between two looks at heads that are not written yet.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How many of a connection's have come how far.
#[derive(Default)]
pub(super) struct Heads {
    handed_over: Cell<u64>,
    /// A write came after them.
    begun: Cell<u64>,
    /// They were in what was flushed.
    written: Cell<u64>,
}

impl Heads {
    pub(super) fn hand_over(&self) {
        self.handed_over.set(self.handed_over.get() + 1);
    }

    /// hyper takes what it was handed before it writes, and flushes when it has written all of it.
    pub(super) fn wrote(&self) {
        self.begun.set(self.handed_over.get());
    }

    pub(super) fn flushed(&self) {
        self.written.set(self.begun.get());
    }

    /// The connection has: nothing is written any more.
    pub(super) fn ended(&self) {
        self.written.set(u64::MAX);
    }

    /// The number of the last one, if it may be written yet.
    fn owed(&self) -> Option<u64> {
        let last = self.handed_over.get();
        self.owes(last).then_some(last)
    }

    fn owes(&self, head: u64) -> bool {
        self.written.get() < head
    }
}

impl<B: OutBody> Pool<B> {
    /// Waits until no head that has been handed over may be written any more: each is, or its connection has ended. Those
    /// that are stuck after `within` are closed.
    pub async fn heads_written(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut owed = self.owed_heads();
        while !owed.is_empty() {
            if Instant::now() >= deadline {
                owed.iter().for_each(|(link, _)| link.give_up());
            }
            sleep(LOOK_EVERY).await;
            owed.retain(|(link, head)| link.signs().heads.owes(*head));
        }
    }

    fn owed_heads(&self) -> Vec<(Rc<Link<B>>, u64)> {
        let sites = self.sites.borrow();
        let links = sites.values().flat_map(|site| site.open());
        let owed = links.filter_map(|link| Some((link.clone(), link.signs().heads.owed()?)));
        owed.collect()
    }
}
