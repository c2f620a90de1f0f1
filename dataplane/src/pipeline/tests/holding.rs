//! The promise behind a hold's 200: once it is in force and nothing was seen in flight, no request goes there until it
//! ends. Each test shows as well that it would notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use shared::change::Kind;

use super::*;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::inflight::count_as_worker;

const ROUNDS: usize = 400;
const WORKERS: usize = 3;
/// Long enough for a worker to have its turn meanwhile, also where there are more threads than processors.
const QUIET: Duration = Duration::from_micros(200);

#[test]
fn a_hold_between_the_steps_is_noticed_by_the_last() {
    let (views, mut registry) = deployed("random", &[("a", 1)]);
    let admitted = admit(&views.now(), &meta("/")).ok().unwrap();
    let chosen = choose(&views.now(), &admitted, &Tried::default()).ok().unwrap();
    registry.put(Kind::Hold, "web", "{}");
    registry.deploy(&views);
    assert_eq!(views.held()[0].busy, [], "nothing is in flight");
    assert!(chosen.clone().enter().confirm().is_err());
    assert_eq!(chosen.in_flight(), 0, "the step is undone");
    assert_eq!(refusal(&views, &admitted, &Tried::default()), Verdict::Held);
    registry.delete(Kind::Hold, "web");
    registry.deploy(&views);
    assert_eq!(pick_id(&views, &admitted, &Tried::default()), "a", "as it was admitted");
}

/// What the outside knows.
#[derive(Default)]
struct World {
    /// Between a hold's answer and the call that resumes.
    is_quiet: AtomicBool,
    reached_quiet: AtomicU64,
    requests: AtomicU64,
    over: AtomicBool,
}

impl World {
    fn request(&self) {
        self.requests.fetch_add(1, Ordering::SeqCst);
        if self.is_quiet.load(Ordering::SeqCst) {
            self.reached_quiet.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Holds and resumes again and again while workers use `attempt`; gives what the world has seen.
fn churn(attempt: impl Fn(&Views, &Admitted, &World) + Clone + Send + 'static) -> Arc<World> {
    let (views, mut registry) = deployed("least_request", &[("a", 1), ("b", 1)]);
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
                    thread::yield_now();
                }
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        registry.put(Kind::Hold, "web", "{}");
        registry.deploy(&views);
        while views.held().iter().any(|held| !held.busy.is_empty()) {
            thread::yield_now();
        }
        world.is_quiet.store(true, Ordering::SeqCst);
        thread::sleep(QUIET);
        world.is_quiet.store(false, Ordering::SeqCst);
        if world.reached_quiet.load(Ordering::SeqCst) > 0 {
            break;
        }
        registry.delete(Kind::Hold, "web");
        registry.deploy(&views);
        let before = world.requests.load(Ordering::SeqCst);
        while world.requests.load(Ordering::SeqCst) == before {
            thread::yield_now();
        }
    }
    world.over.store(true, Ordering::SeqCst);
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    world
}

#[test]
fn no_request_reaches_what_is_quiet() {
    let world = churn(|views, admitted, world| {
        let Ok(picked) = pick(&views.reader(), admitted, &Tried::default()) else {
            return;
        };
        world.request();
        thread::yield_now();
        world.request();
        drop(picked);
    });
    assert!(world.requests.load(Ordering::SeqCst) > 0);
    assert_eq!(world.reached_quiet.load(Ordering::SeqCst), 0);
}

#[test]
fn without_the_last_step_requests_do_reach_it() {
    let world = churn(|views, admitted, world| {
        let chosen: Result<Arc<Endpoint>, _> = choose(&views.now(), admitted, &Tried::default());
        let Ok(chosen) = chosen else { return };
        // It comes as late as it may.
        for _ in 0..100 {
            if world.is_quiet.load(Ordering::SeqCst) {
                break;
            }
            thread::yield_now();
        }
        let _entered = chosen.enter();
        world.request();
    });
    assert!(
        world.reached_quiet.load(Ordering::SeqCst) > 0,
        "the test above is blind"
    );
}
