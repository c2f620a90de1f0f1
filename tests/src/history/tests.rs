use serde_json::json;

use super::*;

fn put(object: &str, marker: u64, begun: u64, told: Told) -> Attempt {
    Attempt {
        actor: "ann".into(),
        object: object.into(),
        verb: Verb::Put,
        body: Some(json!({"match": [{"hosts": [format!("m{marker}")]}]})),
        if_match: None,
        begun,
        ended: begun + 5,
        told,
    }
}

fn delete(object: &str, begun: u64, told: Told) -> Attempt {
    Attempt {
        verb: Verb::Delete,
        body: None,
        ..put(object, 0, begun, told)
    }
}

fn at(revision: u64) -> Told {
    Told::Committed { revision }
}

fn unknown(op_id: &str) -> Told {
    Told::Unknown { op_id: op_id.into() }
}

/// A log in which each revision is the effect of one attempt, with the `before` that belongs there.
fn log(attempts: &[&Attempt]) -> Vec<Entry> {
    let mut log = Vec::new();
    for (revision, attempt) in (1..).zip(attempts) {
        let (fold, _) = Fold::of(&log);
        let (kind, key) = attempt.object.split_once('/').unwrap();
        let op = Op {
            verb: attempt.verb,
            kind: kind.into(),
            key: key.into(),
            body: attempt.body.clone(),
            registration: None,
            before: fold.at(&attempt.object, revision).cloned(),
        };
        log.push(Entry {
            revision,
            op_id: format!("op-{revision}"),
            actor: attempt.actor.clone(),
            ops: vec![op],
        });
    }
    log
}

/// Every kind of answer, and all of them true.
fn truthful() -> (Vec<Attempt>, Vec<Entry>) {
    let attempts = vec![
        put("service/a", 1, 0, at(1)),
        put("service/b", 2, 10, unknown("op-2")),
        put("service/c", 3, 10, unknown("op-nowhere")),
        put("service/d", 4, 20, Told::Nothing),
        put("service/e", 5, 20, Told::Nothing),
        put("service/f", 6, 30, Told::NotCommitted),
        Attempt {
            if_match: Some(1),
            ..put("service/a", 7, 40, at(4))
        },
        Attempt {
            if_match: Some(1),
            ..put("service/a", 8, 50, Told::OtherRevision)
        },
        put("upstream/x/1", 9, 60, Told::NoService),
        delete("service/a", 70, at(5)),
        delete("service/a", 80, at(5)),
        delete("service/d", 90, Told::Nothing),
        delete("service/d", 90, Told::NotCommitted),
    ];
    let log = log(&[
        &attempts[0],
        &attempts[1],
        &attempts[3],
        &attempts[6],
        &attempts[9],
        &attempts[11],
    ]);
    (attempts, log)
}

fn rules(attempts: &[Attempt], log: &[Entry]) -> Vec<Rule> {
    judge(attempts, log)
        .violations
        .iter()
        .map(|violation| violation.rule)
        .collect()
}

#[track_caller]
fn breaks(rule: Rule, change: impl Fn(&mut Vec<Attempt>, &mut Vec<Entry>)) {
    let (mut attempts, mut log) = truthful();
    change(&mut attempts, &mut log);
    let found = rules(&attempts, &log);
    assert!(found.contains(&rule), "{rule:?} was not found: {found:?}");
}

#[test]
fn what_is_true_is_not_accused() {
    let (attempts, log) = truthful();
    let verdict = judge(&attempts, &log);
    assert!(verdict.violations.is_empty(), "{:?}", verdict.violations);
    let expected = Tally {
        committed: 3,
        stood_already: 1,
        not_committed: 2,
        unknown_and_there: 1,
        unknown_and_absent: 1,
        unanswered_and_there: 2,
        unanswered_and_absent: 1,
        refused: 2,
    };
    assert_eq!(verdict.tally, expected);
    let standing: Vec<String> = verdict.fold.standing().into_keys().collect();
    assert_eq!(standing, ["service/b"]);
}

#[test]
fn a_gap_is_found() {
    breaks(Rule::Gap, |_, log| drop(log.remove(2)));
    breaks(Rule::Gap, |_, log| log.swap(1, 2));
    breaks(Rule::Gap, |_, log| log[0].revision = 0);
}

