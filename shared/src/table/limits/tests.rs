//! Which limits a request counts for: the rules as tables, and random limits against the plainest reading of them.

mod counted;
mod random;
mod rules;

use super::Asked;
use crate::change::{Kind, Op, Revision};
use crate::table::tests::{delete, put};
use crate::table::{Applied, Table};

/// The id of the `n`th.
pub(super) fn id(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

pub(super) fn limit(n: usize, members: &str) -> Op {
    put(Kind::Limit, &id(n), &format!(r#"{{"threshold":1{members}}}"#))
}

pub(super) fn gone(n: usize) -> Op {
    delete(Kind::Limit, &id(n))
}

/// Of limits with the numbers from 0 on.
pub(super) fn table(limits: &[&str]) -> Table {
    let ops: Vec<Op> = limits
        .iter()
        .enumerate()
        .map(|(n, members)| limit(n, members))
        .collect();
    let Applied { table, refused, .. } = Table::default().apply(&ops, Revision(1));
    assert_eq!(refused, []);
    table
}

pub(super) const ASKED: Asked<'static> = Asked {
    service: "web",
    auth_token: "alice@example.com",
    protocol: "HTTP",
    method: "GET",
    path: "/",
    length: Some(0),
};

/// The numbers of those that match.
pub(super) fn found(table: &Table, asked: Asked<'_>) -> Vec<usize> {
    let number = |id: String| id[24..].parse().unwrap();
    let found = table.limits(&asked);
    found
        .iter()
        .map(|in_force| number(in_force.limit.id.to_string()))
        .collect()
}
