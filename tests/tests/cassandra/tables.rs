//! The tables that people read, and that a start reads.

use std::sync::Arc;

use controlplane::store::{self, AppendError, Log};
use shared::change::Revision;
use uuid::Uuid;
use vulcan_tests::eventually;

use super::{Eyes, Store, commit, delete, put, url};

const LIMIT: &str = "5b1f7c0e-0000-4000-8000-000000000001";

async fn append(log: &dyn Log, history: Vec<Vec<shared::change::Op>>) {
    let after = log.head().await.unwrap().0;
    for (revision, ops) in (after + 1..).zip(history) {
        let commit = Arc::new(commit(revision, ops));
        // On a busy machine an outcome may be unknown: the same append settles it.
        eventually("the log takes it", async || {
            match log.append(Revision(revision - 1), commit.clone()).await {
                Err(AppendError::Unknown(_)) => false,
                outcome => {
                    outcome.unwrap();
                    true
                }
            }
        })
        .await;
    }
}

async fn applied(eyes: &Eyes, revision: u64) {
    let text = "SELECT value FROM {}.meta WHERE key = 'applied'";
    eventually("the tables follow", async || {
        let rows: Vec<(String,)> = eyes.see(text).await;
        rows.iter()
            .any(|(value,)| value.contains(&format!("\"revision\":{revision},")))
    })
    .await;
}

#[tokio::test]
async fn people_can_read_what_stands() {
    let store = Store::empty().await;
    let log = store::open(&url(&store.url())).await.unwrap();
    let limit = r#"{"path":"/login","data_size":"10MB","threshold":100}"#;
    append(
        &*log,
        vec![
            vec![
                put("service", "web", r#"{"match":[]}"#),
                put("upstream", "web/a", r#"{"address":"127.0.0.1:1"}"#),
            ],
            vec![
                put("upstream", "web/127.0.0.1:2", r#"{"weight":3}"#),
                put("member", "p1", "{}"),
            ],
            vec![put("limit", LIMIT, limit), put("of-tomorrow", "x", "7")],
            vec![delete("upstream", "web/a"), put("service", "gone", r#"{"match":[]}"#)],
            vec![delete("service", "gone")],
        ],
    )
    .await;
    let eyes = Eyes::on(&store.url()).await;
    applied(&eyes, 5).await;

    let services: Vec<(String, i64, String)> = eyes.see("SELECT name, revision, body FROM {}.services").await;
    assert_eq!(services, [("web".to_owned(), 1, r#"{"match":[]}"#.to_owned())]);
    type Upstream = (String, String, i64, i64, String, i32, String);
    let upstreams: Vec<Upstream> = eyes
        .see("SELECT service, id, revision, registration, address, weight, state FROM {}.upstreams")
        .await;
    let text = str::to_owned;
    assert_eq!(
        upstreams,
        [(
            text("web"),
            text("127.0.0.1:2"),
            2,
            2,
            text("127.0.0.1:2"),
            3,
            text("active")
        )]
    );
    type Limit = (Uuid, String, String, String, String, i64, i32, i64);
    let limits: Vec<Limit> = eyes
        .see("SELECT id, auth_token, protocol, method, path, data_size, period, threshold FROM {}.limits")
        .await;
    let any = || ".*".to_owned();
    assert_eq!(
        limits,
        [(
            LIMIT.parse().unwrap(),
            any(),
            any(),
            any(),
            text("/login"),
            10_000_000,
            60,
            100
        )]
    );
    let members: Vec<(String,)> = eyes.see("SELECT name FROM {}.members").await;
    assert_eq!(members, [("p1".to_owned(),)]);
    let others: Vec<(String, String, String)> = eyes.see("SELECT kind, key, body FROM {}.others").await;
    assert_eq!(others, [(text("of-tomorrow"), text("x"), text("7"))]);
}

#[tokio::test]
async fn a_start_makes_up_for_tables_that_stayed_behind() {
    let store = Store::empty().await;
    let log = store::open(&url(&store.url())).await.unwrap();
    append(&*log, vec![vec![put("service", "old", r#"{"match":[]}"#)]]).await;
    let eyes = Eyes::on(&store.url()).await;
    applied(&eyes, 1).await;
    append(
        &*log,
        vec![
            vec![put("upstream", "old/a", "{}"), put("upstream", "old/b", "{}")],
            vec![delete("upstream", "old/a")],
        ],
    )
    .await;
    let whole = log.load().await.unwrap();
    applied(&eyes, 3).await;
    drop(log);
    // As if the control plane had died at the worst moment: rows ahead of the note, rows not written yet.
    eyes.say("DELETE FROM {}.upstreams USING TIMESTAMP 3 WHERE service = 'old' AND id = 'b'")
        .await;
    eyes.say("TRUNCATE {}.meta").await;
    eyes.say("INSERT INTO {}.meta (key, value) VALUES ('home', '*')").await;
    eyes.say("INSERT INTO {}.meta (key, value) VALUES ('format', '1')")
        .await;
    eyes.say(&format!(
        "INSERT INTO {{}}.meta (key, value) VALUES ('epoch', '{}')",
        whole.epoch
    ))
    .await;
    let again = store::open(&url(&store.url())).await.unwrap().load().await.unwrap();
    assert_eq!(
        (again.digest, again.revision, again.configured),
        (whole.digest, whole.revision, whole.configured)
    );
    assert_eq!(again.objects, whole.objects);
}

#[tokio::test]
async fn partitions_follow_one_another() {
    let store = Store::empty().await;
    let log = store::open(&url(&store.url())).await.unwrap();
    let one = |n: u64| vec![put("service", &format!("s{}", n % 7), r#"{"match":[]}"#)];
    append(&*log, (1..=1_005).map(one).collect()).await;
    let other = store::open(&url(&store.url())).await.unwrap();
    assert_eq!(other.head().await, Ok(Revision(1_005)));
    let revisions =
        |commits: Vec<shared::change::Commit>| -> Vec<u64> { commits.iter().map(|commit| commit.revision.0).collect() };
    let across = revisions(other.read(Revision(995), 8).await.unwrap());
    assert_eq!(across, (996..=1_003).collect::<Vec<_>>());
    assert_eq!(revisions(other.read(Revision::ZERO, 5_000).await.unwrap()).len(), 1_005);
    // A full partition takes nothing any more, and the next but one has to wait.
    for after in [998, 999, 1_999] {
        let late = Arc::new(commit(after + 1, one(0)));
        let outcome = other.append(Revision(after), late).await;
        assert_eq!(outcome, Err(store::AppendError::Conflict), "after {after}");
    }
    assert_eq!(other.trim(Revision(1_002)).await, Ok(()));
    let trimmed = store::ReadError::Trimmed {
        trimmed: Revision(1_002),
    };
    for from in [0, 500, 999, 1_001] {
        assert_eq!(log.read(Revision(from), 10).await, Err(trimmed.clone()), "from {from}");
    }
    assert_eq!(
        revisions(log.read(Revision(1_002), 10).await.unwrap()),
        [1_003, 1_004, 1_005]
    );
    let anew = store::open(&url(&store.url())).await.unwrap();
    assert_eq!(anew.head().await, Ok(Revision(1_005)));
    assert_eq!(anew.load().await.unwrap().objects.len(), 7);
}
