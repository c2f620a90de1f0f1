//! What every engine of the log and of its cells must do. An engine's test hands over a way to an empty log, and to the same log opened
//! anew.
//!
//! Cases panic where an engine is wrong, as assertions do.

mod cells;
mod restoring;

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use shared::change::{Before, Body, Commit, Kind, ObjectKey, Op, OpId, Revision, Verb};
use shared::state::State;
use uuid::Uuid;

use super::{AppendError, Log, ReadError};

pub use cells::CELL_CASES;

use restoring::{an_empty_log_is_restored_as_a_whole, only_an_empty_log_is_restored};

/// An empty log at first; every further opening finds what was acknowledged before.
pub trait Medium: Send + Sync {
    /// The handle before has been dropped, or stays in use beside this one where the engine can share.
    fn open(&self) -> BoxFuture<'_, Arc<dyn Log>>;
}

pub type Case = for<'a> fn(&'a dyn Medium) -> BoxFuture<'a, ()>;

/// Every case with its name; each needs a medium of its own.
pub const CASES: [(&str, Case); 13] = [
    ("an_empty_log", |medium| Box::pin(an_empty_log(medium))),
    ("appends_stand_in_order", |medium| {
        Box::pin(appends_stand_in_order(medium))
    }),
    ("a_commit_comes_back_as_it_was", |medium| {
        Box::pin(a_commit_comes_back_as_it_was(medium))
    }),
    ("only_the_head_can_be_appended_to", |medium| {
        Box::pin(only_the_head_can_be_appended_to(medium))
    }),
    ("a_repeated_append_settles_its_outcome", |medium| {
        Box::pin(a_repeated_append_settles_its_outcome(medium))
    }),
    ("one_of_many_writers_wins", |medium| {
        Box::pin(one_of_many_writers_wins(medium))
    }),
    ("a_page_ends_where_it_was_told", |medium| {
        Box::pin(a_page_ends_where_it_was_told(medium))
    }),
    ("the_fold_is_that_of_the_state", |medium| {
        Box::pin(the_fold_is_that_of_the_state(medium))
    }),
    ("a_succession_renames_the_store", |medium| {
        Box::pin(a_succession_renames_the_store(medium))
    }),
    ("trimmed_history_is_gone_and_the_fold_is_not", |medium| {
        Box::pin(trimmed_history_is_gone_and_the_fold_is_not(medium))
    }),
    ("an_empty_log_is_restored_as_a_whole", |medium| {
        Box::pin(an_empty_log_is_restored_as_a_whole(medium))
    }),
    ("only_an_empty_log_is_restored", |medium| {
        Box::pin(only_an_empty_log_is_restored(medium))
    }),
    ("everything_outlives_a_reopening", |medium| {
        Box::pin(everything_outlives_a_reopening(medium))
    }),
];

fn op_id(n: u64) -> OpId {
    OpId(Uuid::from_u128(u128::from(n)))
}

fn put(key: ObjectKey, body: &str) -> Op {
    let body = Body::from_json(body).ok();
    Op {
        verb: Verb::Put,
        kind: key.kind,
        key: key.key,
        body,
        registration: None,
        before: None,
    }
}

fn delete(key: ObjectKey) -> Op {
    Op {
        verb: Verb::Delete,
        kind: key.kind,
        key: key.key,
        body: None,
        registration: None,
        before: None,
    }
}

