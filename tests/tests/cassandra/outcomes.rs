//! Appends whose answer gets lost, or that arrive late: what is known of them, and that they happen once at most.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use controlplane::changelog::{Changelog, Decision, WriteError};
use controlplane::store::{self, AppendError, Log, ReadError};
use shared::change::{Commit, OpId, Revision};
use tokio::task::JoinSet;
use vulcan_tests::cassandra::link::{Link, Mode};
use vulcan_tests::cassandra::patiently;
use vulcan_tests::eventually;

use super::{Store, commit, put, the_node, url};

fn service(revision: u64, name: &str) -> Arc<Commit> {
    Arc::new(commit(revision, vec![put("service", name, r#"{"match":[]}"#)]))
}

async fn linked() -> (Store, Link, Arc<dyn Log>) {
    let link = Link::to(the_node());
    let store = Store::empty().await;
    let log = store::open(&url(&store.at(link.address))).await.unwrap();
    (store, link, log)
}

async fn op_ids(log: &dyn Log) -> Vec<OpId> {
    let commits = log.read(Revision::ZERO, 1_000).await.unwrap();
    commits.iter().map(|commit| commit.op_id).collect()
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_is_found_by_repeating_it() {
    let (_store, link, log) = linked().await;
    link.set(Mode::DropAnswers);
    let first = service(1, "a");
    let lost = log.append(Revision::ZERO, first.clone()).await;
    assert!(matches!(lost, Err(AppendError::Unknown(_))), "{lost:?}");
    assert_eq!(link.dropped(), 1);
    assert_eq!(log.head().await, Ok(Revision(1)), "it took place");
    link.set(Mode::Pass);
    let other = log.append(Revision::ZERO, service(1, "b")).await;
    assert_eq!(other, Err(AppendError::Conflict));
    assert_eq!(log.append(Revision::ZERO, first.clone()).await, Ok(()));
    assert_eq!(op_ids(&*log).await, [first.op_id]);
}

#[tokio::test]
async fn a_late_append_is_refused_once_another_holds_its_revision() {
    let (store, link, log) = linked().await;
    let beside = store::open(&url(&store.url())).await.unwrap();
    link.set(Mode::Delay(Duration::from_secs(3)));
    let late = service(1, "late");
    let unknown = log.append(Revision::ZERO, late.clone()).await;
    assert!(matches!(unknown, Err(AppendError::Unknown(_))), "{unknown:?}");
    assert_eq!(
        beside.head().await,
        Ok(Revision::ZERO),
        "it is not there, which proves nothing"
    );
    let winner = service(1, "winner");
    assert_eq!(beside.append(Revision::ZERO, winner.clone()).await, Ok(()));
    eventually("the late append arrives", async || link.arrived_late() == 1).await;
    link.set(Mode::Pass);
    assert_eq!(log.append(Revision::ZERO, late).await, Err(AppendError::Conflict));
    assert_eq!(op_ids(&*log).await, [winner.op_id]);
}

#[tokio::test]
async fn a_late_append_and_its_repetition_are_one() {
    let (_store, link, log) = linked().await;
    link.set(Mode::Delay(Duration::from_secs(2)));
    let once = service(1, "once");
    let unknown = log.append(Revision::ZERO, once.clone()).await;
    assert!(matches!(unknown, Err(AppendError::Unknown(_))), "{unknown:?}");
    link.set(Mode::Pass);
    assert_eq!(log.append(Revision::ZERO, once.clone()).await, Ok(()));
    assert_eq!(log.append(Revision(1), service(2, "next")).await, Ok(()));
    eventually("the late append arrives", async || link.arrived_late() == 1).await;
    assert_eq!(op_ids(&*log).await[0], once.op_id);
    assert_eq!(log.head().await, Ok(Revision(2)));
}

#[tokio::test]
async fn what_cannot_be_sent_is_not_tried() {
    let (_store, link, log) = linked().await;
    link.set(Mode::Refuse);
    eventually("no connection is left", async || {
        let outcome = log.append(Revision::ZERO, service(1, "a")).await;
        matches!(outcome, Err(AppendError::Unavailable(_)))
    })
    .await;
    assert!(matches!(log.head().await, Err(ReadError::Unavailable(_))));
    link.set(Mode::Pass);
    eventually("it is back", async || log.head().await.is_ok()).await;
}

/// What a writer was told of one write.
type Told = HashMap<String, Result<u64, WriteError>>;

async fn write(changelog: Arc<Changelog>, writer: usize, stop: Arc<AtomicBool>) -> Told {
    let mut told = Told::new();
    while !stop.load(SeqCst) {
        let name = format!("w{writer}-{}", told.len());
        let op = put("service", &name, r#"{"match":[]}"#);
        let decide = Arc::new(move |_: &_| Decision::Append(vec![op.clone()]));
        let outcome = changelog.submit(format!("writer-{writer}").into(), decide).await;
        told.insert(name, outcome.map(|committed| committed.revision.0));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    told
}

#[tokio::test]
async fn history_agrees_with_what_writers_were_told() {
    let store = Store::empty().await;
    let judge = store::open(&url(&store.url())).await.unwrap();
    let mut links = Vec::new();
    let mut writers = JoinSet::new();
    let stop = Arc::new(AtomicBool::new(false));
    for plane in 0..3 {
        let link = Link::to(the_node());
        let log = store::open(&url(&store.at(link.address))).await.unwrap();
        let (changelog, _) = patiently(async || Changelog::start(log.clone()).await).await;
        for writer in 0..3 {
            writers.spawn(write(changelog.clone(), plane * 3 + writer, stop.clone()));
        }
        links.push(link);
    }
    // Each in turn, and for longer than a write is waited for, loses answers, is late, is well.
    let modes = [Mode::DropAnswers, Mode::Delay(Duration::from_millis(1_500)), Mode::Pass];
    for turn in 0..modes.len() {
        for (plane, link) in links.iter().enumerate() {
            link.set(modes[(plane + turn) % modes.len()]);
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    links.iter().for_each(|link| link.set(Mode::Pass));
    stop.store(true, SeqCst);
    let told: Vec<(String, Result<u64, WriteError>)> = writers.join_all().await.into_iter().flatten().collect();
    assert!(links.iter().any(|link| link.dropped() > 0), "no answer was lost");
    assert!(links.iter().any(|link| link.arrived_late() > 0), "no append was late");
    let unknown = told
        .iter()
        .filter(|(_, told)| matches!(told, Err(WriteError::OutcomeUnknown { .. })));
    assert!(unknown.count() > 0, "every outcome was known");

    let head = patiently(async || judge.head().await).await;
    let commits = patiently(async || judge.read(Revision::ZERO, 100_000).await).await;
    let revisions: Vec<u64> = commits.iter().map(|commit| commit.revision.0).collect();
    assert!(revisions.len() as u64 >= head.0, "history ends before its head");
    assert_eq!(revisions, (1..=revisions.len() as u64).collect::<Vec<_>>());
    let mut there: HashMap<String, u64> = HashMap::new();
    for commit in &commits {
        for op in &commit.ops {
            let before = there.insert(op.key.to_string(), commit.revision.0);
            assert_eq!(before, None, "{} is there twice", op.key);
        }
    }
    for (name, outcome) in told {
        let found = there.get(&name).copied();
        match outcome {
            Ok(revision) => assert_eq!(found, Some(revision), "{name}"),
            Err(WriteError::OutcomeUnknown { .. }) => {}
            Err(WriteError::Unavailable | WriteError::Overloaded) => assert_eq!(found, None, "{name}"),
            Err(WriteError::Refused(problem)) => panic!("{name}: {problem:?}"),
        }
    }
}
