use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::wire::Wire;
use super::{Key, Pool};
use crate::upstream::endpoint::Endpoint;

const IDLE_PER_ENDPOINT_MAX: usize = 1024;
/// How often old connections are looked for. One that is too old is not used in between either.
const SWEEP: Duration = Duration::from_secs(5);

pub(super) struct Idle {
    pub(super) wire: Rc<Wire>,
    pub(super) since: Instant,
}

/// One endpoint's connections.
pub(super) struct Site {
    open: Vec<Weak<Wire>>,
    /// The oldest first.
    idle: Vec<Idle>,
    /// Of the task that closes them.
    watch: Waker,
}

impl Default for Site {
    fn default() -> Site {
        Site {
            open: Vec::new(),
            idle: Vec::new(),
            watch: Waker::noop().clone(),
        }
    }
}

impl Site {
    pub(super) fn enter(&mut self, wire: &Rc<Wire>) {
        wire.set_place(self.open.len());
        self.open.push(Rc::downgrade(wire));
    }

    pub(super) fn leave(&mut self, wire: &Wire) {
        let place = wire.place();
        if self.open.get(place).is_some_and(|open| open.as_ptr() == wire) {
            self.open.swap_remove(place);
            if let Some(moved) = self.open.get(place).and_then(Weak::upgrade) {
                moved.set_place(place);
            }
        }
    }

    pub(super) fn take_idle(&mut self) -> Option<Idle> {
        self.idle.pop()
    }

    pub(super) fn has_room(&self) -> bool {
        self.idle.len() < IDLE_PER_ENDPOINT_MAX
    }

    /// Back where it was taken from.
    pub(super) fn put_back(&mut self, idle: Idle) {
        self.idle.push(idle);
    }

    /// Says whether it is as quiet as it has to be. Whatever comes on it then wakes the task that closes it.
    pub(super) fn put_idle(&mut self, idle: Idle) -> bool {
        let is_quiet = idle.wire.poll_is_quiet(&mut Context::from_waker(&self.watch));
        if is_quiet {
            self.idle.push(idle);
        }
        is_quiet
    }

    fn take_old(&mut self, now: Instant) -> Vec<Idle> {
        let is_old = |idle: &mut Idle| now.saturating_duration_since(idle.since) >= idle.wire.keep();
        self.idle.extract_if(.., is_old).collect()
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Vec<Idle> {
        if !self.watch.will_wake(cx.waker()) {
            self.watch = cx.waker().clone();
        }
        self.idle.extract_if(.., |idle| !idle.wire.poll_is_quiet(cx)).collect()
    }
}

/// Why a look is taken at an endpoint's connections.
enum Look {
    Cut,
    Retired,
    Sweep(Instant),
    /// These have ended, or say what nobody has asked for.
    Ended(Vec<Idle>),
}

/// Closes what an endpoint's connections must not outlive, until it has none.
pub(super) async fn watch(endpoint: Arc<Endpoint>, pool: Rc<Pool>) {
    let key = Arc::as_ptr(&endpoint);
    let mut sweep = interval_at(Instant::now() + SWEEP, SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_retired = false;
    loop {
        let look = tokio::select! {
            biased;
            () = endpoint.cut_token().cancelled() => Look::Cut,
            () = endpoint.retired_token().cancelled(), if !is_retired => Look::Retired,
            now = sweep.tick() => Look::Sweep(now),
            // It looks at all of them, and none of them is read on.
            ended = unconstrained(poll_fn(|cx| pool.poll_ended(key, cx))) => Look::Ended(ended),
        };
        match look {
            Look::Cut => {
                // A connection that closes looks for its site.
                let site = pool.sites.borrow_mut().remove(&key).unwrap_or_default();
                pool.closes(site.idle);
                let open = site.open.iter().filter_map(Weak::upgrade);
                return open.for_each(|wire| wire.give_up());
            }
            Look::Retired => {
                is_retired = true;
                pool.closes(pool.of_site(key, |site| std::mem::take(&mut site.idle)));
            }
            Look::Ended(ended) => pool.closes(ended),
            Look::Sweep(now) => {
                pool.closes(pool.of_site(key, |site| site.take_old(now)));
                if pool.leave_if_empty(key) {
                    return;
                }
            }
        }
    }
}

impl Pool {
    fn of_site(&self, key: Key, take: impl FnOnce(&mut Site) -> Vec<Idle>) -> Vec<Idle> {
        self.sites.borrow_mut().get_mut(&key).map(take).unwrap_or_default()
    }

    fn poll_ended(&self, key: Key, cx: &mut Context<'_>) -> Poll<Vec<Idle>> {
        let ended = self.of_site(key, |site| site.poll_ended(cx));
        match ended.is_empty() {
            true => Poll::Pending,
            false => Poll::Ready(ended),
        }
    }

    fn closes(&self, idle: Vec<Idle>) {
        self.idle.set(self.idle.get() - idle.len());
    }

    fn leave_if_empty(&self, key: Key) -> bool {
        let mut sites = self.sites.borrow_mut();
        let is_empty = sites.get(&key).is_none_or(|site| site.open.is_empty());
        if is_empty {
            sites.remove(&key);
        }
        is_empty
    }
}
