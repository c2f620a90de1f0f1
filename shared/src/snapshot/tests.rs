//! Round trips, and every way to break a snapshot.

use std::io::{self, Read};

use super::{Exceeded, Limits, Scope, SnapshotError, read, write};
use crate::change::{Body, Commit, Epoch, Kind, Op, OpId, Revision, Verb};
use crate::state::State;

fn put(kind: Kind, key: &str, json: &str) -> Op {
    let body = Some(Body::from_json(json).unwrap());
    Op {
        verb: Verb::Put,
        kind,
        key: key.into(),
        body,
        registration: None,
        before: None,
    }
}

/// Three configuration objects, one of them of a later version, and two of the roster.
fn state() -> State {
    let mut state = State::empty(Epoch(uuid::Uuid::from_u128(7)));
    let revisions = [
        vec![
            put(Kind::Service, "web", r#"{"match":[{"hosts":["*"]}]}"#),
            put(Kind::Upstream, "web/127.0.0.1:1", "{}"),
        ],
        vec![put(Kind::from("of-tomorrow"), "l", "{ \"odd\":  1.0e3 }")],
        vec![
            put(Kind::Member, "proxy-1", "{}"),
            put(Kind::Succession, &uuid::Uuid::nil().to_string(), "{}"),
        ],
    ];
    for ops in revisions {
        let op_id = OpId(uuid::Uuid::nil());
        let commit = Commit {
            revision: state.revision.next(),
            at_ms: 0,
            actor: "test".into(),
            op_id,
            ops,
        };
        state.apply(&commit).unwrap();
    }
    state
}

fn written(state: &State, scope: Scope) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(state, scope, &mut bytes).unwrap();
    bytes
}

fn text() -> String {
    String::from_utf8(zstd::decode_all(&*written(&state(), Scope::Whole)).unwrap()).unwrap()
}

/// Reads lines that are well compressed, whatever they say.
fn read_text(text: &str) -> Result<State, SnapshotError> {
    read(&*zstd::encode_all(text.as_bytes(), 1).unwrap(), Limits::default())
}

fn same(left: &State, right: &State) -> bool {
    (left.epoch, left.revision, left.configured, left.digest)
        == (right.epoch, right.revision, right.configured, right.digest)
        && left.objects == right.objects
}

#[test]
fn a_whole_snapshot_is_the_state() {
    let state = state();
    assert!(same(
        &read(&*written(&state, Scope::Whole), Limits::default()).unwrap(),
        &state
    ));
    let empty = State::empty(state.epoch);
    assert!(same(
        &read(&*written(&empty, Scope::Whole), Limits::default()).unwrap(),
        &empty
    ));
}

#[test]
fn a_configuration_snapshot_has_no_roster_and_the_same_digest() {
    let state = state();
    let read = read(&*written(&state, Scope::Configuration), Limits::default()).unwrap();
    assert_eq!(
        (read.revision, read.configured, read.digest),
        (Revision(2), Revision(2), state.digest)
    );
    assert!(read.objects.keys().all(|key| key.kind.is_configuration()));
    assert_eq!(read.objects.len(), 3);
}

#[test]
fn the_lines_are_what_the_format_says() {
    let text = text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        r#"{"header":{"format":1,"epoch":"00000000-0000-0000-0000-000000000007","revision":3,"configured":2}}"#
    );
    assert_eq!(
        lines[2],
        r#"{"object":{"kind":"upstream","key":"web/127.0.0.1:1","revision":1,"registration":1,"body":{}}}"#
    );
    assert!(lines[6].starts_with(r#"{"trailer":{"count":5,"digest":""#));
    assert_eq!(lines.len(), 7);
    assert!(same(&read_text(&text).unwrap(), &state()));
}

#[test]
fn every_truncation_is_noticed() {
    let whole = written(&state(), Scope::Whole);
    for length in 0..whole.len() {
        let error = read(&whole[..length], Limits::default()).unwrap_err();
        assert!(matches!(error, SnapshotError::Truncated), "{length}: {error}");
    }
    let text = text();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for count in 0..lines.len() {
        let error = read_text(&lines[..count].concat()).unwrap_err();
        assert!(matches!(error, SnapshotError::Truncated), "{count} lines: {error}");
    }
    assert!(matches!(read_text(text.trim_end()), Err(SnapshotError::Truncated)));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let whole = written(&state(), Scope::Whole);
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // A bit in the frame's descriptor may say nothing about the content; then the content is what it was.
        if let Ok(read) = read(&*bytes, Limits::default()) {
            assert!(same(&read, &state()), "bit {bit}");
        }
    }
}