#[test]
fn an_operation_id_used_twice_is_found() {
    breaks(Rule::AppendedTwice, |_, log| log[3].op_id = log[0].op_id.clone());
}

#[test]
fn a_write_done_twice_is_found() {
    breaks(Rule::AppendedTwice, |_, log| {
        let mut again = log[0].clone();
        (again.revision, again.op_id) = (7, "op-7".into());
        log.push(again);
    });
}

#[test]
fn a_committed_write_that_is_gone_is_found() {
    // Also where the revisions close up behind it.
    breaks(Rule::Lost, |_, log| log[3].ops.clear());
    breaks(Rule::Lost, |attempts, _| attempts[0].told = at(4));
    breaks(Rule::Lost, |attempts, _| attempts[10].told = at(99));
    breaks(Rule::Lost, |_, log| {
        log[0].ops[0].body = Some(json!({"match": [{"hosts": ["other"]}]}))
    });
}

#[test]
fn a_write_that_was_denied_and_is_there_is_found() {
    breaks(Rule::Denied, |attempts, _| attempts[0].told = Told::NotCommitted);
    breaks(Rule::Denied, |attempts, _| attempts[11].told = Told::NotCommitted);
    breaks(Rule::Denied, |attempts, _| attempts[6].told = Told::OtherRevision);
}

#[test]
fn an_operation_id_of_another_write_is_found() {
    breaks(Rule::Misattributed, |attempts, _| attempts[1].told = unknown("op-3"));
}

#[test]
fn what_nobody_asked_for_is_found() {
    breaks(Rule::MadeUp, |attempts, _| drop(attempts.remove(3)));
    breaks(Rule::MadeUp, |_, log| log[1].actor = "bob".into());
}

#[test]
fn a_wrong_before_is_found() {
    breaks(Rule::WrongBefore, |_, log| log[4].ops[0].before = None);
    breaks(Rule::WrongBefore, |_, log| {
        log[3].ops[0].before.as_mut().unwrap().revision = 3
    });
    breaks(Rule::WrongBefore, |_, log| {
        log[1].ops[0].before = log[3].ops[0].before.clone()
    });
}

#[test]
fn a_write_that_came_too_early_is_found() {
    // It began after revision 4 was told, and is revision 2.
    breaks(Rule::Overtaken, |attempts, _| attempts[1].begun = 60);
}

#[test]
fn an_answer_from_a_memory_that_lags_is_found() {
    // `b` stands from revision 2 on.
    breaks(Rule::Lost, |attempts, _| attempts.push(delete("service/b", 60, at(4))));
    breaks(Rule::Untrue, |attempts, _| {
        attempts.push(delete("service/c", 80, at(4)))
    });
    breaks(Rule::Untrue, |attempts, _| {
        attempts.push(put("upstream/b/1", 10, 60, Told::NoService));
    });
}

#[test]
fn a_condition_that_did_not_hold_is_found() {
    breaks(Rule::ConditionBroken, |attempts, _| attempts[6].if_match = Some(2));
    breaks(Rule::Untrue, |attempts, _| {
        attempts[7].if_match = Some(4);
        attempts[7].begun = 60;
        attempts[7].ended = 61;
        attempts[9].begun = 65;
    });
}

#[test]
fn upstreams_go_with_their_service() {
    let service = put("service/a", 1, 0, at(1));
    let upstream = put("upstream/a/1", 2, 10, at(2));
    let gone = delete("service/a", 20, at(3));
    let mut log = log(&[&service, &upstream, &gone]);
    let before = Fold::of(&log).0.at("upstream/a/1", 2).cloned();
    let with_it = Op {
        verb: Verb::Delete,
        kind: "upstream".into(),
        key: "a/1".into(),
        body: None,
        registration: None,
        before,
    };
    log[2].ops.push(with_it);
    assert_eq!(rules(&[service.clone(), upstream.clone(), gone.clone()], &log), []);
    log[2].ops.remove(0);
    assert_eq!(rules(&[service, upstream, gone], &log), [Rule::Lost, Rule::MadeUp]);
}
