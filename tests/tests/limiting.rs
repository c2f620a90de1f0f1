//! Limits under load, on fleets of real processes: at the origin no interval of one period ever holds more than the
//! threshold, whatever happens to the control plane and the proxies.
//!
//! `VULCAN_LIMITING_SECONDS=N` makes each of them last longer.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vulcan_tests::eventually;
use vulcan_tests::limited::{Offer, Witness};
use vulcan_tests::node::Node;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

const PERIOD: Duration = Duration::from_secs(10);

/// Of each load.
fn lasting(least: u64) -> Duration {
    let wanted = std::env::var("VULCAN_LIMITING_SECONDS").map_or(0, |wanted| wanted.parse().expect("a number"));
    Duration::from_secs(wanted.max(least))
}

struct Fleet {
    control: Node,
    proxies: Vec<Node>,
    witness: Witness,
    _world: World,
}

impl Fleet {
    /// Three proxies before one origin.
    async fn new() -> Fleet {
        Fleet::of(3, &[]).await
    }

    async fn of(proxies: usize, extra: &[&str]) -> Fleet {
        let world = World::new();
        let (control, proxies) = world.fleet(proxies, extra).await;
        let witness = Witness::default();
        let origin = witness.serve().await;
        control.api().service("web", json!({})).await;
        control.api().register("web", "a", origin).await;
        Fleet {
            control,
            proxies,
            witness,
            _world: world,
        }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.proxies.iter().map(Node::http).collect()
    }

    /// Live on every proxy when it returns.
    async fn limit(&self, n: u32, limit: Value) {
        let path = format!("/v1/limits/00000000-0000-4000-8000-{n:012}");
        self.control.api().put(&path, limit).await.live();
    }

    /// 300 a second, by six clients.
    fn offer(&self, path: &str) -> Offer {
        Offer::start(&self.addresses(), 2, Duration::from_millis(20), path)
    }

    async fn admits_again(&self, path: &str) {
        let begin = Instant::now();
        eventually("something is admitted", async || self.witness.since(path, begin) > 0).await;
    }

