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

/// How many of a connection's have come how far. hyper takes what it was handed before it writes, has a head in one piece
/// in front of its body, and flushes whenever it has written all that there is.
#[derive(Default)]
pub(super) struct Heads {
    handed_over: Cell<u64>,
    /// A write came after them.
    begun: Cell<u64>,
    written: Cell<u64>,
    /// Not all has been flushed that was to be written.
    is_behind: Cell<bool>,
    /// The next write begins with the last head.
    is_first: Cell<bool>,
}

impl Heads {
    pub(super) fn hand_over(&self) {
        self.handed_over.set(self.handed_over.get() + 1);
        self.is_first.set(!self.is_behind.get());
    }

    pub(super) fn writing(&self) {
        self.is_behind.set(true);
    }

    /// So many bytes, of pieces of which the first one has that length. A body may take its time, and its head has gone.
    pub(super) fn wrote(&self, bytes: usize, first_piece: usize) {
        self.begun.set(self.handed_over.get());
        if self.is_first.take() && bytes >= first_piece {
            self.written.set(self.begun.get());
        }
    }

    pub(super) fn flushed(&self) {
        self.is_behind.set(false);
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
