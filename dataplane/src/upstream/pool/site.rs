use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::connection::Link;
use super::{OutBody, Pool};
use crate::upstream::endpoint::Endpoint;

const IDLE_PER_ENDPOINT_MAX: usize = 1024;
/// How often old connections are looked for. One that is too old is not used in between either.
const SWEEP: Duration = Duration::from_secs(5);

pub(super) struct Idle<B> {
    pub(super) sender: http1::SendRequest<B>,
    pub(super) link: Rc<Link<B>>,
    pub(super) since: Instant,
}

/// One endpoint's connections.
pub(super) struct Site<B> {
    open: Vec<Rc<Link<B>>>,
    /// The oldest first.
    idle: Vec<Idle<B>>,
    is_wide: bool,
}

impl<B> Default for Site<B> {
    fn default() -> Site<B> {
        Site {
            open: Vec::new(),
            idle: Vec::new(),
            is_wide: false,
        }
    }
}

impl<B> Site<B> {
    pub(super) fn enter(&mut self, link: &Rc<Link<B>>) {
        link.set_place(self.open.len());
        self.open.push(link.clone());
    }

    pub(super) fn open(&self) -> impl Iterator<Item = &Rc<Link<B>>> {
        self.open.iter()
    }

    /// Whether new connections are to read answers with very many fields.
    pub(super) fn is_wide(&self) -> bool {
        self.is_wide
    }

    pub(super) fn widen(&mut self) {
        self.is_wide = true;
    }

    /// Says how many idle ones that takes away.
    pub(super) fn leave(&mut self, link: &Rc<Link<B>>) -> usize {
        let place = link.place();
        if self.open.get(place).is_some_and(|open| Rc::ptr_eq(open, link)) {
            self.open.swap_remove(place);
            if let Some(moved) = self.open.get(place) {
                moved.set_place(place);
            }
        }
        let before = self.idle.len();
        self.idle.retain(|idle| !Rc::ptr_eq(&idle.link, link));
        before - self.idle.len()
    }

    pub(super) fn take_idle(&mut self) -> Option<Idle<B>> {
        self.idle.pop()
    }

    pub(super) fn put_idle(&mut self, idle: Idle<B>) -> bool {
        let has_room = self.idle.len() < IDLE_PER_ENDPOINT_MAX;
        if has_room {
            self.idle.push(idle);
        }
        has_room
    }

    fn take_old(&mut self, now: Instant) -> Vec<Idle<B>> {
        let is_old = |idle: &mut Idle<B>| now.saturating_duration_since(idle.since) >= idle.link.keep();
        self.idle.extract_if(.., is_old).collect()
    }
}

/// Closes what an endpoint's connections must not outlive, until it has none.
pub(super) async fn watch<B: OutBody>(endpoint: Arc<Endpoint>, pool: Rc<Pool<B>>) {
    let key = Arc::as_ptr(&endpoint);
    let mut sweep = interval_at(Instant::now() + SWEEP, SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_retired = false;
    loop {
        tokio::select! {
            biased;
            () = endpoint.cut_token().cancelled() => {
                if let Some(site) = pool.sites.borrow_mut().remove(&key) {
                    pool.idle.set(pool.idle.get() - site.idle.len());
                    site.open.iter().for_each(|link| link.give_up());
                }
                return;
            }
            () = endpoint.retired_token().cancelled(), if !is_retired => {
                is_retired = true;
                // Dropped, they close.
                let idle = pool.sites.borrow_mut().get_mut(&key).map(|site| std::mem::take(&mut site.idle));
                pool.idle.set(pool.idle.get() - idle.map_or(0, |idle| idle.len()));
            }
            now = sweep.tick() => {
                let mut sites = pool.sites.borrow_mut();
                let Some(site) = sites.get_mut(&key) else { return };
                pool.idle.set(pool.idle.get() - site.take_old(now).len());
                // What was learnt of an endpoint is kept as long as it may be used.
                if site.open.is_empty() && (is_retired || !site.is_wide) {
                    sites.remove(&key);
                    return;
                }
            }
        }
    }
}