    fn assert_kept(&self, path: &str, threshold: usize) {
        self.witness.assert_kept(path, threshold, PERIOD);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_interval_has_more_than_the_threshold() {
    let fleet = Fleet::new().await;
    fleet.limit(1, json!({"threshold": 100, "period": 10})).await;
    let offer = fleet.offer("/");
    let lasts = lasting(25);
    tokio::time::sleep(lasts).await;
    let heard = offer.stop().await;
    println!("{heard:?} in {lasts:?}");
    fleet.assert_kept("/", 100);
    assert_eq!((heard.other, heard.none), (0, 0));
    // That of the last period may be on its way.
    let may = 10.0 * lasts.as_secs_f64();
    assert!(
        heard.admitted as f64 > 0.8 * may,
        "{} of {may} that it permits",
        heard.admitted
    );
}

/// What the others assert is not true of itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_only_observes_is_exceeded() {
    let fleet = Fleet::new().await;
    fleet
        .limit(1, json!({"threshold": 100, "period": 10, "mode": "observe"}))
        .await;
    let offer = fleet.offer("/");
    eventually("it is exceeded", async || fleet.witness.most("/", PERIOD) > 200).await;
    assert_eq!(offer.stop().await.refused, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_is_killed_costs_no_token_too_many() {
    let mut fleet = Fleet::new().await;
    for (n, (path, on_unreachable)) in [("/share", "share"), ("/closed", "closed")].into_iter().enumerate() {
        let limit = json!({"threshold": 100, "period": 10, "path": path, "on_unreachable": on_unreachable});
        fleet.limit(n as u32, limit).await;
    }
    let offer = fleet
        .offer("/share")
        .with(&fleet.addresses(), 2, Duration::from_millis(20), "/closed");
    let until = Instant::now() + lasting(25);
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(2_700)).await;
        fleet.control.restart().await;
        let begin = Instant::now();
        fleet.admits_again("/share").await;
        fleet.admits_again("/closed").await;
        println!("admits again after {:?}", begin.elapsed());
    }
    let heard = offer.stop().await;
    println!("{heard:?}");
    fleet.assert_kept("/share", 100);
    fleet.assert_kept("/closed", 100);
    assert_eq!((heard.other, heard.none), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_share_a_fleet_goes_on_alone() {
    let mut fleet = Fleet::new().await;
    for (n, path, on_unreachable) in [(1, "/share", "share"), (2, "/closed", "closed"), (3, "/open", "open")] {
        let limit = json!({"threshold": 100, "period": 10, "path": path, "on_unreachable": on_unreachable});
        fleet.limit(n, limit).await;
    }
    let offer = fleet
        .offer("/share")
        .with(&fleet.addresses(), 2, Duration::from_millis(20), "/closed")
        .with(&fleet.addresses(), 1, Duration::from_millis(100), "/open");
    fleet.admits_again("/share").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    fleet.control.kill();
    // What was granted may be spent for a while.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let alone = Instant::now();
    eventually("it goes on", async || fleet.witness.since("/share", alone) > 0).await;
    println!("goes on after {:?}", alone.elapsed());
    tokio::time::sleep(lasting(12)).await;
    let shared = fleet.witness.since("/share", alone);
    println!("{:?}, alone {shared}", offer.stop().await);
    fleet.assert_kept("/share", 100);
    fleet.assert_kept("/closed", 100);
    assert_eq!(fleet.witness.since("/closed", alone), 0);
    assert!(fleet.witness.most("/open", PERIOD) > 100, "open promises nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_threshold_is_kept_whatever_happens_to_control_plane_and_proxies() {
    let mut fleet = Fleet::new().await;
    let paths = ["/one", "/seven", "/hundred", "/thousand", "/fixed"];
    let thresholds = [1, 7, 100, 1_000, 100];
    let mut offer = fleet.offer("/unlimited");
    for (n, (path, threshold)) in paths.into_iter().zip(thresholds).enumerate() {
        let algorithm = if path == "/fixed" { "fixed" } else { "sliding" };
        let limit = json!({"path": path, "threshold": threshold, "period": 10, "algorithm": algorithm});
        fleet.limit(n as u32, limit).await;
        offer = offer.with(&fleet.addresses(), 1, Duration::from_millis(12), path);
    }
    let until = Instant::now() + lasting(25);
    let mut turn = 0;
    while Instant::now() < until {
        let proxy = &mut fleet.proxies[turn % 3];
        match turn % 5 {
            0 => proxy.restart().await,
            1 => fleet.control.restart().await,
            2 => {
                proxy.terminate();
                assert_eq!(proxy.exit().await, Some(0));
                proxy.start();
                proxy.ready().await;
            }
            3 => {
                fleet.control.freeze();
                tokio::time::sleep(Duration::from_secs(3)).await;
                fleet.control.thaw();
            }
            _ => {
                let limit = json!({"path": "/thousand", "threshold": 1_000 - turn, "period": 10});
                fleet.limit(3, limit).await;
            }
        }
        turn += 1;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    // What those knew who are gone counts as spent for a while.
    for path in paths {
        fleet.admits_again(path).await;
    }
    println!("{turn} turns, {:?}", offer.stop().await);
    for (path, threshold) in paths.into_iter().zip(thresholds) {
        // Fixed periods follow one another: an interval may have the end of one and the beginning of the next.
        let threshold = if path == "/fixed" { 2 * threshold } else { threshold };
        fleet.assert_kept(path, threshold as usize);
        assert!(!fleet.witness.times(path).is_empty(), "{path}");
    }
    assert!(fleet.witness.most("/unlimited", PERIOD) > 1_000, "the control");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_lowered_holds_when_the_write_answers() {
    let fleet = Fleet::new().await;
    fleet.limit(1, json!({"threshold": 1_000, "period": 10})).await;
    let offer = fleet.offer("/");
    fleet.admits_again("/").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    fleet.limit(1, json!({"threshold": 50, "period": 10})).await;
    let lowered = Instant::now();
    tokio::time::sleep(Duration::from_secs(12)).await;
    let after: usize = fleet.witness.since("/", lowered + Duration::from_millis(50));
    println!("{after} since it was lowered");
    fleet.limit(1, json!({"threshold": 100_000, "period": 10})).await;
    let raised = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    offer.stop().await;
    assert!(after <= 100, "{after} since it was lowered");
    assert!(fleet.witness.since("/", raised) > 50, "it is raised at once");
}

/// Asks once for each client, as a trusted proxy in front would, each at a path of its own.
async fn ask_as(proxy: SocketAddr, clients: std::ops::Range<u32>) {
    const AT_ONCE: u32 = 16;
    let asking = (0..AT_ONCE).map(|first| {
        let clients = clients.clone().skip(first as usize).step_by(AT_ONCE as usize);
        tokio::spawn(async move {
            let mut connection = Connection::connect(proxy).await.unwrap();
            for client in clients {
                let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 | client).to_string();
                let request = Request::new("GET", &format!("/{client}"), "web").with("x-forwarded-for", &address);
                let (head, _) = connection.exchange(&request).await.unwrap();
                assert!(matches!(head.status, 200 | 429), "{}", head.status);
            }
        })
    });
    for asked in asking.collect::<Vec<_>>() {
        asked.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_without_number_take_no_memory_without_end_and_no_token_too_many() {
    const ACCOUNTS: u32 = 30_000;
    let fleet = Fleet::of(1, &["--limit-accounts", "1024", "--trusted", "127.0.0.0/8"]).await;
    fleet
        .limit(1, json!({"threshold": 1, "period": 60, "key": "client_ip"}))
        .await;
    let proxy = fleet.proxies[0].http();
    ask_as(proxy, 0..3_000).await;
    ask_as(proxy, 0..3_000).await;
    let before = fleet.proxies[0].memory();
    ask_as(proxy, 3_000..ACCOUNTS).await;
    let grown = fleet.proxies[0].memory().saturating_sub(before);
    let most = (0..ACCOUNTS).map(|n| fleet.witness.most(&format!("/{n}"), Duration::from_secs(60)));
    let (most, admitted) = most.fold((0, 0), |(most, admitted), n| (most.max(n), admitted + n));
    println!("{admitted} of {ACCOUNTS}, grown by {grown} bytes");
    assert_eq!(most, 1);
    assert!(admitted as u32 > ACCOUNTS / 2);
    // What is remembered of an account takes about a kilobyte.
    assert!(grown < 12 << 20, "{grown} bytes");
}
