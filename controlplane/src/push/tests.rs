pub(crate) mod stage;

use std::time::Duration;

use shared::change::Revision;
use shared::snapshot::{self, Limits};
use shared::stream::message::{self, Down, Up, Upstreams};
use shared::time::Time;
use tokio_util::sync::CancellationToken;

use super::{ForgetError, Forgotten};
use stage::{Stage, applied, hello};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_answered_once_every_proxy_has_it() {
    let stage = Stage::new().await;
    let (mut p, mut q) = (stage.proxy(hello("p", 1)).await, stage.proxy(hello("q", 2)).await);
    for proxy in [&mut p, &mut q] {
        assert!(matches!(proxy.next().await, Some(Down::Welcome(welcome)) if welcome.head == Revision::ZERO));
        assert!(matches!(proxy.next().await, Some(Down::Snapshot(_))));
    }
    let written = stage.service("web").await;
    assert_eq!(written, Revision(3));
    let (fleet, spec) = (stage.fleet.clone(), applied(written));
    let waiting = tokio::spawn(async move { fleet.wait(spec, LONG).await });
    assert_eq!((p.change().await, q.change().await), (written, written));
    p.acknowledge(written).await;
    let behind = stage.fleet.wait(applied(written), Duration::ZERO).await;
    assert!(!behind.reached && behind.lagging.iter().any(|lagging| &*lagging.proxy == "q"));
    assert!(!waiting.is_finished());
    q.acknowledge(written).await;
    let report = waiting.await.unwrap();
    assert_eq!((report.reached, report.members, report.reached_count), (true, 2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_what_changes_build_on() {
    let stage = Stage::new().await;
    let first = stage.service("web").await;
    let mut p = stage.proxy(hello("p", 1)).await;
    assert!(matches!(p.next().await, Some(Down::Welcome(welcome)) if welcome.head == first));
    let Some(Down::Snapshot(offer)) = p.next().await else {
        panic!()
    };
    let (status, bytes) = stage.get(&offer.path, "*/*").await;
    let state = snapshot::read(&*bytes, Limits::default()).unwrap();
    assert_eq!(
        (status.as_u16(), state.configured, state.digest),
        (200, offer.revision, offer.digest)
    );
    let (_, whole) = stage.get("/v1/snapshot", "*/*").await;
    assert_eq!(
        snapshot::read(&*whole, Limits::default()).unwrap().revision,
        Revision(2)
    );
    let (_, document) = stage.get("/v1/snapshot", "application/json").await;
    assert!(
        String::from_utf8(document.to_vec())
            .unwrap()
            .starts_with(r#"{"services":{"web":{"#)
    );
    assert_eq!(stage.get("/v1/snapshot?scope=other", "*/*").await.0.as_u16(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn beats_echo_what_was_heard() {
    let stage = Stage::new().await;
    let mut p = stage.proxy(hello("p", 1)).await;
    p.acknowledge(Revision::ZERO).await;
    loop {
        if let Some(Down::Beat(beat)) = p.any().await
            && beat.echo.is_some()
        {
            assert_eq!((beat.echo, beat.head), (Some(Time::from_nanos(7)), Revision::ZERO));
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_line_decides_the_status() {
    let stage = Stage::new().await;
    let _p = stage.proxy(hello("p", 1)).await;
    let (status, problem) = stage.refused(hello("p", 2)).await;
    assert_eq!(status.as_u16(), 409);
    assert!(problem.contains("another instance"), "{problem}");
    let mut nameless = hello("", 3);
    assert_eq!(stage.refused(nameless.clone()).await.0.as_u16(), 422);
    nameless.name = "stranger".into();
    nameless.epoch = Some(shared::change::Epoch(uuid::Uuid::from_u128(1)));
    assert_eq!(stage.refused(nameless).await.0.as_u16(), 409);
    // Whoever is refused is no member.
    assert_eq!(stage.fleet.members().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_proxy_takes_over_at_once() {
    let stage = Stage::new().await;
    let mut old = stage.proxy(hello("p", 1)).await;
    let mut again = hello("p", 1);
    again.boot = 2;
    let mut new = stage.proxy(again).await;
    assert!(matches!(new.next().await, Some(Down::Welcome(_))));
    while old.any().await.is_some() {}
    assert_eq!(stage.changelog.head().state.revision, Revision(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_takes_it_off_the_roster_and_ends_the_stream() {
    let stage = Stage::new().await;
    let mut p = stage.proxy(hello("p", 1)).await;
    p.say(Up::Goodbye {}).await;
    while p.any().await.is_some() {}
    assert!(stage.fleet.members().is_empty());
    let written = stage.service("web").await;
    let report = stage.fleet.wait(applied(written), LONG).await;
    assert_eq!((report.reached, report.members), (true, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_that_is_away_is_forgotten() {
    let stage = Stage::new().await;
    let p = stage.proxy(hello("p", 1)).await;
    let stop = CancellationToken::new();
    let forget = |timeout| stage.fleet.forget("p", "test".into(), timeout, &stop);
    assert!(matches!(forget(LONG).await, Err(ForgetError::Present)));
    drop(p);
    while stage.fleet.member("p").unwrap().state != shared::stream::hub::view::Presence::Absent {
        tokio::task::yield_now().await;
    }
    assert!(matches!(forget(Duration::ZERO).await, Err(ForgetError::Leased(_))));
    let ended = CancellationToken::new();
    ended.cancel();
    let forgetting = stage.fleet.forget("p", "test".into(), LONG, &ended);
    assert!(matches!(forgetting.await, Err(ForgetError::Leased(_))));
    assert!(matches!(forget(LONG).await, Ok(Forgotten::Gone(_))));
    assert!(matches!(forget(LONG).await, Ok(Forgotten::Absent)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_asked_and_answers_for_itself() {
    let stage = Stage::new().await;
    let mut able = hello("p", 1);
    able.features.push(message::QUERY.into());
    let (mut p, q) = (stage.proxy(able).await, stage.proxy(hello("q", 2)).await);
    let fleet = stage.fleet.clone();
    let asking = tokio::spawn(async move { fleet.upstreams("p", None).await });
    let id = loop {
        match p.next().await.unwrap() {
            Down::Query(query) => break query.id,
            _ => continue,
        }
    };
    let answer = |more| {
        Up::Upstreams(Upstreams {
            id,
            list: Vec::new(),
            more,
            traffic: None,
        })
    };
    // Another's word on it is none, and read before the right one.
    q.say(answer(1)).await;
    q.acknowledge(Revision::ZERO).await;
    while !stage.fleet.member("q").unwrap().persisted {
        tokio::task::yield_now().await;
    }
    p.say(answer(2)).await;
    assert_eq!(asking.await.unwrap().unwrap().more, 2);
    // One that knows no queries, and one that is not there.
    assert_eq!(stage.fleet.upstreams("q", None).await, None);
    assert_eq!(stage.fleet.upstreams("r", None).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_ends_says_so() {
    let stage = Stage::new().await;
    let mut p = stage.proxy(hello("p", 1)).await;
    stage.stop();
    let mut last = None;
    while let Some(line) = p.any().await {
        last = Some(line);
    }
    assert!(matches!(last, Some(Down::Goaway { .. })), "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_that_goes_away_leaves_nothing_behind() {
    let stage = Stage::new().await;
    let _p = stage.proxy(hello("p", 1)).await;
    let written = stage.service("web").await;
    let (fleet, spec) = (stage.fleet.clone(), applied(written));
    let waiting = tokio::spawn(async move { fleet.wait(spec, LONG).await });
    while stage.fleet.with(|hub| hub.waiting()) != Some(1) {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    while stage.fleet.with(|hub| hub.waiting()) != Some(0) {
        tokio::task::yield_now().await;
    }
}
