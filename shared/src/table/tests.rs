//! Stories about the table, and random tables against the plainest possible reading of the rules.

mod authorities;
mod changes;
mod explain;
mod holds;
mod order;
pub(super) mod random;
mod recipients;

use std::sync::Arc;

use super::{Applied, Headers, Query, Table};
use crate::change::{Body, Kind, Op, Revision, Verb};

pub(in crate::table) fn put(kind: Kind, key: &str, json: &str) -> Op {
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

pub(super) fn service(name: &str, json: &str) -> Op {
    put(Kind::Service, name, json)
}

pub(super) fn upstream(key: &str, json: &str) -> Op {
    put(Kind::Upstream, key, json)
}

pub(in crate::table) fn delete(kind: Kind, key: &str) -> Op {
    Op {
        verb: Verb::Delete,
        kind,
        key: key.into(),
        body: None,
        registration: None,
        before: None,
    }
}

/// A table of services, each given as its name and its matches.
pub(super) fn table(services: &[(&str, &str)]) -> Table {
    let ops: Vec<Op> = services
        .iter()
        .map(|(name, matches)| service(name, &format!(r#"{{"match":{matches}}}"#)))
        .collect();
    let Applied { table, refused, .. } = Table::default().apply(&ops, Revision(1));
    assert_eq!(refused, []);
    table
}

pub(super) fn route_with(table: &Table, method: &str, host: &str, path: &str, headers: &dyn Headers) -> Option<String> {
    let entry: Option<&Arc<_>> = table.route(&Query {
        host,
        path,
        method,
        headers,
    });
    entry.map(|entry| entry.service.name.to_string())
}

pub(super) fn route(table: &Table, host: &str, path: &str) -> Option<String> {
    route_with(table, "GET", host, path, &())
}
