//! The promise behind an unregister's 200: once an identity is retired and was seen with nothing in flight, no request
//! goes there any more. Each test shows as well that it would notice.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use shared::change::Revision;

use super::*;
use crate::upstream::endpoint::{Endpoint, InFlight};
use crate::upstream::inflight::count_as_worker;

const ROUNDS: usize = 400;
const WORKERS: usize = 3;

#[test]
fn a_swap_between_the_steps_is_noticed_by_the_last() {
    let (views, mut registry) = deployed("random", &[("a", 1)]);
    let admitted = admit(&views.now(), &meta("/")).ok().unwrap();
    let chosen = choose(&views.now(), &admitted, &Tried::default()).ok().unwrap();
    registry.upstream("a", r#"{"address":"127.0.0.1:2"}"#);
    registry.deploy(&views);
    assert!(views.draining().is_empty(), "safe to kill");
    let entered = chosen.clone().enter();
    assert!(entered.confirm().is_err());
    assert_eq!(chosen.in_flight(), 0, "the step is undone");
    let picked = pick(&views.reader(), &admitted, &Tried::default()).ok().unwrap();
    assert_eq!(picked.endpoint().identity().address.as_str(), "127.0.0.1:2");
}

#[test]
fn a_swap_after_the_entry_waits_for_its_end() {
    let (views, mut registry) = deployed("random", &[("a", 1)]);
    let admitted = admit(&views.now(), &meta("/")).ok().unwrap();
    let entered = choose(&views.now(), &admitted, &Tried::default()).ok().unwrap().enter();
    registry.upstream("a", r#"{"address":"127.0.0.1:2"}"#);
    let left = registry.swap(&views);
    let in_flight = entered.confirm().ok().unwrap();
    views.retire(left);
    assert_eq!(views.draining().len(), 1);
    drop(in_flight);
    assert!(views.draining().is_empty());
}

/// What the outside knows: identities whose DELETE was answered, and requests that reached one of them.
#[derive(Default)]
struct World {
    /// Registrations up to this one are unregistered, and killed.
    killed: AtomicU64,
    reached_killed: AtomicU64,
    requests: AtomicU64,
    over: AtomicBool,
}

impl World {
    fn request(&self, endpoint: &Endpoint) {
        self.requests.fetch_add(1, Ordering::SeqCst);
        if endpoint.identity().registration.0 <= self.killed.load(Ordering::SeqCst) {
            self.reached_killed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Deploys again and again while workers use `attempt`; gives what the world has seen.
fn churn(attempt: impl Fn(&Views, &Admitted, &World) + Clone + Send + 'static) -> Arc<World> {
    let (views, mut registry) = deployed("least_request", &[("a", 1)]);
    let admitted = Arc::new(admit(&views.now(), &meta("/")).ok().unwrap());
    let world = Arc::<World>::default();
    let workers: Vec<_> = (0..WORKERS)
        .map(|index| {
            let (views, admitted, world, attempt) = (views.clone(), admitted.clone(), world.clone(), attempt.clone());
            thread::spawn(move || {
                // The last one is off the workers and counts with the rest of the world.
                if index < 2 {
                    count_as_worker(index);
                }
                while !world.over.load(Ordering::SeqCst) {
                    attempt(&views, &admitted, &world);
                }
            })
        })
        .collect();

    let mut registration = Revision(2);
    for round in 0..ROUNDS {
        let old = registration;
        registration = registry.upstream("a", &format!(r#"{{"address":"127.0.0.1:{}"}}"#, 2 + round % 2));
        let mut changed = views.changed();
        registry.deploy(&views);
        while !views.draining().is_empty() {
            futures_util::FutureExt::now_or_never(changed.changed());
            thread::yield_now();
        }
        world.killed.store(old.0, Ordering::SeqCst);
        thread::yield_now();
        if world.reached_killed.load(Ordering::SeqCst) > 0 {
            break;
        }
    }
    world.over.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.join().unwrap();
    }
    drop(attempt);
    assert_eq!(
        views
            .now()
            .pools()
            .flat_map(|pool| pool.candidates())
            .map(|one| one.endpoint.in_flight())
            .sum::<u64>(),
        0
    );
    world
}

#[test]
fn no_request_reaches_what_is_safe_to_kill() {
    // Guards that end on another thread than they began on.
    let elsewhere: Arc<Mutex<Vec<InFlight>>> = Arc::default();
    let world = churn(move |views, admitted, world| {
        let picked = pick(&views.reader(), admitted, &Tried::default()).ok().unwrap();
        world.request(picked.endpoint());
        thread::yield_now();
        world.request(picked.endpoint());
        let mut held = elsewhere.lock().unwrap();
        held.push(picked.into_parts().0);
        if held.len() > 4 {
            held.clear();
        }
    });
    assert!(world.requests.load(Ordering::SeqCst) > 0);
    assert_eq!(world.reached_killed.load(Ordering::SeqCst), 0);
}

#[test]
fn without_the_last_step_requests_do_reach_it() {
    let world = churn(|views, admitted, world| {
        let chosen = choose(&views.now(), admitted, &Tried::default()).ok().unwrap();
        thread::yield_now();
        let _entered = chosen.clone().enter();
        world.request(&chosen);
    });
    assert!(
        world.reached_killed.load(Ordering::SeqCst) > 0,
        "the test above is blind"
    );
}
