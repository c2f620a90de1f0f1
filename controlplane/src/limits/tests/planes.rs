//! Several control planes on one store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use net::clock::monotonic_raw;
use shared::change::{Commit, Revision};
use shared::quota::{CellKey, CellValue, Outcome, SHARDS};
use shared::state::State;
use shared::stream::planes::Row;
use uuid::Uuid;

use super::spender::Spender;
use super::world::{World, settings};
use super::{account, most_within, spend, takes_one};
use crate::push::tests::stage::log;
use crate::store::{AppendError, Cells, Log, ReadError, Rows};

/// A log in memory that others append to, too.
struct SharedLog(Arc<dyn Log>);

impl Log for SharedLog {
    fn append(&self, after: Revision, commit: Arc<Commit>) -> BoxFuture<'_, Result<(), AppendError>> {
        self.0.append(after, commit)
    }

    fn read(&self, from: Revision, max: usize) -> BoxFuture<'_, Result<Vec<Commit>, ReadError>> {
        self.0.read(from, max)
    }

    fn head(&self) -> BoxFuture<'_, Result<Revision, ReadError>> {
        self.0.head()
    }

    fn load(&self) -> BoxFuture<'_, Result<State, ReadError>> {
        self.0.load()
    }

    fn trim(&self, below: Revision) -> BoxFuture<'_, Result<(), ReadError>> {
        self.0.trim(below)
    }

    fn tail_every(&self) -> Option<Duration> {
        Some(Duration::from_millis(50))
    }

    fn cells(&self) -> Option<Arc<dyn Cells>> {
        self.0.cells()
    }
}

/// The rows of those that run. One that is killed stays, as in a store, and is not refreshed any more.
#[derive(Default)]
struct Table(Mutex<BTreeMap<Uuid, Row>>);

impl Rows for Table {
    fn refresh(&self, row: Row, _: Revision) -> BoxFuture<'_, Result<(), ReadError>> {
        self.0.lock().unwrap().insert(row.id.0, row);
        async { Ok(()) }.boxed()
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<Row>, ReadError>> {
        let rows = self.0.lock().unwrap().values().cloned().collect();
        async { Ok(rows) }.boxed()
    }
}

async fn two() -> [World; 2] {
    let (log, rows) = (Arc::new(SharedLog(log())), Arc::new(Table::default()));
    let world = || World::among(log.clone(), Some(rows.clone()));
    [world().await, world().await]
}

/// How many shards each owner has, once all have one and there are so many owners.
async fn owners(log: &Arc<dyn Log>, count: usize) -> BTreeMap<Uuid, u32> {
    let cells = log.cells().unwrap();
    let began = monotonic_raw();
    loop {
        let mut owners: BTreeMap<Uuid, u32> = BTreeMap::new();
        for shard in 0..SHARDS {
            if let Outcome::Is(Some(CellValue::Claim(claim))) = cells.get(CellKey::Claim(shard)).await {
                *owners.entry(claim.owner).or_default() += 1;
            }
        }
        if owners.len() == count && owners.values().sum::<u32>() == u32::from(SHARDS) {
            return owners;
        }
        assert!(monotonic_raw().since(began) < Duration::from_secs(10), "{owners:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One proxy at each of them.
async fn spenders(worlds: &[World; 2]) -> Vec<Spender> {
    let rules = worlds[0].rules();
    let mut spenders = Vec::new();
    for (instance, world) in (1..).zip(worlds) {
        spenders.push(Spender::new(&world.stage, instance, rules.clone(), settings()).await);
    }
    spenders
}

#[tokio::test(flavor = "multi_thread")]
async fn two_share_the_shards_and_serve_each_others_proxies() {
    let worlds = two().await;
    worlds[0].limit(r#"{"threshold":40,"period":1}"#).await;
    let spenders = spenders(&worlds).await;
    owners(&worlds[0].log, 2).await;
    // Some of these are owned by either.
    for token in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        for spender in &spenders {
            assert!(takes_one(spender, account(token)).await, "{token}");
        }
    }
    for token in ["i", "j", "k"] {
        let admitted = spend(&spenders, account(token), Duration::from_secs(2)).await;
        let most = most_within(&admitted, Duration::from_secs(1));
        assert!((20..=40).contains(&most), "{most} of 40");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn either_shows_what_the_other_one_counts() {
    let worlds = two().await;
    worlds[0]
        .limit(r#"{"threshold":6,"period":60,"on_unreachable":"closed"}"#)
        .await;
    let spenders = spenders(&worlds).await;
    owners(&worlds[0].log, 2).await;
    for token in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(
            spend(&spenders, account(token), Duration::from_millis(400)).await.len(),
            6
        );
        for world in &worlds {
            assert_eq!(world.usage(account(token)).await.window.tokens, 6, "{token}");
        }
        worlds[0].reset(account(token)).await;
        assert_eq!(worlds[1].usage(account(token)).await.window.tokens, 0, "{token}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ends_hands_over_to_the_other_one() {
    let worlds = two().await;
    worlds[0]
        .limit(r#"{"threshold":20,"period":30,"on_unreachable":"closed"}"#)
        .await;
    let mut spenders = spenders(&worlds).await;
    owners(&worlds[0].log, 2).await;
    let tokens = ["a", "b", "c", "d"];
    for token in tokens {
        let admitted = spend(&spenders, account(token), Duration::from_millis(500)).await;
        assert_eq!(admitted.len(), 20, "{token}");
    }
    let [first, second] = worlds;
    first.end().await;
    spenders[0].cut();
    spenders[0].connect(&second.stage).await;
    for token in tokens {
        assert_eq!(
            spend(&spenders, account(token), Duration::from_millis(300)).await.len(),
            0,
            "{token}"
        );
    }
    let began = monotonic_raw();
    for token in ["e", "f", "g", "h", "i", "j"] {
        assert!(takes_one(&spenders[0], account(token)).await, "{token}");
    }
    assert!(monotonic_raw().since(began) < Duration::from_secs(4));
    assert_eq!(owners(&second.log, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_is_succeeded_soon_and_never_over_spent() {
    let worlds = two().await;
    worlds[0].limit(r#"{"threshold":20,"period":30}"#).await;
    let mut spenders = spenders(&worlds).await;
    owners(&worlds[0].log, 2).await;
    let tokens = ["a", "b", "c", "d"];
    let mut spent = BTreeMap::new();
    for token in tokens {
        spent.insert(
            token,
            spend(&spenders, account(token), Duration::from_millis(500)).await.len(),
        );
    }
    let [first, second] = worlds;
    first.kill().await;
    spenders[0].cut();
    spenders[0].connect(&second.stage).await;
    owners(&second.log, 1).await;
    for token in tokens {
        let more = spend(&spenders, account(token), Duration::from_millis(500)).await.len();
        assert!(spent[token] + more <= 20, "{token}: {} and {more}", spent[token]);
    }
    for token in ["e", "f", "g", "h", "i", "j"] {
        assert!(takes_one(&spenders[0], account(token)).await, "{token}");
    }
}
