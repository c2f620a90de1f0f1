//! Stories about documents, and random ones that are cut into many revisions.

mod cutting;

use serde_json::{Value, json};
use shared::change::Epoch;
use shared::state::State;
use uuid::Uuid;

use super::*;

const LIMIT: &str = "5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b";

fn empty() -> Head {
    Head::of(State::empty(Epoch(Uuid::nil())))
}

fn read(document: &Value, rest: Rest) -> Result<Arc<Wanted>, Box<Problem>> {
    Wanted::read(&document.to_string(), rest).map(Arc::new)
}

fn wanted(document: &Value, rest: Rest) -> Arc<Wanted> {
    read(document, rest).unwrap_or_else(|problem| panic!("{document}: {problem:?}"))
}

/// The head once all of it is done in one revision, and what was done.
fn apply(head: &Head, document: &Value, rest: Rest) -> (Head, Vec<String>) {
    let change = wanted(document, rest).change(head).unwrap();
    let done = change.ops.iter().map(|op| match op.verb {
        Verb::Put => format!("put {}", op.object()),
        Verb::Delete => format!("delete {}", op.object()),
    });
    (head.with(&change.ops, head.state.revision.next()), done.collect())
}

fn refused(head: &Head, document: &Value, rest: Rest) -> Problem {
    match read(document, rest) {
        Ok(wanted) => *wanted.change(head).unwrap_err(),
        Err(problem) => *problem,
    }
}

fn fields(problem: &Problem) -> Vec<&str> {
    problem.errors.iter().map(|error| error.field.as_str()).collect()
}

fn everything() -> Value {
    json!({
        "services": {
            "auth": {"match": []},
            "web": {"match": [{"hosts": ["web.test"]}], "authorizer": "main", "upstreams": {"a": {"address": "127.0.0.1:1"}, "127.0.0.1:2": {}}},
        },
        "authorizers": {"main": {"service": "auth"}},
        "limits": {LIMIT: {"threshold": 5}},
    })
}

#[test]
fn a_document_is_one_revision_and_then_it_stands() {
    let (head, done) = apply(&empty(), &everything(), Rest::Stays);
    let expected = [
        "put service/auth",
        "put service/web",
        "put upstream/web/127.0.0.1:2",
        "put upstream/web/a",
        "put authorizer/main",
        "put limit/5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b",
    ];
    assert_eq!(done, expected);
    assert_eq!(head.table.refused().count(), 0);
    assert!(apply(&head, &everything(), Rest::Goes).1.is_empty());
    assert!(apply(&head, &json!({}), Rest::Stays).1.is_empty());
    let (head, done) = apply(&head, &json!({}), Rest::Goes);
    assert_eq!(done.len(), 6);
    assert_eq!(head.state.objects.len(), 0);
}

