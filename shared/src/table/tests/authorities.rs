//! Authorizers in a table, and what was revoked there.

use super::{delete, put};
use crate::change::{Epoch, Kind, Op, Revision};
use crate::model::{Holder, TokenHash};
use crate::state::State;
use crate::table::{Authority, Cause, Table};

fn authorizer(json: &str) -> Op {
    put(Kind::Authorizer, "main", json)
}

fn revoke(json: &str) -> Op {
    put(Kind::Revocation, "main", json)
}

fn holder(username: &str) -> Holder {
    Holder {
        username: username.into(),
        token: TokenHash::of(username),
    }
}

/// Each operation in a revision of its own, from 1 on.
fn table(ops: &[Op]) -> Table {
    let revisions = (1..).map(Revision);
    let fold = |table: Table, (op, revision): (&Op, Revision)| table.apply(std::slice::from_ref(op), revision).table;
    ops.iter().zip(revisions).fold(Table::default(), fold)
}

fn main(table: &Table) -> &Authority {
    table.authority(&"main".try_into().unwrap()).unwrap()
}

#[test]
fn a_revocation_is_of_whom_it_names_and_of_what_was_said_before() {
    let table = table(&[
        authorizer(r#"{"service":"auth"}"#),
        revoke(r#"{"username":"bob"}"#),
        revoke(r#"{"username":"eve"}"#),
    ]);
    let authority = main(&table);
    assert_eq!((authority.revision, authority.generation()), (Revision(1), Revision(3)));
    let revoked = |generation, username| authority.is_revoked(Revision(generation), &holder(username));
    assert!(revoked(0, "bob") && revoked(1, "bob") && !revoked(2, "bob"));
    assert!(revoked(1, "eve") && revoked(2, "eve") && !revoked(3, "eve"));
    assert!(!revoked(0, "alice"));
}

#[test]
fn revocations_outlast_a_change_of_their_authorizer_and_not_its_end() {
    let mut ops = vec![authorizer(r#"{"service":"auth"}"#), revoke("{}")];
    ops.push(authorizer(r#"{"service":"other"}"#));
    assert_eq!(main(&table(&ops)).generation(), Revision(2));
    ops.push(delete(Kind::Authorizer, "main"));
    assert!(table(&ops).authority(&"main".try_into().unwrap()).is_none());
    ops.push(authorizer(r#"{"service":"auth"}"#));
    assert_eq!(main(&table(&ops)).generation(), Revision::ZERO);
}

#[test]
fn what_is_older_than_all_that_is_known_counts_as_revoked() {
    let mut ops = vec![authorizer(r#"{"service":"auth"}"#)];
    ops.extend(std::iter::repeat_n(revoke(r#"{"username":"bob"}"#), 300));
    let table = table(&ops);
    let revoked = |generation| main(&table).is_revoked(Revision(generation), &holder("alice"));
    assert_eq!(
        (revoked(1), revoked(44), revoked(45), revoked(300)),
        (true, true, false, false)
    );
}

#[test]
fn what_cannot_be_read_is_refused_and_lets_nobody_in() {
    let held = table(&[authorizer(r#"{"service":"auth"}"#)]);
    let applied = held.apply(&[authorizer(r#"{"service":"auth","style":"telepathy"}"#)], Revision(2));
    assert!(matches!(applied.refused[0].cause, Cause::Invalid(_)));
    assert_eq!(main(&applied.table).revision, Revision(1), "the last good one stays");
    let applied = held.apply(&[revoke(r#"{"planet":"earth"}"#)], Revision(2));
    assert!(matches!(applied.refused[0].cause, Cause::Invalid(_)));
    assert!(main(&applied.table).is_revoked(Revision(1), &holder("alice")));
}

#[test]
fn a_whole_state_knows_the_last_generation() {
    let mut state = State::empty(Epoch(uuid::Uuid::nil()));
    for (op, revision) in [revoke(r#"{"username":"bob"}"#), authorizer(r#"{"service":"auth"}"#)]
        .iter()
        .zip([7, 5])
    {
        state.apply_op(op, Revision(revision));
    }
    let (table, refused) = Table::of(&state);
    assert_eq!(refused, []);
    assert_eq!(
        (main(&table).revision, main(&table).generation()),
        (Revision(5), Revision(7))
    );
}
