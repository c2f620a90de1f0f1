//! Requests that wait for a place at a service whose upstreams all hold as many as they may.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// First come, first served: whoever comes while others wait is to wait behind them.
#[derive(Default)]
pub struct Queue {
    waiting: AtomicUsize,
    freed: Notify,
}

/// A place in the queue, until it is dropped.
struct Waiting<'a>(&'a Queue);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Why there is nothing to be had.
#[derive(Debug, PartialEq, Eq)]
pub enum Missed {
    /// As many wait as may.
    Full,
    /// The time is over.
    Late,
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Somebody has left an upstream, or was to try and does not take the place: one who waits may try.
    pub fn free_one(&self) {
        if !self.is_empty() {
            self.freed.notify_one();
        }
    }

    /// The upstreams are others: whoever waits may try.
    pub(super) fn free_all(&self) {
        self.freed.notify_waiters();
    }

    /// Tries again whenever there may be a place, until `attempt` gives something; among `most` at a time.
    pub async fn wait<T>(
        &self,
        most: usize,
        until: Instant,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> Result<T, Missed> {
        // Never more than `most`, also when several come at once.
        let joined = self
            .waiting
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |waiting| {
                (waiting < most).then_some(waiting + 1)
            });
        let mut may_try = joined.map_err(|_| Missed::Full)? == 0;
        let _waiting = Waiting(self);
        loop {
            // Heard from now on, and tried after that: a place that is left in between is not missed.
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            if may_try && let Some(got) = attempt() {
                return Ok(got);
            }
            may_try = true;
            timeout_at(until, freed).await.map_err(|_| Missed::Late)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[tokio::test]
    async fn places_go_to_those_who_came_first() {
        let (queue, places) = (Arc::new(Queue::default()), Arc::new(Mutex::new(0)));
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for name in 0..5 {
            let (queue, places, order) = (queue.clone(), places.clone(), order.clone());
            waiting.push(tokio::spawn(async move {
                let take = || {
                    let mut places = places.lock().unwrap();
                    *places = i32::checked_sub(*places, 1).filter(|left| *left >= 0)?;
                    Some(())
                };
                queue.wait(5, later(), take).await.unwrap();
                order.lock().unwrap().push(name);
            }));
            tokio::task::yield_now().await;
        }
        assert_eq!(queue.wait(5, later(), || Some(())).await, Err(Missed::Full));
        // One has gone: whom it would have woken is the next.
        waiting.remove(1).abort();
        for _ in 0..4 {
            *places.lock().unwrap() += 1;
            queue.free_one();
            tokio::task::yield_now().await;
        }
        for waiter in waiting {
            waiter.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [0, 2, 3, 4]);
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn nobody_waits_for_longer_than_is_said() {
        let queue = Queue::default();
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(queue.wait::<()>(1, soon, || None).await, Err(Missed::Late));
        assert!(queue.is_empty());
        assert_eq!(queue.wait(1, soon, || Some(7)).await, Ok(7), "alone it tries at once");
    }
}
