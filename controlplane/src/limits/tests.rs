mod planes;
mod spender;
mod world;

use std::sync::atomic::Ordering;
use std::time::Duration;

use net::clock::monotonic_raw;
use shared::quota::{AccountId, CellKey, CellValue, Outcome};
use shared::time::Time;

use super::asking::Forgotten;
use spender::Spender;
use world::World;

const LIMIT: &str = "5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b";
const PATIENCE: Duration = Duration::from_secs(5);

fn account(token: &str) -> AccountId {
    AccountId::of(LIMIT.parse().unwrap(), token.as_bytes())
}

/// Whether one token comes, also after refusals: a new owner keeps back what it has no promise for.
async fn takes_one(spender: &Spender, account: AccountId) -> bool {
    let until = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < until {
        if spender.take(account, PATIENCE).await.is_some() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// As much as there is to be had on all of them within that time.
async fn spend(spenders: &[Spender], account: AccountId, length: Duration) -> Vec<Time> {
    let until = tokio::time::Instant::now() + length;
    let spending = spenders.iter().flat_map(|spender| [spender.handle(), spender.handle()]);
    let spending = spending.map(|spender| {
        tokio::spawn(async move {
            let mut admitted = Vec::new();
            while tokio::time::Instant::now() < until {
                match spender.take(account, Duration::from_millis(50)).await {
                    Some(at) => admitted.push(at),
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
            admitted
        })
    });
    let mut all = Vec::new();
    for spending in spending.collect::<Vec<_>>() {
        all.extend(spending.await.unwrap());
    }
    all.sort();
    all
}

/// The most that were admitted within any interval of that length.
fn most_within(admitted: &[Time], period: Duration) -> usize {
    let within = |first: usize| {
        let rest = &admitted[first..];
        rest.iter().take_while(|at| at.since(admitted[first]) < period).count()
    };
    (0..admitted.len()).map(within).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_proxies_together_spend_what_there_is_and_no_more() {
    let world = World::new().await;
    world.limit(r#"{"threshold":60,"period":1}"#).await;
    let spenders = world.spenders(3).await;
    assert!(takes_one(&spenders[0], account("a")).await);
    let admitted = spend(&spenders, account("b"), Duration::from_secs(4)).await;
    let most = most_within(&admitted, Duration::from_secs(1));
    assert!((30..=60).contains(&most), "{most} of 60");
    assert!(admitted.len() > 120, "{} in four periods", admitted.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_of_one_that_was_killed_grants_soon_and_never_too_much() {
    let world = World::new().await;
    let rules = world.limit(r#"{"threshold":40,"period":10}"#).await;
    let mut spenders = world.spenders(2).await;
    let mut admitted = spend(&spenders, account("a"), Duration::from_secs(1)).await;
    assert_eq!(admitted.len(), 40);
    let log = world.kill().await;
    spenders.iter_mut().for_each(Spender::cut);
    let world = World::on(log).await;
    assert_eq!(world.rules(), rules);
    for spender in &mut spenders {
        spender.connect(&world.stage).await;
    }
    let began = monotonic_raw();
    assert!(takes_one(&spenders[0], account("b")).await, "one that spent nothing");
    assert!(
        monotonic_raw().since(began) < Duration::from_secs(4),
        "by a census, not by waiting for the claim's end"
    );
    admitted.extend(spend(&spenders, account("a"), Duration::from_secs(1)).await);
    assert_eq!(admitted.len(), 40, "what was spent before counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ends_leaves_a_claim_that_the_next_one_takes() {
    let world = World::new().await;
    world.limit(r#"{"threshold":5,"period":60}"#).await;
    let mut spenders = world.spenders(1).await;
    assert!(takes_one(&spenders[0], account("a")).await);
    let log = world.end().await;
    let cells = log.cells().unwrap();
    let claim = |outcome| match outcome {
        Outcome::Is(Some(CellValue::Claim(claim))) => claim,
        other => panic!("{other:?}"),
    };
    // Not the one of which the proxy holds something.
    let key = CellKey::Claim(account("b").shard());
    let former = claim(cells.get(key.clone()).await);
    spenders[0].cut();
    let world = World::on(log).await;
    spenders[0].connect(&world.stage).await;
    assert!(takes_one(&spenders[0], account("b")).await);
    let latter = claim(cells.get(key).await);
    assert_eq!(latter.epoch, former.epoch + 1);
    assert_ne!(latter.owner, former.owner);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_that_steps_makes_no_tokens() {
    let world = World::new().await;
    world.limit(r#"{"threshold":20,"period":30}"#).await;
    let spenders = world.spenders(2).await;
    let mut admitted = spend(&spenders, account("a"), Duration::from_secs(1)).await;
    assert_eq!(admitted.len(), 20);
    for ahead_ms in [3_600_000, -3_600_000, 0] {
        world.clock.ahead_ms.store(ahead_ms, Ordering::Relaxed);
        admitted.extend(spend(&spenders, account("a"), Duration::from_millis(1_500)).await);
        assert_eq!(admitted.len(), 20, "{ahead_ms} ms");
        let other = account(&ahead_ms.to_string());
        assert!(takes_one(&spenders[0], other).await, "{ahead_ms} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_limits_nothing_is_claimed_and_nobody_is_told() {
    let world = World::new().await;
    let spenders = world.spenders(1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let cells = world.log.cells().unwrap();
    for shard in 0..shared::quota::SHARDS {
        assert_eq!(cells.get(CellKey::Claim(shard)).await, Outcome::Is(None));
    }
    // One that was there before the first limit is told all the same.
    let rules = world.limit(r#"{"threshold":3,"period":60}"#).await;
    spenders[0].hand(shared::quota::proxy::Input::Rules(rules));
    assert!(takes_one(&spenders[0], account("a")).await);
    for _ in 0..2 {
        assert!(takes_one(&spenders[0], account("a")).await);
    }
    assert!(
        spenders[0]
            .take(account("a"), Duration::from_millis(100))
            .await
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_that_leaves_did_not_spend_is_for_others() {
    let world = World::new().await;
    world
        .limit(r#"{"threshold":12,"period":60,"on_unreachable":"closed"}"#)
        .await;
    let mut spenders = world.spenders(2).await;
    assert!(takes_one(&spenders[0], account("a")).await);
    spenders.remove(0).leave().await;
    let admitted = spend(&spenders, account("a"), Duration::from_secs(1)).await;
    assert_eq!(admitted.len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_lowered_is_lowered_at_once() {
    let world = World::new().await;
    world.limit(r#"{"threshold":50,"period":60}"#).await;
    let spenders = world.spenders(2).await;
    for _ in 0..10 {
        assert!(takes_one(&spenders[0], account("a")).await);
    }
    let rules = world.limit(r#"{"threshold":15,"period":60}"#).await;
    for spender in &spenders {
        spender.hand(shared::quota::proxy::Input::Rules(rules.clone()));
    }
    let admitted = spend(&spenders, account("a"), Duration::from_secs(1)).await;
    assert_eq!(admitted.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn longer_periods_are_counted_in_the_store() {
    let world = World::new().await;
    world
        .limit(r#"{"threshold":30,"period":3600,"on_unreachable":"closed"}"#)
        .await;
    let mut spenders = world.spenders(2).await;
    let admitted = spend(&spenders, account("a"), Duration::from_secs(2)).await;
    assert!((20..=30).contains(&admitted.len()), "{}", admitted.len());
    let log = world.kill().await;
    let row = log.cells().unwrap().get(CellKey::Row(account("a"))).await;
    assert!(matches!(row, Outcome::Is(Some(CellValue::Row(_)))), "{row:?}");
    spenders.iter_mut().for_each(Spender::cut);
    let world = World::on(log).await;
    for spender in &mut spenders {
        spender.connect(&world.stage).await;
    }
    let more = spend(&spenders, account("a"), Duration::from_secs(1)).await;
    assert!(
        admitted.len() + more.len() <= 30,
        "{} and {}",
        admitted.len(),
        more.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_is_shown_and_begins_anew_when_it_is_told_to() {
    let world = World::new().await;
    let spenders = world.spenders(2).await;
    for algorithm in ["sliding", "fixed"] {
        let body = format!(r#"{{"threshold":10,"period":60,"on_unreachable":"closed","algorithm":"{algorithm}"}}"#);
        let rules = world.limit(&body).await;
        for spender in &spenders {
            spender.hand(shared::quota::proxy::Input::Rules(rules.clone()));
        }
        let account = account(algorithm);
        assert_eq!(world.usage(account).await.window.tokens, 0);
        assert_eq!(spend(&spenders, account, Duration::from_millis(500)).await.len(), 10);
        let usage = world.usage(account).await;
        assert_eq!(usage.window.tokens, 10);
        assert_eq!(
            usage.previous.map(|span| span.tokens),
            (algorithm == "fixed").then_some(0)
        );
        assert!(spenders.iter().any(|spender| spender.refuses(account)));
        let all = Forgotten { members: 2, reached: 2 };
        assert_eq!(world.reset(account).await, all);
        assert!(
            !spenders.iter().any(|spender| spender.refuses(account)),
            "when it is said"
        );
        assert_eq!(world.usage(account).await.window.tokens, 0);
        assert_eq!(
            spend(&spenders, account, Duration::from_secs(1)).await.len(),
            10,
            "{rules:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_says_who_does_not_know_of_it() {
    let world = World::new().await;
    world
        .limit(r#"{"threshold":10,"period":60,"on_unreachable":"closed"}"#)
        .await;
    let mut spenders = world.spenders(3).await;
    let account = account("a");
    assert_eq!(spend(&spenders, account, Duration::from_millis(500)).await.len(), 10);
    spenders[1].stand_still();
    let but_one = Forgotten { members: 3, reached: 2 };
    assert_eq!(world.reset(account).await, but_one);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_in_the_store_is_shown_and_begins_anew() {
    let world = World::new().await;
    world
        .limit(r#"{"threshold":10,"period":3600,"on_unreachable":"closed"}"#)
        .await;
    let spenders = world.spenders(1).await;
    assert_eq!(world.usage(account("a")).await.window.tokens, 0);
    let spent = spend(&spenders, account("a"), Duration::from_secs(2)).await.len();
    assert!(spent > 5, "{spent}");
    assert!(world.usage(account("a")).await.window.tokens >= spent as u64);
    world.reset(account("a")).await;
    assert_eq!(world.usage(account("a")).await.window.tokens, 0);
    assert!(takes_one(&spenders[0], account("a")).await);
}
