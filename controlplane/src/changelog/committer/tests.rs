use std::collections::HashMap;

use net::problem::{self, Problem};
use shared::change::{Body, Epoch, Kind, Op, Verb};
use shared::state::State;
use uuid::Uuid;

use super::*;

/// A committer and the store that it talks to, answered by hand.
struct Bench {
    committer: Committer,
    now: Time,
    tickets: Ticket,
    answers: HashMap<Ticket, Result<Committed, WriteError>>,
    published: Vec<Arc<Commit>>,
    appends: Vec<(Revision, Arc<Commit>)>,
    reads: Vec<Revision>,
}

fn stamper() -> Stamper {
    let mut count = 0;
    Box::new(move || {
        count += 1;
        Stamp {
            op_id: OpId(Uuid::from_u128(count)),
            at_ms: 0,
        }
    })
}

impl Bench {
    fn new() -> Bench {
        let head = Head::of(State::empty(Epoch(Uuid::from_u128(7))));
        Bench {
            committer: Committer::new(Arc::new(head), stamper()),
            now: Time::ZERO,
            tickets: 0,
            answers: HashMap::new(),
            published: Vec::new(),
            appends: Vec::new(),
            reads: Vec::new(),
        }
    }

    fn feed(&mut self, input: Input) {
        for output in self.committer.handle(input, self.now) {
            match output {
                Output::Append { after, commit } => self.appends.push((after, commit)),
                Output::ReadTail { from } => self.reads.push(from),
                Output::Publish { commit, head } => {
                    assert_eq!(head.state.revision, commit.revision);
                    self.published.push(commit);
                }
                Output::Answer { ticket, result } => {
                    assert!(self.answers.insert(ticket, *result).is_none(), "answered twice");
                }
            }
        }
    }

    fn submit(&mut self, actor: &str, decide: impl Fn(&Head) -> Decision + Send + Sync + 'static) -> Ticket {
        self.tickets += 1;
        let ticket = self.tickets;
        self.feed(Input::Submit {
            ticket,
            actor: actor.into(),
            decide: Arc::new(decide),
        });
        ticket
    }

    fn put(&mut self, name: &str) -> Ticket {
        let name = name.to_owned();
        self.submit("anna", move |head| put(head, &name))
    }

    fn delete(&mut self, name: &str) -> Ticket {
        let name = name.to_owned();
        self.submit("anna", move |head| match head.state.get(&member(&name)) {
            Some(_) => Decision::Append(vec![Op {
                verb: Verb::Delete,
                body: None,
                ..op(&name)
            }]),
            None => Decision::Nothing,
        })
    }

    fn appended(&mut self, result: Result<(), AppendError>) {
        self.feed(Input::Appended(result));
    }

    /// What the log holds beyond the committer's head.
    fn tail(&mut self, commits: Vec<Commit>) {
        let head = commits
            .last()
            .map_or(self.committer.head().state.revision, |commit| commit.revision);
        self.feed(Input::Tail(Ok(Tail {
            head,
            commits: commits.into_iter().map(Arc::new).collect(),
        })));
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.feed(Input::Timer);
    }

    /// The one append that was put out since the last call.
    fn append(&mut self) -> (Revision, Arc<Commit>) {
        assert_eq!(self.appends.len(), 1, "{:?}", self.appends);
        self.appends.remove(0)
    }

    fn revision(&self, ticket: Ticket) -> (u64, bool) {
        match &self.answers[&ticket] {
            Ok(committed) => (committed.revision.0, committed.appended),
            Err(error) => panic!("{error:?}"),
        }
    }
}

// Members are no business of the table: they stand for any object.
fn member(name: &str) -> shared::change::ObjectKey {
    shared::change::ObjectKey::member(name)
}

fn op(name: &str) -> Op {
    Op {
        verb: Verb::Put,
        kind: Kind::Member,
        key: name.into(),
        body: Some(Body::from_json("{}").unwrap()),
        registration: None,
        before: None,
    }
}

fn put(head: &Head, name: &str) -> Decision {
    match head.state.get(&member(name)) {
        None => Decision::Append(vec![op(name)]),
        Some(_) => Decision::Nothing,
    }
}

fn keys(commit: &Commit) -> Vec<&str> {
    commit.ops.iter().map(|op| &*op.key).collect()
}

fn foreign(revision: u64, name: &str) -> Commit {
    Commit {
        revision: Revision(revision),
        at_ms: 0,
        actor: "elsewhere".into(),
        op_id: OpId(Uuid::from_u128(1_000 + u128::from(revision))),
        ops: vec![op(name)],
    }
}

