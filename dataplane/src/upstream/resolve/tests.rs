use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A name server with one answer for everybody.
#[derive(Default)]
struct Zone {
    answer: Mutex<Option<Vec<SocketAddr>>>,
    asked: AtomicUsize,
}

impl Zone {
    fn says(&self, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        *self.answer.lock().unwrap() = Some(addresses);
    }

    fn fails(&self) {
        *self.answer.lock().unwrap() = None;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn keep(names: &Arc<Names>) -> (Arc<Zone>, tokio_util::sync::DropGuard) {
    let zone = Arc::<Zone>::default();
    let stop = CancellationToken::new();
    let asked = zone.clone();
    let lookup = move |_: &str, _: u16| {
        asked.asked.fetch_add(1, Ordering::SeqCst);
        asked
            .answer
            .lock()
            .unwrap()
            .clone()
            .ok_or_else(|| io::Error::other("no such name"))
    };
    tokio::spawn(names.clone().keep(Arc::new(lookup), stop.clone()));
    (zone, stop.drop_guard())
}

fn name() -> Address {
    Address::try_from("origin.internal:80").unwrap()
}

async fn until_asked(zone: &Zone, more: usize) {
    let enough = zone.asked() + more;
    while zone.asked() < enough {
        tokio::time::sleep(EVERY).await;
    }
    // The answer is taken before the next round is due.
    tokio::time::sleep(EVERY / 2).await;
}

#[tokio::test]
async fn literals_are_not_asked_for() {
    let names = Arc::<Names>::default();
    for literal in ["127.0.0.1:80", "[::1]:8080"] {
        let targets = names.targets(&Address::try_from(literal).unwrap());
        assert_eq!(*targets.resolved().await, [literal.parse().unwrap()]);
    }
    assert!(names.lock().answers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn all_addresses_of_a_name_are_followed() {
    let names = Arc::<Names>::default();
    let (zone, _running) = keep(&names);
    zone.says(&["10.0.0.2:80", "10.0.0.1:80", "10.0.0.2:80"]);
    let targets = names.targets(&name());
    let both: [SocketAddr; 2] = ["10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap()];
    assert_eq!(*targets.resolved().await, both);
    assert_eq!(*names.targets(&name()).now(), both, "known already");

    zone.says(&["10.0.0.3:80"]);
    until_asked(&zone, 2).await;
    assert_eq!(*targets.now(), ["10.0.0.3:80".parse().unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn the_last_good_answer_stays() {
    let names = Arc::<Names>::default();
    let (zone, _running) = keep(&names);
    zone.says(&["10.0.0.1:80"]);
    let targets = names.targets(&name());
    let good = targets.resolved().await;
    zone.fails();
    until_asked(&zone, 2).await;
    assert_eq!(targets.now(), good);
    zone.says(&[]);
    until_asked(&zone, 2).await;
    assert_eq!(targets.now(), good);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_failed_is_asked_for_again() {
    let names = Arc::<Names>::default();
    let (zone, _running) = keep(&names);
    let targets = names.targets(&name());
    until_asked(&zone, 2).await;
    assert!(targets.now().is_empty());
    zone.says(&["10.0.0.1:80"]);
    assert_eq!(targets.resolved().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_nobody_uses_is_forgotten() {
    let names = Arc::<Names>::default();
    let (zone, _running) = keep(&names);
    zone.says(&["10.0.0.1:80"]);
    let (one, other) = (names.targets(&name()), names.targets(&name()));
    one.resolved().await;
    assert_eq!(zone.asked(), 1, "one name, however many use it");
    drop(one);
    until_asked(&zone, 1).await;
    drop(other);
    tokio::time::sleep(EVERY * 2).await;
    assert!(names.lock().answers.is_empty());
}

#[test]
fn a_failure_is_told_once_and_as_what_it_means() {
    let mut name = Name {
        answers: watch::Sender::new(Arc::default()),
        failing: false,
    };
    assert!(name.fails().unwrap().contains("no address"), "there was no answer yet");
    assert_eq!(name.fails(), None);
    let good: Vec<SocketAddr> = vec!["10.0.0.1:80".parse().unwrap()];
    assert!(name.resolves_to(good.clone()).unwrap().contains("is resolved"));
    assert_eq!(name.resolves_to(good), None);
    assert!(name.fails().unwrap().contains("stay in use"));
}
