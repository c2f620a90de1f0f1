use super::*;
use crate::stream::fixture::Log;

fn parse(bytes: &[u8]) -> Vec<Change> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| match serde_json::from_slice(line).unwrap() {
            Down::Change(change) => change,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn spans(changes: &[Change]) -> Vec<(u64, u64)> {
    changes.iter().map(|change| (change.from.0, change.to.0)).collect()
}

/// Revisions 1, 3, 5 and so on are configuration, those between are joins.
fn log(revisions: u64) -> Log {
    let mut log = Log::new();
    for n in 1..=revisions {
        match n % 2 {
            1 => log.service(&format!("s{}", n % 7)),
            _ => log.join(&format!("p{n}"), uuid::Uuid::from_u128(u128::from(n))),
        };
    }
    log
}

#[test]
fn changes_span_the_revisions_of_the_roster_and_do_not_tell_what_was_replaced() {
    let log = log(20);
    let mut ring = Ring::new(&log.state, &log.commits);
    let Meeting::At(start) = ring.meet(Revision::ZERO, Digest::default()) else {
        panic!()
    };
    let chunk = ring.chunk(start).unwrap().unwrap();
    let changes = parse(&chunk.bytes);
    assert_eq!(spans(&changes)[..3], [(0, 1), (1, 3), (3, 5)]);
    assert!(
        changes
            .iter()
            .flat_map(|change| &change.ops)
            .all(|op| op.before.is_none())
    );
    assert_eq!(ring.chunk(chunk.cursor).unwrap(), None);
    assert_eq!(ring.configured_at(Revision(20)), Revision(19));
    assert_eq!(ring.configured_at(Revision(4)), Revision(3));
    let until = |applied| ring.unchanged_until(Revision(applied), Revision(20)).0;
    assert_eq!([until(0), until(1), until(3), until(19)], [0, 2, 4, 20]);
    let short = Ring::new(&log.state, &log.commits[10..]);
    assert_eq!(
        short.unchanged_until(Revision(5), Revision(20)),
        Revision(5),
        "it is not known"
    );
}

#[test]
fn digests_of_the_past_are_found_from_what_was_replaced() {
    let whole = log(40);
    let warmed = Ring::new(&whole.state, &whole.commits);
    let mut past = Log::new();
    for commit in &whole.commits {
        past.state.apply(commit).unwrap();
        if commit.is_configuration() {
            let met = warmed.meet(commit.revision, past.state.digest);
            assert!(matches!(met, Meeting::At(_)), "at {}: {met:?}", commit.revision);
        }
    }
}

#[test]
fn another_history_is_recognised() {
    let (ours, mut theirs) = (log(9), log(9));
    theirs.put(Kind::Service, "other", "{}");
    theirs.put(Kind::Service, "s1", "{}");
    let ring = Ring::new(&ours.state, &ours.commits);
    assert_eq!(ring.meet(theirs.state.configured, theirs.state.digest), Meeting::Ahead);
    let mut grown = ours.clone();
    (0..9).for_each(|n| {
        grown.service(&format!("new{n}"));
    });
    let ring = Ring::new(&grown.state, &grown.commits);
    assert_eq!(
        ring.meet(theirs.state.configured, theirs.state.digest),
        Meeting::Diverged
    );
    // A revision that was no configuration here.
    assert_eq!(ring.meet(Revision(8), ours.state.digest), Meeting::Diverged);
}

#[test]
fn a_tail_begins_where_it_is_known_what_came_before() {
    let log = log(40);
    let mut ring = Ring::new(&log.state, &log.commits[20..]);
    // Revision 21 is the oldest change at hand; 22 is a join.
    assert_eq!(ring.meet(Revision(19), Digest::default()), Meeting::Before);
    assert_eq!(ring.meet(Revision::ZERO, Digest::default()), Meeting::Before);
    let digest = ring.base().digest;
    let Meeting::At(start) = ring.meet(Revision(21), digest) else {
        panic!()
    };
    assert_eq!(spans(&parse(&ring.chunk(start).unwrap().unwrap().bytes))[0], (21, 23));
}

#[test]
fn connections_in_lockstep_share_a_buffer() {
    let log = log(40);
    let mut ring = Ring::new(&log.state, &log.commits);
    let Meeting::At(start) = ring.meet(Revision::ZERO, Digest::default()) else {
        panic!()
    };
    let (one, two) = (ring.chunk(start).unwrap().unwrap(), ring.chunk(start).unwrap().unwrap());
    assert_eq!(one.bytes.as_ptr(), two.bytes.as_ptr());
    let mut grown = log.clone();
    let commit = grown.service("late");
    ring.push(&commit, &grown.state);
    let three = ring.chunk(start).unwrap().unwrap();
    assert_eq!(three.cursor, ring.end());
    assert_eq!(parse(&three.bytes).len(), parse(&one.bytes).len() + 1);
}

#[test]
fn chunks_are_bounded_and_lose_nothing() {
    let mut log = Log::new();
    let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(10_000));
    (0..40).for_each(|n| {
        log.put(Kind::Service, &format!("s{n}"), &body);
    });
    let mut ring = Ring::new(&log.state, &log.commits);
    let Meeting::At(mut cursor) = ring.meet(Revision::ZERO, Digest::default()) else {
        panic!()
    };
    let mut seen = Vec::new();
    while let Some(chunk) = ring.chunk(cursor).unwrap() {
        assert!(chunk.bytes.len() <= CHUNK_MAX);
        seen.extend(spans(&parse(&chunk.bytes)));
        cursor = chunk.cursor;
    }
    assert_eq!(seen, (0..40).map(|n| (n, n + 1)).collect::<Vec<_>>());
}

#[test]
fn what_falls_out_is_still_recognised() {
    let mut log = Log::new();
    let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(1 << 10));
    let mut ring = Ring::new(&log.state, &log.commits);
    ring.bytes_max = 16 << 10;
    let start = ring.end();
    let mut digests = Vec::new();
    for n in 0..80 {
        let commit = log.put(Kind::Service, &format!("s{}", n % 3), &body);
        digests.push((commit.revision, log.state.digest));
        ring.push(&commit, &log.state);
    }
    assert!(ring.bytes <= ring.bytes_max);
    assert_eq!(ring.chunk(start), Err(Overrun));
    let (revision, digest) = digests[0];
    assert_eq!(ring.meet(revision, digest), Meeting::Before);
    assert_eq!(ring.meet(revision, Digest::default()), Meeting::Diverged);
}