#[test]
fn what_is_queued_meanwhile_goes_into_one_revision() {
    let mut bench = Bench::new();
    let first = bench.put("a");
    assert_eq!(keys(&bench.append().1), ["a"]);
    let (second, third) = (bench.put("b"), bench.put("c"));
    assert!(bench.appends.is_empty(), "one append is in flight at most");
    bench.appended(Ok(()));
    let (after, commit) = bench.append();
    assert_eq!((after, keys(&commit)), (Revision(1), vec!["b", "c"]));
    bench.appended(Ok(()));
    assert_eq!(
        [first, second, third].map(|ticket| bench.revision(ticket)),
        [(1, true), (2, true), (2, true)]
    );
    let own = |ticket| bench.answers[&ticket].as_ref().unwrap().ops[0].key.to_string();
    assert_eq!([own(second), own(third)], ["b", "c"]);
    assert!(bench.committer.is_idle());
}

#[test]
fn two_writes_to_one_object_and_two_actors_take_two_revisions() {
    let mut bench = Bench::new();
    bench.put("first");
    bench.append();
    let one = bench.submit("anna", |_| Decision::Append(vec![op("a")]));
    let other = bench.submit("anna", |_| Decision::Append(vec![op("a")]));
    let overtaking = bench.put("b");
    let ben = bench.submit("ben", |head| put(head, "c"));
    for expected in [vec!["a"], vec!["a", "b"], vec!["c"]] {
        bench.appended(Ok(()));
        assert_eq!(keys(&bench.append().1), expected);
    }
    bench.appended(Ok(()));
    let revisions = [one, other, overtaking, ben].map(|ticket| bench.revision(ticket).0);
    assert_eq!(revisions, [2, 3, 3, 4]);
}

