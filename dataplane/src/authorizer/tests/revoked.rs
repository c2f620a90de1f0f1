//! What revocations leave of it.

use super::*;

#[test]
fn a_refresh_from_before_a_revocation_brings_nothing_back() {
    let mut world = World::new("", Limits::default());
    let now = Instant::now();
    world.remember(&by("bob", "x"), 60 * SECOND, now);
    // It ends soon: somebody asks again while it is still used.
    let refresh = world.begin(&by("bob", "x")).unwrap();
    assert!(world.knows(&by("bob", "x"), now));
    world.put(Kind::Revocation, r#"{"username":"bob"}"#);
    assert!(!world.knows(&by("bob", "x"), now));
    world.remember(&by("bob", "x"), 60 * SECOND, now);
    refresh.said(granted(60 * SECOND), "bob".into(), SECOND, now);
    assert!(!world.knows(&by("bob", "x"), now), "nor in the place of what is newer");
}

#[test]
fn calls_that_revocations_overtake_are_counted_until_they_end() {
    let mut world = World::new("", Limits::default());
    let mut calls = Vec::new();
    let is_full = (0..1_000).any(|_| {
        world.put(Kind::Revocation, r#"{"username":"bob"}"#);
        match world.begin(&by("bob", "x")) {
            Some(call) => calls.push(call),
            None => return true,
        }
        false
    });
    assert!(is_full && !calls.is_empty());
    drop(calls.pop());
    assert!(world.begin(&by("bob", "x")).is_some());
    calls.clear();
    assert!(world.begin(&by("bob", "x")).is_some());
}

/// As many as are told apart, and more, each followed by a new answer.
#[test]
fn a_thousand_revocations_leave_no_more_than_one_answer_each() {
    let mut world = World::new("", Limits::default());
    let now = Instant::now();
    let users: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    for round in 0..1_000 {
        for user in &users {
            if !world.knows(&by(user, "x"), now) {
                world.remember(&by(user, "x"), 60 * SECOND, now);
            }
        }
        let user = &users[round % users.len()];
        let revocation = match round % 3 {
            0 => "{}".to_owned(),
            _ => format!(r#"{{"username":"{user}"}}"#),
        };
        world.put(Kind::Revocation, &revocation);
        assert!(!world.knows(&by(user, "x"), now));
    }
    assert_eq!(world.memory.size().0, users.len());
}