#[test]
fn every_error_has_its_whole_path() {
    let document = json!({
        "services": {
            "web": {"match": [{"path_regex": "("}], "color": 1, "upstreams": {"a": {"address": "a:1", "weight": -1}, "b c": {}, "127.0.0.1:1": {"id": "a:2"}}},
            "a.b": {"match": [], "revision": "x"},
            "Not a name": {},
            "odd": 5,
            "odder": {"match": [], "upstreams": []},
        },
        "authorizers": {"main": {}},
        "limits": {"x": {}, LIMIT: {"period": 0, "threshold": 1}},
        "service": {},
    });
    let problem = refused(&empty(), &document, Rest::Stays);
    assert_eq!((problem.kind, problem.status), ("invalid", 422));
    let mut found = fields(&problem);
    found.sort_unstable();
    let expected = [
        "authorizers.main.service",
        "limits[\"5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b\"].period",
        "limits[\"x\"]",
        "service",
        "services.odd",
        "services.odd.match",
        "services.odder.upstreams",
        "services.web.color",
        "services.web.match[0].path_regex",
        "services.web.upstreams[\"127.0.0.1:1\"].id",
        "services.web.upstreams[\"a\"].weight",
        "services.web.upstreams[\"b c\"]",
        "services[\"Not a name\"]",
        "services[\"a.b\"].revision",
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_says_a_thing_twice_or_is_no_json_is_malformed() {
    let upper = LIMIT.to_ascii_uppercase();
    for (text, field) in [
        ("{", ""),
        (
            r#"{"services": {"web": {"match": []}, "web": {"match": []}}}"#,
            "services.web",
        ),
        (r#"{"limits": {}, "limits": {}}"#, "limits"),
        (
            r#"{"services": {"web": {"match": [{"hosts": [], "hosts": []}]}}}"#,
            "services.web.match[0].hosts",
        ),
        (
            r#"{"services": {"web": {"upstreams": {}, "upstreams": {}}}}"#,
            "services.web.upstreams",
        ),
        (
            &format!(r#"{{"limits": {{"{LIMIT}": {{"threshold": 1}}, "{upper}": {{"threshold": 1}}}}}}"#),
            &format!("limits[\"{LIMIT}\"]"),
        ),
    ] {
        let problem = Wanted::read(text, Rest::Stays).unwrap_err();
        assert_eq!((problem.kind, fields(&problem)), ("malformed", vec![field]), "{text}");
    }
    assert_eq!(refused(&empty(), &json!([]), Rest::Stays).kind, "invalid");
}

#[test]
fn no_more_than_a_hundred_errors_are_named() {
    let services: serde_json::Map<String, Value> = (0..150).map(|n| (format!("s{n}"), json!({}))).collect();
    let problem = refused(&empty(), &json!({ "services": services }), Rest::Stays);
    assert_eq!((problem.errors.len(), &problem.extra["more"]), (100, &json!(50)));
    assert!(problem.detail.ends_with("and 147 more"), "{}", problem.detail);
}

#[test]
fn what_is_named_must_be_there_when_all_is_done() {
    let alone = json!({"services": {"web": {"match": [], "authorizer": "main"}}});
    assert_eq!(
        fields(&refused(&empty(), &alone, Rest::Stays)),
        ["services.web.authorizer"]
    );
    let (head, _) = apply(&empty(), &everything(), Rest::Stays);
    apply(&head, &alone, Rest::Stays);
    // It is there now, and would go.
    assert_eq!(fields(&refused(&head, &alone, Rest::Goes)), ["services.web.authorizer"]);
    let unchanged = json!({"services": everything()["services"], "limits": {}});
    assert_eq!(
        fields(&refused(&head, &unchanged, Rest::Goes)),
        ["services.web.authorizer"]
    );
    let mut without = everything();
    without["services"].as_object_mut().unwrap().remove("auth");
    assert_eq!(
        fields(&refused(&head, &without, Rest::Goes)),
        ["authorizers.main.service"]
    );
}

#[test]
fn two_that_would_share_a_match_are_told_and_one_that_takes_over_is_not() {
    let of = |first: &str, second: &str| json!({"services": {"a": {"match": [{"hosts": [first]}]}, "b": {"match": [{"hosts": [second]}]}}});
    let problem = refused(&empty(), &of("x.test", "x.test"), Rest::Stays);
    assert_eq!(
        (problem.kind, fields(&problem)),
        ("conflict", vec!["services.b.match[0]"])
    );
    assert_eq!(problem.extra["with"], "a");
    let (head, _) = apply(&empty(), &of("x.test", "y.test"), Rest::Stays);
    let (swapped, done) = apply(&head, &of("y.test", "x.test"), Rest::Stays);
    assert_eq!(done, ["put service/a", "put service/b"]);
    let other = json!({"services": {"c": {"match": [{"hosts": ["x.test"]}]}}});
    assert_eq!(refused(&swapped, &other, Rest::Stays).extra["with"], "b");
    assert_eq!(apply(&swapped, &other, Rest::Goes).1.len(), 3);
}

#[test]
fn what_was_shown_can_be_applied_unless_it_is_another_by_now() {
    let (head, _) = apply(&empty(), &everything(), Rest::Stays);
    let mut shown = json!({"services": {"web": {"match": [{"hosts": ["web.test"]}], "authorizer": "main", "name": "web", "revision": 1,
        "upstreams": {"a": {"address": "127.0.0.1:1", "id": "a", "service": "web", "revision": 1}}}}});
    assert!(apply(&head, &shown, Rest::Stays).1.is_empty());
    shown["services"]["web"]["upstreams"]["a"]["revision"] = json!(7);
    let stale = refused(&head, &shown, Rest::Stays);
    assert_eq!(fields(&stale), ["services.web.upstreams[\"a\"].revision"]);
    let absent = json!({"services": {"new": {"match": [], "revision": 1}}});
    assert_eq!(fields(&refused(&head, &absent, Rest::Stays)), ["services.new.revision"]);
}

#[test]
fn a_registration_goes_on_with_its_address_alone() {
    let with = |address: &str, weight: u32| json!({"services": {"web": {"match": [], "upstreams": {"a": {"address": address, "weight": weight}}}}});
    let registration = |head: &Head| head.state.get(&ObjectKey::upstream("web", "a")).unwrap().registration;
    let (head, _) = apply(&empty(), &with("h:1", 1), Rest::Stays);
    let (heavier, done) = apply(&head, &with("h:1", 2), Rest::Stays);
    assert_eq!((registration(&heavier), done.len()), (registration(&head), 1));
    let (moved, _) = apply(&heavier, &with("h:2", 2), Rest::Stays);
    assert_eq!(registration(&moved), Some(Revision(3)));
}

#[test]
fn what_happened_since_it_was_planned_is_looked_at_again() {
    let (head, _) = apply(&empty(), &everything(), Rest::Stays);
    let mut document = everything();
    document["limits"][LIMIT]["threshold"] = json!(6);
    let wanted = wanted(&document, Rest::Goes);
    let planned = wanted.change(&head).unwrap();
    let keys = planned.revisions[0].clone();
    assert_eq!(keys.len(), 1);
    let decide = wanted.whole(Arc::new(head.clone()), keys);
    let others = json!({"services": {"web": {"match": [], "upstreams": {"a": {"address": "127.0.0.1:9"}}}, "late": {"match": []}}});
    let (moved, _) = apply(&head, &others, Rest::Stays);
    let Decision::Append(ops) = decide(&moved) else {
        panic!()
    };
    let done: Vec<String> = ops.iter().map(|op| op.object().to_string()).collect();
    let limit = format!("limit/{LIMIT}");
    assert_eq!(done, ["service/late", "service/web", "upstream/web/a", &limit]);
    assert!(wanted.change(&moved.with(&ops, Revision(9))).unwrap().ops.is_empty());
}
