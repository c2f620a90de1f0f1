//! Heads that were handed over, and that a socket which is full has not taken yet.

use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Pool;
use super::wire::Wire;

/// Between two looks at heads that are not written yet.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// One head of a connection, by its number.
#[derive(Clone)]
pub(super) struct Owed {
    wire: Weak<Wire>,
    head: u64,
}

impl Owed {
    fn is_owed(&self) -> bool {
        self.wire.upgrade().is_some_and(|wire| wire.owes(self.head))
    }
}

impl Pool {
    /// A head of this connection has not been written at once; says which number it has.
    pub(super) fn owe(&self, wire: &Rc<Wire>) -> u64 {
        let head = self.heads.get() + 1;
        self.heads.set(head);
        let mut owed = self.owed.borrow_mut();
        owed.retain(Owed::is_owed);
        owed.push(Owed {
            wire: Rc::downgrade(wire),
            head,
        });
        head
    }

    /// Waits until no head that has been handed over may be written any more: each is, or its connection has ended. Those
    /// that are stuck after `within` are closed.
    pub async fn heads_written(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut owed = self.owed.borrow().clone();
        loop {
            owed.retain(Owed::is_owed);
            if owed.is_empty() {
                return;
            }
            if Instant::now() >= deadline {
                let stuck = owed.iter().filter_map(|owed| owed.wire.upgrade());
                stuck.for_each(|wire| wire.give_up());
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
