//! What two control planes write while nodes are away.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use controlplane::changelog::{Changelog, Decision, WriteError};
use controlplane::store::{self, Log};
use shared::change::{Body, Kind, Op, Revision, Verb};
use tokio::task::JoinSet;
use vulcan_tests::cassandra::patiently;
use vulcan_tests::eventually;

use super::the_nodes;

/// What was told of each write, by the name of the service that it put.
type Told = Arc<Mutex<HashMap<String, Result<u64, WriteError>>>>;

fn put(name: &str) -> Op {
    Op {
        verb: Verb::Put,
        kind: Kind::Service,
        key: name.into(),
        body: Some(Body::from_json(r#"{"match":[]}"#).unwrap()),
        registration: None,
        before: None,
    }
}

async fn write(changelog: Arc<Changelog>, writer: usize, told: Told, stop: Arc<AtomicBool>) {
    for n in 0.. {
        if stop.load(SeqCst) {
            return;
        }
        let name = format!("w{writer}-{n}");
        let op = put(&name);
        let decide = Arc::new(move |_: &_| Decision::Append(vec![op.clone()]));
        let outcome = changelog.submit(format!("writer-{writer}").into(), decide).await;
        told.lock()
            .unwrap()
            .insert(name, outcome.map(|committed| committed.revision.0));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn committed(told: &Told) -> usize {
    told.lock().unwrap().values().filter(|told| told.is_ok()).count()
}

/// Every writer's next writes are committed: thirty are more than were under way.
async fn goes_on(what: &str, told: &Told) {
    let before = committed(told);
    eventually(what, async || committed(told) >= before + 30).await;
}

async fn stands_still(told: &Told) {
    let failed = |told: &Told| told.lock().unwrap().values().filter(|told| told.is_err()).count();
    let before = failed(told);
    eventually("writes are refused", async || failed(told) >= before + 6).await;
}

async fn agrees(log: &dyn Log, told: &Told) {
    let commits = patiently(async || log.read(Revision::ZERO, 1_000_000).await).await;
    assert!(
        commits.len() as u64 >= patiently(async || log.head().await).await.0,
        "history ends before its head"
    );
    let mut there: HashMap<String, u64> = HashMap::new();
    for (revision, commit) in (1..).zip(&commits) {
        assert_eq!(commit.revision.0, revision, "a gap");
        for op in &commit.ops {
            assert_eq!(
                there.insert(op.key.to_string(), revision),
                None,
                "{} is there twice",
                op.key
            );
        }
    }
    for (name, outcome) in told.lock().unwrap().iter() {
        let found = there.get(name).copied();
        match outcome {
            Ok(revision) => assert_eq!(found, Some(*revision), "{name}"),
            Err(WriteError::OutcomeUnknown { .. }) => {}
            Err(WriteError::Unavailable | WriteError::Overloaded) => assert_eq!(found, None, "{name}"),
            Err(WriteError::Refused(problem)) => panic!("{name}: {problem:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_is_enough_and_without_one_nothing_is_made_up() {
    let cassandra = the_nodes().await;
    let store = cassandra.store().parse().unwrap();
    let told = Told::default();
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for plane in 0..2 {
        let log = store::open(&store).await.unwrap();
        let (changelog, _) = patiently(async || Changelog::start(log.clone()).await).await;
        for writer in 0..3 {
            writers.spawn(write(changelog.clone(), plane * 3 + writer, told.clone(), stop.clone()));
        }
    }
    goes_on("three nodes", &told).await;

    // One of them coordinates.
    for node in 1..=3 {
        cassandra.tell("freeze", node);
        goes_on("one of three stands still", &told).await;
        cassandra.tell("thaw", node);
        goes_on("it goes on", &told).await;
    }
    for node in [1, 3] {
        cassandra.tell("kill", node);
        goes_on("one of three was killed", &told).await;
        cassandra.restart();
        goes_on("it is back", &told).await;
    }
    cassandra.tell("freeze", 1);
    cassandra.tell("freeze", 2);
    stands_still(&told).await;
    cassandra.tell("thaw", 1);
    cassandra.tell("thaw", 2);
    goes_on("there is a quorum again", &told).await;

    stop.store(true, SeqCst);
    writers.join_all().await;
    let judge = store::open(&store).await.unwrap();
    agrees(&*judge, &told).await;
    let state = patiently(async || judge.load().await).await;
    assert_eq!(
        state.revision,
        patiently(async || judge.head().await).await,
        "what stands is what the log folds to"
    );
}
