//! Who takes mail for whom, and who says who may send it.

use super::{delete, service, table};
use crate::change::{Kind, Op, Revision};
use crate::table::{Applied, Cause, Table};

fn taken_by(table: &Table, recipient: &str) -> Option<String> {
    table.route_mail(recipient).map(|entry| entry.service.name.to_string())
}

fn submission(table: &Table) -> Vec<String> {
    table.submission().map(|entry| entry.service.name.to_string()).collect()
}

fn apply(table: &Table, ops: &[Op], revision: u64) -> Applied {
    table.apply(ops, Revision(revision))
}

fn mail(name: &str, recipients: &str, more: &str) -> Op {
    service(name, &format!(r#"{{"match":[{{"recipients":{recipients}}}]{more}}}"#))
}

#[test]
fn address_before_domain_before_the_longest_wildcard_before_any() {
    let ops = [
        mail("any", r#"["*"]"#, r#","open":true"#),
        mail("short", r#"["*.org"]"#, ""),
        mail("long", r#"["*.example.org"]"#, ""),
        mail("domain", r#"["example.org","a.example.org","bücher.example"]"#, ""),
        mail("sales", r#"["sales@example.org","Büro@Bücher.example"]"#, ""),
        service("web", r#"{"match":[{}]}"#),
    ];
    let Applied { table, refused, .. } = apply(&Table::default(), &ops, 1);
    assert_eq!(refused, []);
    for (recipient, expected) in [
        ("sales@example.org", "sales"),
        ("SALES@Example.ORG.", "sales"),
        (r#""sales"@example.org"#, "sales"),
        (r#""sa\les"@example.org"#, "sales"),
        ("BÜRO@BÜCHER.example", "sales"),
        ("sales+tag@example.org", "domain"),
        ("other@BÜCHER.EXAMPLE", "domain"),
        ("x@xn--bcher-kva.example", "any"),
        ("a@example.org", "domain"),
        (r#""a@b"@example.org"#, "domain"),
        ("a@a.example.org", "domain"),
        ("a@b.example.org", "long"),
        ("a@c.b.example.org", "long"),
        ("a@other.org", "short"),
        ("a@org", "any"),
        ("a@.org", "any"),
        ("a@[192.0.2.1]", "any"),
        ("postmaster", "any"),
        ("example.org", "any"),
        ("", "any"),
    ] {
        assert_eq!(taken_by(&table, recipient).as_deref(), Some(expected), "{recipient}");
    }
    let without = apply(&table, &[delete(Kind::Service, "any")], 2).table;
    for nobody in ["postmaster", "a@org", "example.org"] {
        assert_eq!(taken_by(&without, nobody), None, "{nobody}");
    }
}

#[test]
fn services_that_take_mail_get_no_requests() {
    let table = table(&[("mail", r#"[{"recipients":["example.org"]}]"#)]);
    assert_eq!(super::route(&table, "example.org", "/"), None);
    let both = r#"[{"hosts":["a.example"]},{"recipients":["a.example"]}]"#;
    let table = super::table(&[("both", both)]);
    assert_eq!(super::route(&table, "a.example", "/").as_deref(), Some("both"));
    assert_eq!(taken_by(&table, "x@a.example").as_deref(), Some("both"));
}

#[test]
fn a_pattern_is_one_services() {
    let first = mail("first", r#"["a.example","b.example"]"#, "");
    let held = apply(&Table::default(), &[first], 1).table;
    let second = r#"{"match":[{},{"recipients":["c.example","B.Example."]}]}"#;
    let refused = apply(&held, &[service("second", second)], 2);
    let causes: Vec<_> = refused.refused.iter().map(|refusal| &refusal.cause).collect();
    let [Cause::Taken { with, field }] = causes.as_slice() else {
        panic!("{causes:?}")
    };
    assert_eq!((with.as_str(), field.as_str()), ("first", "match[1].recipients[1]"));
    assert_eq!(taken_by(&refused.table, "x@c.example"), None, "nothing of it is in");

    // Another form of a pattern's holder keeps what it has, and in one revision it may be handed over.
    let again = mail("first", r#"["b.example"]"#, r#","max_body":7"#);
    let again = apply(&refused.table, &[again], 3);
    assert_eq!(again.refused, []);
    let over = [mail("first", r#"["a.example"]"#, ""), service("second", second)];
    let over = apply(&again.table, &over, 4);
    assert_eq!(over.refused, []);
    assert_eq!(taken_by(&over.table, "x@b.example").as_deref(), Some("second"));
    assert_eq!(taken_by(&over.table, "x@a.example").as_deref(), Some("first"));
    let gone = [delete(Kind::Service, "first"), delete(Kind::Service, "second")];
    let gone = apply(&over.table, &gone, 5).table;
    assert!(gone.recipients.is_empty() && gone.hosts.is_empty());
}

#[test]
fn the_authorizer_of_submissions_is_that_of_any_or_the_only_one() {
    let auth = |name: &str| format!(r#","authorizer":"{name}""#);
    let mut table = Table::default();
    let mut step = |revision: u64, op: Op| {
        table = apply(&table, &[op], revision).table;
        submission(&table)
    };
    assert_eq!(step(1, mail("in", r#"["a.example"]"#, "")), [""; 0]);
    assert_eq!(step(2, mail("b", r#"["b.example"]"#, &auth("one"))), ["b"]);
    assert_eq!(step(3, mail("c", r#"["c.example"]"#, &auth("one"))), ["b", "c"]);
    assert_eq!(step(4, mail("d", r#"["d.example"]"#, &auth("two"))), [""; 0]);
    assert_eq!(step(5, mail("out", r#"["*"]"#, &auth("two"))), ["out"]);
    assert_eq!(step(6, mail("out", r#"["*"]"#, r#","open":true"#)), [""; 0]);
    assert_eq!(step(7, mail("d", r#"["d.example"]"#, &auth("one"))), ["b", "c", "d"]);
    let web = service("web", r#"{"match":[{}],"authorizer":"two"}"#);
    assert_eq!(step(8, web), ["b", "c", "d"], "it takes no mail");
}

#[test]
fn the_largest_message_is_that_of_the_service_that_takes_most() {
    let table = apply(
        &Table::default(),
        &[service("web", r#"{"match":[{}],"max_body":9}"#)],
        1,
    )
    .table;
    assert_eq!(table.mail_bytes_max(), None);
    let ops = [
        mail("a", r#"["a.example"]"#, r#","max_body":7"#),
        mail("b", r#"["b.example"]"#, r#","max_body":5"#),
    ];
    let table = apply(&table, &ops, 2).table;
    assert_eq!(table.mail_bytes_max(), Some(7));
    assert_eq!(
        apply(&table, &[delete(Kind::Service, "a")], 3).table.mail_bytes_max(),
        Some(5)
    );
}