#[test]
fn a_pack_ends_at_its_size_and_a_write_beyond_a_revision_is_refused() {
    let mut bench = Bench::new();
    let large = |name: &'static str, bytes: usize| {
        move |_: &Head| {
            let body = Body::of(&"x".repeat(bytes)).unwrap();
            Decision::Append(vec![Op {
                body: Some(body),
                ..op(name)
            }])
        }
    };
    bench.put("first");
    bench.append();
    bench.submit("anna", large("a", 200 << 10));
    bench.submit("anna", large("b", 100 << 10));
    let huge = bench.submit("anna", large("c", 1 << 20));
    bench.appended(Ok(()));
    assert_eq!(keys(&bench.append().1), ["a"]);
    bench.appended(Ok(()));
    assert_eq!(keys(&bench.append().1), ["b"]);
    bench.appended(Ok(()));
    match &bench.answers[&huge] {
        Err(WriteError::Refused(problem)) => assert_eq!(problem.status, 413),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_write_builds_on_what_is_packed_with_it() {
    let mut bench = Bench::new();
    bench.put("first");
    bench.append();
    bench.put("service");
    let upstream = bench.submit("anna", |head| match head.state.get(&member("service")) {
        Some(_) => Decision::Append(vec![op("upstream")]),
        None => Decision::Refuse(Box::new(Problem::new(problem::NOT_FOUND, "no service"))),
    });
    bench.appended(Ok(()));
    assert_eq!(keys(&bench.append().1), ["service", "upstream"]);
    bench.appended(Ok(()));
    assert_eq!(bench.revision(upstream), (2, true));
}

#[test]
fn nothing_is_only_said_at_the_true_head() {
    let mut bench = Bench::new();
    let absent = bench.delete("a");
    assert!(bench.answers.is_empty() && bench.appends.is_empty());
    assert_eq!(bench.reads, [Revision::ZERO]);
    // Another control plane had put it: it is there, and it is deleted.
    bench.tail(vec![foreign(1, "a")]);
    let (after, commit) = bench.append();
    assert_eq!((after, commit.ops[0].verb), (Revision(1), Verb::Delete));
    bench.appended(Ok(()));
    assert_eq!(bench.revision(absent), (2, true));
    assert_eq!(
        bench
            .published
            .iter()
            .map(|commit| commit.revision.0)
            .collect::<Vec<_>>(),
        [1, 2]
    );

    let again = bench.delete("a");
    assert_eq!(bench.reads.len(), 2);
    let later = bench.delete("a");
    bench.tail(Vec::new());
    assert_eq!(bench.revision(again), (2, false));
    assert!(!bench.answers.contains_key(&later), "it came after that read began");
    assert_eq!(bench.reads.len(), 3);
    bench.tail(Vec::new());
    assert_eq!(bench.revision(later), (2, false));
}

#[test]
fn an_append_that_began_after_a_write_proves_the_head_to_it() {
    let mut bench = Bench::new();
    let both = bench.put("a");
    bench.append();
    let during = bench.put("a");
    bench.appended(Ok(()));
    assert_eq!(
        bench.reads.len(),
        1,
        "the append had begun before the second write came"
    );
    bench.tail(Vec::new());
    assert_eq!(
        [both, during].map(|ticket| bench.revision(ticket)),
        [(1, true), (1, false)]
    );

    let absent = bench.delete("z");
    assert_eq!(bench.reads.len(), 2);
    bench.put("b");
    bench.tail(Vec::new());
    assert_eq!(bench.revision(absent), (1, false));
    bench.append();
}

#[test]
fn a_refusal_waits_for_the_true_head_and_is_decided_again_there() {
    let mut bench = Bench::new();
    let refused = bench.submit("anna", |head| match head.state.revision.0 {
        0 => Decision::Refuse(Box::new(Problem::new(problem::NOT_FOUND, "stale"))),
        _ => Decision::Refuse(Box::new(Problem::new(problem::CONFLICT, "true"))),
    });
    bench.tail(vec![foreign(1, "a")]);
    match &bench.answers[&refused] {
        Err(WriteError::Refused(problem)) => assert_eq!(problem.detail, "true"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_conflict_runs_the_whole_use_case_again() {
    let mut bench = Bench::new();
    let (one, other) = (bench.put("a"), bench.put("b"));
    let (_, first) = bench.append();
    bench.appended(Err(AppendError::Conflict));
    assert_eq!(bench.reads, [Revision::ZERO]);
    bench.tail(vec![foreign(1, "a"), foreign(2, "c")]);
    let (after, commit) = bench.append();
    assert_eq!((after, keys(&commit)), (Revision(2), vec!["b"]));
    assert_ne!(commit.op_id, first.op_id, "other operations are another commit");
    bench.appended(Ok(()));
    assert_eq!(bench.revision(other), (3, true));
    assert_eq!(bench.revision(one), (2, false), "somebody else had done it");
}

#[test]
fn a_tail_in_pages_is_read_to_its_end() {
    let mut bench = Bench::new();
    let absent = bench.delete("z");
    let page = |revisions: std::ops::RangeInclusive<u64>| {
        let commits = revisions.map(|n| Arc::new(foreign(n, &n.to_string()))).collect();
        Input::Tail(Ok(Tail {
            head: Revision(5),
            commits,
        }))
    };
    bench.feed(page(1..=3));
    assert_eq!(bench.reads, [Revision(0), Revision(3)]);
    assert!(bench.answers.is_empty());
    bench.feed(page(4..=5));
    assert_eq!(bench.revision(absent), (5, false));
}

#[test]
fn an_unknown_outcome_is_the_same_append_again_until_it_is_there() {
    let mut bench = Bench::new();
    let write = bench.put("a");
    let (after, commit) = bench.append();
    bench.appended(Err(AppendError::Unknown("lost".into())));
    let behind = bench.put("b");
    assert!(bench.appends.is_empty() && bench.answers.is_empty());
    bench.pass(REST);
    assert_eq!(bench.append(), (after, commit.clone()));
    bench.appended(Err(AppendError::Unavailable("away".into())));
    bench.pass(REST);
    assert_eq!(
        bench.append(),
        (after, commit),
        "an attempt that failed proves nothing about the one before"
    );
    bench.appended(Ok(()));
    assert_eq!(bench.revision(write), (1, true));
    assert_eq!(keys(&bench.append().1), ["b"]);
    bench.appended(Ok(()));
    assert_eq!(bench.revision(behind), (2, true));
}

#[test]
fn an_append_that_was_there_already_proves_no_head_of_now() {
    let mut bench = Bench::new();
    bench.put("a");
    bench.append();
    bench.appended(Err(AppendError::Unknown("it was done".into())));
    let absent = bench.delete("b");
    bench.pass(REST);
    bench.append();
    // Between the two tries others have put `b`.
    bench.appended(Ok(()));
    assert!(!bench.answers.contains_key(&absent));
    assert_eq!(bench.reads, [Revision(1)]);
    bench.tail(vec![foreign(2, "b")]);
    assert_eq!(bench.append().0, Revision(2), "it is there, and is deleted");
}

#[test]
fn an_unknown_outcome_that_was_anothers_is_decided_again() {
    let mut bench = Bench::new();
    let write = bench.put("a");
    let (_, commit) = bench.append();
    bench.appended(Err(AppendError::Unknown("lost".into())));
    bench.pass(REST);
    bench.append();
    bench.appended(Err(AppendError::Conflict));
    bench.tail(vec![foreign(1, "b")]);
    let (after, again) = bench.append();
    assert_eq!(after, Revision(1));
    assert_ne!(again.op_id, commit.op_id);
    bench.appended(Ok(()));
    assert_eq!(bench.revision(write), (2, true));
}

#[test]
fn a_lost_answer_ends_as_unknown_and_the_outcome_is_pursued_all_the_same() {
    let mut bench = Bench::new();
    let write = bench.put("a");
    let (after, commit) = bench.append();
    let behind = bench.put("b");
    assert_eq!(bench.committer.wake_at(), Some(Time::ZERO + ANSWER_WITHIN));
    bench.pass(ANSWER_WITHIN);
    match bench.answers[&write] {
        Err(WriteError::OutcomeUnknown { op_id }) => assert_eq!(op_id, commit.op_id),
        ref other => panic!("{other:?}"),
    }
    assert!(
        matches!(bench.answers[&behind], Err(WriteError::Unavailable)),
        "it was never put out"
    );
    bench.appended(Err(AppendError::Unknown("lost".into())));
    let later = bench.put("c");
    bench.pass(REST);
    assert_eq!(bench.append(), (after, commit));
    bench.appended(Ok(()));
    assert_eq!(keys(&bench.published[0]), ["a"]);
    assert_eq!(keys(&bench.append().1), ["c"]);
    bench.appended(Ok(()));
    assert_eq!(bench.revision(later), (2, true));
    assert!(bench.committer.is_idle());
}

#[test]
fn a_store_that_was_not_tried_is_not_committed() {
    let mut bench = Bench::new();
    let write = bench.put("a");
    for _ in 0..29 {
        bench.append();
        bench.appended(Err(AppendError::Unavailable("away".into())));
        assert!(bench.answers.is_empty());
        bench.pass(REST);
    }
    bench.append();
    bench.appended(Err(AppendError::Unavailable("away".into())));
    bench.pass(REST);
    assert!(matches!(bench.answers[&write], Err(WriteError::Unavailable)));
    assert!(bench.appends.is_empty() && bench.committer.is_idle());
}

#[test]
fn a_head_that_cannot_be_read_decides_nothing() {
    let mut bench = Bench::new();
    let absent = bench.delete("a");
    bench.feed(Input::Tail(Err(ReadError::Unavailable("away".into()))));
    assert!(bench.answers.is_empty());
    bench.pass(REST);
    assert_eq!(bench.reads.len(), 2);
    bench.feed(Input::Tail(Ok(Tail {
        head: Revision::ZERO,
        commits: Vec::new(),
    })));
    assert_eq!(bench.revision(absent), (0, false));
}

#[test]
fn a_log_that_went_back_decides_nothing() {
    let mut bench = Bench::new();
    bench.put("a");
    bench.append();
    bench.appended(Ok(()));
    let absent = bench.delete("z");
    bench.feed(Input::Tail(Ok(Tail {
        head: Revision::ZERO,
        commits: Vec::new(),
    })));
    assert!(!bench.answers.contains_key(&absent));
    bench.pass(ANSWER_WITHIN);
    assert!(matches!(bench.answers[&absent], Err(WriteError::Unavailable)));
}

#[test]
fn the_queue_has_an_end() {
    let mut bench = Bench::new();
    bench.put("first");
    bench.append();
    for n in 0..QUEUE_MAX {
        bench.put(&n.to_string());
    }
    assert!(bench.answers.is_empty());
    let over = bench.put("over");
    assert!(matches!(bench.answers[&over], Err(WriteError::Overloaded)));
}

#[test]
fn what_others_append_is_published_once() {
    let mut bench = Bench::new();
    let heard = |revisions: &[u64]| {
        let commits = revisions.iter().map(|revision| Arc::new(foreign(*revision, "a")));
        Input::Heard(commits.collect())
    };
    bench.feed(heard(&[1, 2]));
    bench.feed(heard(&[1, 2, 3, 5]));
    let published: Vec<u64> = bench.published.iter().map(|commit| commit.revision.0).collect();
    assert_eq!(published, [1, 2, 3], "up to the gap");
    bench.put("b");
    assert_eq!(bench.append().0, Revision(3));
    bench.feed(heard(&[4]));
    assert_eq!(
        bench.committer.head().state.revision,
        Revision(3),
        "the append's answer tells"
    );
    bench.appended(Err(AppendError::Conflict));
    assert_eq!(bench.reads, [Revision(3)]);
}

#[test]
fn a_read_may_be_overtaken_by_what_is_heard() {
    let mut bench = Bench::new();
    let ticket = bench.delete("nobody");
    assert_eq!(bench.reads, [Revision::ZERO]);
    bench.feed(Input::Heard(vec![Arc::new(foreign(1, "a")), Arc::new(foreign(2, "b"))]));
    bench.feed(Input::Tail(Ok(Tail {
        head: Revision(1),
        commits: vec![Arc::new(foreign(1, "a"))],
    })));
    assert_eq!(bench.published.len(), 2);
    assert_eq!(bench.revision(ticket), (2, false), "it is true at the newer head, too");
}
