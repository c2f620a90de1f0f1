//! Cells of limits whose answer gets lost, or that arrive late; and that they go by themselves.

use std::sync::Arc;
use std::time::Duration;

use controlplane::store::{self, Cells};
use shared::quota::{AccountId, CellKey, CellValue, Claim, Label, Outcome, Row};
use uuid::Uuid;
use vulcan_tests::cassandra::link::{Link, Mode};
use vulcan_tests::eventually;

use super::{Eyes, Store, the_node, url};

const SHARD: CellKey = CellKey::Claim(5);

fn claim(epoch: u64, owner: u128) -> CellValue {
    CellValue::Claim(Claim {
        epoch,
        owner: Uuid::from_u128(owner),
        from: Label::from_nanos(0),
        to: Label::from_nanos(10_000_000_000),
        recorded: None,
    })
}

fn there(value: &CellValue) -> Outcome {
    Outcome::Is(Some(value.clone()))
}

/// The cells by way of a link, and the same ones beside it.
async fn linked() -> (Store, Link, [Arc<dyn Cells>; 2]) {
    let link = Link::to(the_node());
    let store = Store::empty().await;
    let by_link = store::open(&url(&store.at(link.address))).await.unwrap();
    let beside = store::open(&url(&store.url())).await.unwrap();
    (store, link, [by_link, beside].map(|log| log.cells().unwrap()))
}

#[tokio::test]
async fn a_swap_whose_answer_is_lost_shows_when_it_is_read() {
    let (_store, link, [cells, beside]) = linked().await;
    link.set(Mode::DropAnswers);
    let mine = claim(1, 1);
    assert_eq!(cells.swap(SHARD, None, mine.clone()).await, Outcome::Unknown);
    link.set(Mode::Pass);
    assert_eq!(beside.get(SHARD).await, there(&mine));
    let again = cells.swap(SHARD, None, mine.clone()).await;
    assert_eq!(again, Outcome::Differs(Some(mine)), "it is not done twice");
}

#[tokio::test]
async fn a_late_swap_is_refused_once_another_took_what_it_expected() {
    let (_store, link, [cells, beside]) = linked().await;
    link.set(Mode::Delay(Duration::from_secs(3)));
    assert_eq!(cells.swap(SHARD, None, claim(1, 1)).await, Outcome::Unknown);
    assert_eq!(beside.get(SHARD).await, Outcome::Is(None), "which proves nothing");
    let winner = claim(1, 2);
    assert_eq!(beside.swap(SHARD, None, winner.clone()).await, Outcome::Swapped);
    eventually("the late swap arrives", async || link.arrived_late() == 1).await;
    link.set(Mode::Pass);
    assert_eq!(beside.get(SHARD).await, there(&winner));
}

#[tokio::test]
async fn without_a_connection_nothing_is_done() {
    let (_store, link, [cells, beside]) = linked().await;
    link.set(Mode::Refuse);
    eventually("no connection is left", async || {
        cells.swap(SHARD, None, claim(1, 1)).await == Outcome::Unavailable
    })
    .await;
    assert_eq!(cells.get(SHARD).await, Outcome::Unavailable);
    // Attempts on connections that were just breaking may have gone through.
    assert!(matches!(beside.get(SHARD).await, Outcome::Is(_)));
}

#[tokio::test]
async fn a_row_lives_two_periods_and_a_day() {
    let store = Store::empty().await;
    let cells = store::open(&url(&store.url())).await.unwrap().cells().unwrap();
    let row = Row {
        version: 1,
        op: Uuid::from_u128(1),
        bucket: 120_000_000_000,
        span: 3_600_000_000_000,
        buckets: [(7, 3)].into(),
    };
    let key = CellKey::Row(AccountId::of(Uuid::from_u128(9), b"alice"));
    let swapped = cells.swap(key, None, CellValue::Row(row)).await;
    assert_eq!(swapped, Outcome::Swapped);
    let eyes = Eyes::on(&store.url()).await;
    let lives: Vec<(Uuid, i32, i32)> = eyes
        .see("SELECT limit_id, TTL(version), TTL(buckets) FROM {}.limit_ledger")
        .await;
    let [(limit, version, buckets)] = lives[..] else {
        panic!("{lives:?}")
    };
    assert_eq!(limit, Uuid::from_u128(9));
    for life in [version, buckets] {
        assert!((86_400 + 7_000..=86_400 + 7_202).contains(&life), "{life}");
    }
}