fn service(name: &str) -> Op {
    put(ObjectKey::service(name), r#"{"match":[]}"#)
}

fn commit(revision: u64, ops: Vec<Op>) -> Arc<Commit> {
    let (revision, op_id) = (Revision(revision), op_id(revision));
    Arc::new(Commit {
        revision,
        at_ms: 1_700_000_000_000,
        actor: "suite".into(),
        op_id,
        ops,
    })
}

/// Appends services `1` to `count`, one a revision.
async fn fill(log: &dyn Log, count: u64) {
    for revision in 1..=count {
        let commit = commit(revision, vec![service(&revision.to_string())]);
        assert_eq!(log.append(Revision(revision - 1), commit).await, Ok(()));
    }
}

async fn revisions(log: &dyn Log, from: u64, max: usize) -> Result<Vec<u64>, ReadError> {
    let commits = log.read(Revision(from), max).await?;
    Ok(commits.iter().map(|commit| commit.revision.0).collect())
}

/// Equal in all that a state is made of.
fn assert_same(one: &State, other: &State) {
    assert_eq!(
        (one.epoch, one.revision, one.configured, one.digest),
        (other.epoch, other.revision, other.configured, other.digest)
    );
    assert_eq!(one.objects, other.objects);
}

async fn loaded(log: &dyn Log) -> State {
    match log.load().await {
        Ok(state) => state,
        Err(error) => panic!("the fold cannot be loaded: {error}"),
    }
}

async fn an_empty_log(medium: &dyn Medium) {
    let log = medium.open().await;
    assert_eq!(log.head().await, Ok(Revision::ZERO));
    assert_eq!(revisions(&*log, 0, 10).await, Ok(Vec::new()));
    let state = loaded(&*log).await;
    assert!(!state.epoch.0.is_nil(), "an epoch is made with the store");
    assert_same(&state, &State::empty(state.epoch));
}

async fn appends_stand_in_order(medium: &dyn Medium) {
    let log = medium.open().await;
    fill(&*log, 5).await;
    assert_eq!(log.head().await, Ok(Revision(5)));
    assert_eq!(revisions(&*log, 0, 10).await, Ok(vec![1, 2, 3, 4, 5]));
    assert_eq!(revisions(&*log, 3, 10).await, Ok(vec![4, 5]));
    assert_eq!(revisions(&*log, 5, 10).await, Ok(Vec::new()));
    assert_eq!(revisions(&*log, 9, 10).await, Ok(Vec::new()));
}

async fn a_commit_comes_back_as_it_was(medium: &dyn Medium) {
    let log = medium.open().await;
    let body = r#"{ "match" : [],"max_body":1e3,"é":"\u0000"}"#;
    let before = Before {
        body: Body::of(&"was").unwrap_or_else(|error| panic!("{error}")),
        revision: Revision(3),
        registration: Some(Revision(2)),
    };
    let ops = vec![
        put(ObjectKey::service("web"), body),
        Op {
            registration: Some(Revision(1)),
            before: Some(before),
            ..put(ObjectKey::upstream("web", "[::1]:80"), "{}")
        },
        delete(ObjectKey {
            kind: Kind::Unknown("of-tomorrow".into()),
            key: "x".into(),
        }),
    ];
    let whole = commit(1, ops);
    assert_eq!(log.append(Revision::ZERO, whole.clone()).await, Ok(()));
    assert_eq!(log.read(Revision::ZERO, 1).await, Ok(vec![Commit::clone(&whole)]));
    let state = loaded(&*log).await;
    let web = state.get(&ObjectKey::service("web")).map(|object| object.body.as_str());
    assert_eq!(web, Some(body), "bytes are kept as they came: the digest is over them");
}

async fn only_the_head_can_be_appended_to(medium: &dyn Medium) {
    let log = medium.open().await;
    fill(&*log, 2).await;
    for after in [0, 1, 3] {
        let other = Commit {
            op_id: op_id(99),
            ..Commit::clone(&commit(after + 1, vec![service("late")]))
        };
        let result = log.append(Revision(after), Arc::new(other)).await;
        assert_eq!(result, Err(AppendError::Conflict), "after {after}");
    }
    assert_eq!(log.head().await, Ok(Revision(2)));
    assert!(loaded(&*log).await.get(&ObjectKey::service("late")).is_none());
}

async fn a_repeated_append_settles_its_outcome(medium: &dyn Medium) {
    let log = medium.open().await;
    fill(&*log, 2).await;
    let second = commit(2, vec![service("2")]);
    assert_eq!(log.append(Revision(1), second.clone()).await, Ok(()), "it is there");
    let other = Commit {
        op_id: op_id(99),
        ..Commit::clone(&second)
    };
    assert_eq!(
        log.append(Revision(1), Arc::new(other)).await,
        Err(AppendError::Conflict),
        "another is there"
    );
    fill_on(&*log, 3).await;
    assert_eq!(
        log.append(Revision(1), second).await,
        Ok(()),
        "it is there, below the head"
    );
    assert_eq!(revisions(&*log, 0, 10).await, Ok(vec![1, 2, 3]), "and once");
}

async fn fill_on(log: &dyn Log, revision: u64) {
    let next = commit(revision, vec![service(&revision.to_string())]);
    assert_eq!(log.append(Revision(revision - 1), next).await, Ok(()));
}

async fn one_of_many_writers_wins(medium: &dyn Medium) {
    let log = medium.open().await;
    for round in 0..8 {
        let attempts = (0..8).map(|writer| {
            let ops = vec![service(&format!("{round}-{writer}"))];
            let contender = Commit {
                op_id: op_id(1_000 + writer),
                ..Commit::clone(&commit(round + 1, ops))
            };
            log.append(Revision(round), Arc::new(contender))
        });
        let results = join_all(attempts).await;
        let won = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(won, 1, "{results:?}");
        assert!(
            results
                .iter()
                .all(|result| matches!(result, Ok(()) | Err(AppendError::Conflict))),
            "{results:?}"
        );
    }
    assert_eq!(loaded(&*log).await.objects.len(), 8);
}

async fn a_page_ends_where_it_was_told(medium: &dyn Medium) {
    let log = medium.open().await;
    fill(&*log, 7).await;
    assert_eq!(revisions(&*log, 0, 3).await, Ok(vec![1, 2, 3]));
    assert_eq!(revisions(&*log, 3, 3).await, Ok(vec![4, 5, 6]));
    assert_eq!(revisions(&*log, 6, 3).await, Ok(vec![7]));
}

async fn the_fold_is_that_of_the_state(medium: &dyn Medium) {
    let log = medium.open().await;
    let mut expected = State::empty(loaded(&*log).await.epoch);
    let kept = Op {
        registration: Some(Revision(1)),
        ..put(ObjectKey::upstream("web", "a"), r#"{"weight":2}"#)
    };
    let history = [
        vec![
            service("web"),
            put(ObjectKey::upstream("web", "a"), "{}"),
            put(ObjectKey::upstream("web", "b"), "{}"),
        ],
        vec![put(ObjectKey::member("proxy"), "{}")],
        vec![kept, delete(ObjectKey::upstream("web", "b"))],
        vec![delete(ObjectKey::member("proxy")), delete(ObjectKey::member("nobody"))],
        vec![
            put(ObjectKey::upstream("web", "a"), r#"{"address":"127.0.0.1:2"}"#),
            service("api"),
        ],
        vec![
            delete(ObjectKey::service("api")),
            put(
                ObjectKey {
                    kind: Kind::Unknown("new".into()),
                    key: "n".into(),
                },
                "1",
            ),
        ],
    ];
    for (after, ops) in (0..).zip(history) {
        let commit = commit(after + 1, ops);
        assert_eq!(log.append(Revision(after), commit.clone()).await, Ok(()));
        assert_eq!(expected.apply(&commit), Ok(()));
        assert_same(&loaded(&*log).await, &expected);
    }
}

async fn a_succession_renames_the_store(medium: &dyn Medium) {
    let log = medium.open().await;
    let own = loaded(&*log).await.epoch;
    let [other, fresh] = [1, 2].map(|n| shared::change::Epoch(Uuid::from_u128(n)));
    let first = commit(1, vec![Op::succession(other, own)]);
    assert_eq!(log.append(Revision::ZERO, first).await, Ok(()));
    assert_eq!(loaded(&*log).await.epoch, own);
    let second = commit(2, vec![Op::succession(own, fresh)]);
    assert_eq!(log.append(Revision(1), second).await, Ok(()));
    let state = loaded(&*log).await;
    assert_eq!(state.epoch, fresh);
    let succeeds: std::collections::HashSet<_> = state.succeeds().into_iter().collect();
    assert_eq!(succeeds, [own, other].into());
}

async fn trimmed_history_is_gone_and_the_fold_is_not(medium: &dyn Medium) {
    let log = medium.open().await;
    fill(&*log, 6).await;
    let whole = loaded(&*log).await;
    for below in [4, 2, 4] {
        assert_eq!(log.trim(Revision(below)).await, Ok(()));
        let trimmed = ReadError::Trimmed {
            trimmed: Revision(below.max(4)),
        };
        assert_eq!(revisions(&*log, below.min(3), 10).await, Err(trimmed), "below {below}");
        assert_eq!(revisions(&*log, 4, 10).await, Ok(vec![5, 6]));
    }
    assert_same(&loaded(&*log).await, &whole);
    assert_eq!(log.trim(Revision(100)).await, Ok(()));
    assert_eq!(revisions(&*log, 5, 10).await, Ok(vec![6]), "the head is never trimmed");
    fill_on(&*log, 7).await;
    assert_eq!(revisions(&*log, 5, 10).await, Ok(vec![6, 7]));
}

async fn everything_outlives_a_reopening(medium: &dyn Medium) {
    let log = medium.open().await;
    fill(&*log, 6).await;
    assert_eq!(log.trim(Revision(2)).await, Ok(()));
    let (state, history) = (loaded(&*log).await, log.read(Revision(2), 10).await);
    drop(log);
    let log = medium.open().await;
    assert_same(&loaded(&*log).await, &state);
    assert_eq!(log.read(Revision(2), 10).await, history);
    assert_eq!(log.head().await, Ok(Revision(6)));
    fill_on(&*log, 7).await;
    assert_eq!(log.head().await, Ok(Revision(7)));
}