#[test]
fn wrong_lines_are_corrupt_and_named() {
    let text = text();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let with = |order: &[usize]| order.iter().map(|&line| lines[line]).collect::<String>();
    for (wrong, at) in [
        (with(&[1]), 1),
        (with(&[0, 0]), 2),
        (with(&[0, 2, 1]), 3),
        (with(&[0, 1, 1]), 3),
        (with(&[0, 1, 2, 3, 4, 5, 6, 6]), 8),
        (text.replacen("\"revision\":1", "\"revision\":9", 1), 2),
        (text.replacen("\"configured\":2", "\"configured\":4", 1), 1),
        (text.replacen("\"kind\"", "\"sort\"", 1), 2),
        (format!("{}no JSON\n", lines[0]), 2),
        (format!("{text}{{}}\n"), 8),
    ] {
        match read_text(&wrong) {
            Err(SnapshotError::Corrupt { line, .. }) => assert_eq!(line, at, "{wrong}"),
            other => panic!("{other:?}: {wrong}"),
        }
    }
    let mut garbage = written(&state(), Scope::Whole);
    garbage.extend_from_slice(b"garbage");
    assert!(matches!(
        read(&*garbage, Limits::default()),
        Err(SnapshotError::Corrupt { line: 0, .. })
    ));
    assert!(matches!(
        read(&b"not compressed"[..], Limits::default()),
        Err(SnapshotError::Corrupt { line: 0, .. })
    ));
}

#[test]
fn count_and_digest_and_format_are_told_apart() {
    let text = text();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let fewer: String = lines
        .iter()
        .enumerate()
        .filter(|(line, _)| *line != 2)
        .map(|(_, line)| *line)
        .collect();
    assert!(matches!(
        read_text(&fewer),
        Err(SnapshotError::Count { said: 5, found: 4 })
    ));
    let other = text.replacen("1.0e3", "1.0e4", 1);
    assert!(matches!(read_text(&other), Err(SnapshotError::Digest { said, found }) if said != found));
    let later = text.replacen("\"format\":1", "\"format\":2", 1);
    assert!(matches!(read_text(&later), Err(SnapshotError::Format(2))));
}

#[test]
fn limits_hold_while_reading() {
    let whole = written(&state(), Scope::Whole);
    let exceeded = |limits: Limits| match read(&*whole, limits) {
        Err(SnapshotError::TooLarge(exceeded)) => exceeded,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        exceeded(Limits {
            bytes: 200,
            ..Limits::default()
        }),
        Exceeded::Bytes(200)
    );
    assert_eq!(
        exceeded(Limits {
            objects: 4,
            ..Limits::default()
        }),
        Exceeded::Objects(4)
    );
    assert_eq!(
        exceeded(Limits {
            line_bytes: 50,
            ..Limits::default()
        }),
        Exceeded::Line(50)
    );
    let exact = Limits {
        bytes: text().len() as u64,
        objects: 5,
        line_bytes: 120,
    };
    assert!(read(&*whole, exact).is_ok());
    // A megabyte of line from a few bytes on the wire.
    let bomb = zstd::encode_all(&*vec![b' '; 64 << 20], 1).unwrap();
    let limits = Limits {
        line_bytes: 1 << 20,
        ..Limits::default()
    };
    assert!(matches!(
        read(&*bomb, limits),
        Err(SnapshotError::TooLarge(Exceeded::Line(_)))
    ));
}

#[test]
fn an_error_of_the_source_is_no_word_about_the_snapshot() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let whole = written(&state(), Scope::Whole);
    let error = read((&whole[..20]).chain(Failing), Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "the snapshot cannot be read: the disk is gone");
}
