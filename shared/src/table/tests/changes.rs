//! What a revision does to a table: refusals, hand-overs, orphans.

use super::{delete, put, route, service, table, upstream};
use crate::change::{Kind, ObjectKey, Op, Revision};
use crate::model::{Address, ServiceName};
use crate::table::{Applied, Cause, Table};

fn apply(table: &Table, ops: &[Op], revision: u64) -> Applied {
    table.apply(ops, Revision(revision))
}

fn refused(applied: &Applied) -> Vec<(ObjectKey, Cause)> {
    applied
        .refused
        .iter()
        .map(|refusal| (refusal.object.clone(), refusal.cause.clone()))
        .collect()
}

fn conflict(with: &str, field: &str) -> Cause {
    Cause::Conflict {
        with: ServiceName::try_from(with).unwrap(),
        field: field.to_owned(),
    }
}

fn places(table: &Table, address: &str) -> Vec<String> {
    let address = Address::try_from(address).unwrap();
    table
        .at(&address)
        .map(|(service, id)| format!("{service}/{id}"))
        .collect()
}

#[test]
fn two_services_with_the_same_match_conflict_and_the_other_is_named() {
    let held = r#"[{},{"hosts":["a.example"],"path_prefix":"/v2","headers":{"x-a":"1"},"methods":["GET","PUT"]}]"#;
    let before = table(&[("first", held)]);
    for (matches, conflicts) in [
        (
            r#"[{"path_prefix":"/v2"},{"hosts":["A.example."],"path_prefix":"/v2/","headers":{"X-A":"1"},"methods":["PUT"]}]"#,
            true,
        ),
        (r#"[{"path_prefix":"/v2"},{"path_prefix":"/"}]"#, true),
        (
            r#"[{"hosts":["b.example","a.example"],"path_prefix":"/v2","headers":{"x-a":"1"},"methods":["PUT"]}]"#,
            true,
        ),
        (
            r#"[{"hosts":["a.example"],"path_prefix":"/v2","headers":{"x-a":"1"},"methods":["POST"]}]"#,
            false,
        ),
        (
            r#"[{"hosts":["a.example"],"path_prefix":"/v2","headers":{"x-a":"1"}}]"#,
            false,
        ),
        (
            r#"[{"hosts":["a.example"],"path_prefix":"/v2","headers":{"x-a":"2"},"methods":["GET"]}]"#,
            false,
        ),
        (
            r#"[{"hosts":["a.example"],"path_regex":"/v2","headers":{"x-a":"1"},"methods":["GET"]}]"#,
            false,
        ),
        (
            r#"[{"hosts":["*.a.example"],"path_prefix":"/v2","headers":{"x-a":"1"},"methods":["GET"]}]"#,
            false,
        ),
        (r#"[{"priority":1}]"#, false),
    ] {
        let applied = apply(&before, &[service("second", &format!(r#"{{"match":{matches}}}"#))], 2);
        assert_eq!(!applied.refused.is_empty(), conflicts, "{matches}");
        if conflicts {
            let field = if matches.starts_with("[{\"path") {
                "match[1]"
            } else {
                "match[0]"
            };
            assert_eq!(
                refused(&applied),
                [(ObjectKey::service("second"), conflict("first", field))]
            );
            assert!(applied.table.entry("second").is_none());
        }
    }
}

#[test]
fn a_service_may_repeat_itself() {
    let table = table(&[("one", r#"[{},{"path_prefix":"/"},{"hosts":["*"]}]"#)]);
    assert_eq!(route(&table, "h", "/").as_deref(), Some("one"));
    let gone = apply(&table, &[delete(Kind::Service, "one")], 2).table;
    assert!(gone.hosts.is_empty() && gone.claims.is_empty());
}

#[test]
fn matches_change_hands_within_a_revision() {
    let before = table(&[("a", r#"[{"path_prefix":"/x"}]"#), ("b", r#"[{"path_prefix":"/y"}]"#)]);
    let swap = [
        service("a", r#"{"match":[{"path_prefix":"/y"}]}"#),
        service("b", r#"{"match":[{"path_prefix":"/x"}]}"#),
    ];
    let applied = apply(&before, &swap, 2);
    assert_eq!(applied.refused, []);
    assert_eq!(route(&applied.table, "h", "/x").as_deref(), Some("b"));
    let moved = [
        service("c", r#"{"match":[{"path_prefix":"/x"}]}"#),
        delete(Kind::Service, "a"),
    ];
    let applied = apply(&before, &moved, 2);
    assert_eq!(applied.refused, []);
    assert_eq!(route(&applied.table, "h", "/x").as_deref(), Some("c"));
    assert_eq!(route(&before, "h", "/x").as_deref(), Some("a"));
}

#[test]
fn a_refused_service_takes_back_what_another_took_from_it() {
    let before = table(&[
        ("a", r#"[{"path_prefix":"/a"}]"#),
        ("b", r#"[{"path_prefix":"/b"}]"#),
        ("keeper", r#"[{"path_prefix":"/kept"}]"#),
    ]);
    let ops = [
        service("a", r#"{"match":[{"path_prefix":"/kept"}]}"#),
        service("b", r#"{"match":[{"path_prefix":"/a"}]}"#),
        service("c", r#"{"match":[{"path_prefix":"/b"}]}"#),
        service("d", r#"{"match":[{"path_prefix":"/d"}]}"#),
    ];
    let applied = apply(&before, &ops, 2);
    assert_eq!(
        refused(&applied),
        [
            (ObjectKey::service("a"), conflict("keeper", "match[0]")),
            (ObjectKey::service("b"), conflict("a", "match[0]")),
            (ObjectKey::service("c"), conflict("b", "match[0]")),
        ]
    );
    for (path, expected) in [("/a", "a"), ("/b", "b"), ("/kept", "keeper"), ("/d", "d")] {
        assert_eq!(route(&applied.table, "h", path).as_deref(), Some(expected), "{path}");
    }
    assert_eq!(applied.touched, [ServiceName::try_from("d").unwrap()]);
}

#[test]
fn the_last_good_form_stays_and_the_rest_goes_on() {
    let before = table(&[("a", r#"[{"path_prefix":"/a"}]"#)]);
    let ops = [
        service("a", r#"{"match":[{"path_regex":"("}]}"#),
        service("b", r#"{"match":[{"path_prefix":"/b"}]}"#),
        upstream("a/127.0.0.1:1", "{}"),
        upstream("b/x", r#"{"address":"nowhere"}"#),
        put(Kind::from("of-tomorrow"), "l", "{}"),
    ];
    let applied = apply(&before, &ops, 2);
    let objects: Vec<String> = applied
        .refused
        .iter()
        .map(|refusal| refusal.object.to_string())
        .collect();
    assert_eq!(objects, ["service/a", "upstream/b/x", "of-tomorrow/l"]);
    assert_eq!(applied.refused, applied.table.refused().cloned().collect::<Vec<_>>());
    assert_eq!(route(&applied.table, "h", "/a").as_deref(), Some("a"));
    assert_eq!(route(&applied.table, "h", "/b").as_deref(), Some("b"));
    let entry = applied.table.entry("a").unwrap();
    assert_eq!((entry.revision, entry.upstreams.len()), (Revision(1), 1));

    let healed = [
        service("a", r#"{"match":[]}"#),
        delete(Kind::Upstream, "b/x"),
        delete(Kind::from("of-tomorrow"), "l"),
    ];
    let applied = apply(&applied.table, &healed, 3);
    assert_eq!((applied.refused.len(), applied.table.refused().count()), (0, 0));
    assert_eq!(applied.table.entry("a").unwrap().revision, Revision(3));
}

#[test]
fn an_upstream_waits_for_its_service() {
    let early = apply(
        &Table::default(),
        &[upstream("web/127.0.0.1:1", "{}"), upstream("web/127.0.0.1:2", "{}")],
        1,
    );
    assert_eq!(early.refused.len(), 2);
    assert_eq!(early.refused[0].cause, Cause::Orphan);
    assert_eq!(places(&early.table, "127.0.0.1:1"), [""; 0]);
    let fewer = apply(&early.table, &[delete(Kind::Upstream, "web/127.0.0.1:2")], 2);
    let applied = apply(&fewer.table, &[service("web", r#"{"match":[]}"#)], 3);
    assert_eq!((applied.refused.len(), applied.table.refused().count()), (0, 0));
    let registered = applied.table.entry("web").unwrap().upstreams.values().next().unwrap();
    assert_eq!(
        (registered.revision, registered.registration),
        (Revision(1), Revision(1))
    );
    assert_eq!(places(&applied.table, "127.0.0.1:1"), ["web/127.0.0.1:1"]);
    assert_eq!(places(&applied.table, "127.0.0.1:2"), [""; 0]);
}

#[test]
fn deleting_a_service_takes_its_upstreams_out() {
    let ops = [service("web", r#"{"match":[{}]}"#), upstream("web/127.0.0.1:1", "{}")];
    let before = apply(&Table::default(), &ops, 1).table;
    let whole = [delete(Kind::Service, "web"), delete(Kind::Upstream, "web/127.0.0.1:1")];
    let applied = apply(&before, &whole, 2);
    assert_eq!(applied.refused, []);
    assert_eq!(applied.touched, [ServiceName::try_from("web").unwrap()]);
    assert_eq!(
        (
            applied.table.entries().count(),
            places(&applied.table, "127.0.0.1:1").len()
        ),
        (0, 0)
    );
    let again = apply(&applied.table, &[service("web", r#"{"match":[{}]}"#)], 3).table;
    assert!(again.entry("web").unwrap().upstreams.is_empty());
}

#[test]
fn registrations_are_found_by_address() {
    let ops = [
        service("a", r#"{"match":[]}"#),
        service("b", r#"{"match":[]}"#),
        upstream("a/127.0.0.1:1", "{}"),
        upstream("a/one", r#"{"address":"127.0.0.1:1"}"#),
        upstream("b/one", r#"{"address":"127.0.0.1:1"}"#),
        upstream("b/two", r#"{"address":"127.0.0.1:11"}"#),
    ];
    let before = apply(&Table::default(), &ops, 1).table;
    assert_eq!(places(&before, "127.0.0.1:1"), ["a/127.0.0.1:1", "a/one", "b/one"]);
    let moved = apply(&before, &[upstream("a/one", r#"{"address":"127.0.0.1:11"}"#)], 2).table;
    assert_eq!(places(&moved, "127.0.0.1:1"), ["a/127.0.0.1:1", "b/one"]);
    assert_eq!(places(&moved, "127.0.0.1:11"), ["a/one", "b/two"]);
}

#[test]
fn a_registration_is_begun_or_kept_by_its_operation() {
    let ops = [service("a", r#"{"match":[]}"#), upstream("a/127.0.0.1:1", "{}")];
    let before = apply(&Table::default(), &ops, 4).table;
    let mut kept = upstream("a/127.0.0.1:1", r#"{"weight":5}"#);
    kept.registration = Some(Revision(4));
    let after = apply(&before, &[kept], 9).table;
    let registered = after.entry("a").unwrap().upstreams.values().next().unwrap().clone();
    assert_eq!(
        (registered.revision, registered.registration),
        (Revision(9), Revision(4))
    );
    assert_eq!(registered.upstream.weight, 5);
}

#[test]
fn a_move_is_unbroken_by_moves_and_broken_by_an_end() {
    let at = |port: u16| upstream("a/one", &format!(r#"{{"address":"h:{port}"}}"#));
    let drains = || {
        let mut op = upstream("a/one", r#"{"address":"h:3","state":"draining"}"#);
        op.registration = Some(Revision(3));
        op
    };
    let mut table = apply(&Table::default(), &[service("a", r#"{"match":[]}"#), at(1)], 1).table;
    for (revision, op, unbroken_since) in [
        (2, at(2), Some(1)),
        (3, at(3), Some(1)),
        (4, drains(), Some(1)),
        (5, at(4), Some(5)),
        (6, at(5), Some(5)),
        (7, delete(Kind::Upstream, "a/one"), None),
        (8, at(6), Some(8)),
    ] {
        table = apply(&table, &[op], revision).table;
        let registered = table.entry("a").unwrap().upstreams.values().next();
        assert_eq!(registered.map(|one| one.unbroken_since.0), unbroken_since, "{revision}");
    }
}

#[test]
fn an_untouched_entry_is_the_same_entry() {
    let before = table(&[("a", r#"[{"path_prefix":"/a"}]"#), ("b", r#"[{"path_prefix":"/b"}]"#)]);
    let after = apply(&before, &[upstream("a/127.0.0.1:1", "{}")], 2).table;
    assert!(std::sync::Arc::ptr_eq(
        before.entry("b").unwrap(),
        after.entry("b").unwrap()
    ));
    assert!(std::sync::Arc::ptr_eq(
        &before.entry("a").unwrap().service,
        &after.entry("a").unwrap().service
    ));
}
