//! The routing table: any operations and requests are survived, and changing it step by step leads to the table of the
//! whole state.

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::Arbitrary;
use shared::change::{ObjectKey, Op, Revision};
use shared::model::{HostPattern, Match, PathPattern, host, path};
use shared::table::{Cause, Entry, Query, Table};

use crate::log::Log;
use crate::operations::{Few, Step};

#[derive(Arbitrary, Debug)]
pub struct Input {
    revisions: Vec<Few<Step>>,
    requests: Vec<Request>,
}

#[derive(Arbitrary, Debug)]
struct Request {
    host: Spelled,
    path: Spelled,
    method: crate::operations::Method,
    headers: Few<(crate::operations::Field, crate::operations::Text)>,
}

#[derive(Arbitrary, Debug)]
enum Spelled {
    Host(crate::operations::Host),
    Path(crate::operations::Prefix),
    Any(String),
}

impl Spelled {
    fn text(&self) -> &str {
        match self {
            Spelled::Host(host) => host.0,
            Spelled::Path(path) => path.0,
            Spelled::Any(text) => text,
        }
    }
}

pub fn check(input: Input) {
    let mut log = Log::new(1);
    let mut table = Table::default();
    for steps in input.revisions.iter().take(32) {
        let ops: Vec<Op> = steps.0.iter().map(Step::op).collect();
        let revision = log.head().revision.next();
        // No log holds two operations on one object in a revision.
        table.apply(&ops, revision);
        let ops: Vec<Op> = once(ops).into_values().collect();
        let any = table.apply(&ops, revision);
        input.requests.iter().for_each(|request| fits(&any.table, request));
        let Some(commit) = log.commit(acceptable(&table, ops, revision)) else {
            continue;
        };
        let applied = table.apply(&commit.ops, revision);
        touched(&table, &applied.table, &applied.touched);
        table = applied.table;
        let (whole, refused) = Table::of(log.head());
        assert_eq!(entries(&table), entries(&whole));
        assert_eq!(table.refused().cloned().collect::<Vec<_>>(), refused);
        for request in &input.requests {
            assert_eq!(routed(&table, request), routed(&whole, request));
        }
    }
}

fn once(ops: Vec<Op>) -> BTreeMap<ObjectKey, Op> {
    ops.into_iter().map(|op| (op.object(), op)).collect()
}

/// Without what the table refuses but for orphans: of the refused the last good form stays, which a table of the whole
/// state cannot know.
fn acceptable(table: &Table, ops: Vec<Op>, revision: Revision) -> Vec<Op> {
    let mut ops = once(ops);
    loop {
        let chosen: Vec<Op> = ops.values().cloned().collect();
        let refused = table.apply(&chosen, revision).refused;
        let wrong: Vec<ObjectKey> = refused
            .into_iter()
            .filter(|refusal| !matches!(refusal.cause, Cause::Orphan))
            .map(|refusal| refusal.object)
            .collect();
        let left_out = wrong.iter().filter_map(|object| ops.remove(object)).count();
        if left_out == 0 {
            return chosen;
        }
    }
}

fn entries(table: &Table) -> BTreeMap<String, Entry> {
    let named = |entry: &std::sync::Arc<Entry>| (entry.service.name.to_string(), (**entry).clone());
    table.entries().map(named).collect()
}

/// Whoever swaps a table looks only at what is said to be touched.
fn touched(before: &Table, after: &Table, said: &[shared::model::ServiceName]) {
    let (before, after) = (entries(before), entries(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names.into_iter().filter(|name| before.get(*name) != after.get(*name)) {
        assert!(
            said.iter().any(|said| said.as_str() == name),
            "{name} is not among {said:?}"
        );
    }
}

fn routed(table: &Table, request: &Request) -> Option<String> {
    let headers: Vec<(&str, &str)> = request
        .headers
        .0
        .iter()
        .map(|(name, value)| (name.0, value.0))
        .collect();
    let query = Query {
        host: request.host.text(),
        path: request.path.text(),
        method: request.method.0,
        headers: &&headers[..],
    };
    table.route(&query).map(|entry| entry.service.name.to_string())
}

/// The service that was found has a match that takes the request; none was found only where there is none.
fn fits(table: &Table, request: &Request) {
    let Ok(path) = path::normalise(request.path.text()) else {
        return assert_eq!(routed(table, request), None);
    };
    let takes = |matching: &Match| is_for(matching, request, &path);
    match routed(table, request) {
        Some(name) => {
            let entry = table.entry(&name).expect("it is there");
            assert!(
                entry.service.matches.iter().any(takes),
                "{name} does not take {request:?}"
            );
        }
        None => assert!(
            !table.entries().any(|entry| entry.service.matches.iter().any(takes)),
            "{request:?}"
        ),
    }
}

fn is_for(matching: &Match, request: &Request, path: &str) -> bool {
    let host = host::canonical(request.host.text());
    let named = host.len() <= host::HOST_BYTES_MAX;
    let header = |name: &str| {
        let mut headers = request.headers.0.iter();
        headers
            .find(|(given, _)| given.0.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.0)
    };
    let any_host = |host: &&HostPattern| **host == HostPattern::Any || named;
    (matching.hosts.is_empty()
        || matching
            .hosts
            .iter()
            .filter(any_host)
            .any(|pattern| pattern.matches(&host)))
        && (matching.methods.is_empty()
            || matching
                .methods
                .iter()
                .any(|method| method.as_str() == request.method.0))
        && matching
            .headers
            .iter()
            .all(|wanted| header(&wanted.name) == Some(&*wanted.value))
        && match &matching.path {
            PathPattern::Any => true,
            PathPattern::Prefix(prefix) => prefix.matches(path),
            PathPattern::Regex(regex) => regex.matches(path),
        }
}
