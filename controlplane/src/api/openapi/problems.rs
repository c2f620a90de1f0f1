//! Problems as they are answered: the same code makes the examples.

use std::collections::{BTreeMap, BTreeSet};

use net::problem::{self, Problem, Type};
use serde_json::{Map, Value, json};

use super::operation::Operation;
use super::schemas::reference;
use crate::api::roles::Needs;

/// What any call may be answered that is not open to all.
const OF_ANY: [Type; 4] = [
    problem::MALFORMED,
    problem::UNAUTHENTICATED,
    problem::FORBIDDEN,
    problem::TOO_MANY_REQUESTS,
];

/// Of a path that there is not, and of a method that a path does not take.
const OF_NONE: [Type; 2] = [problem::NOT_FOUND, problem::METHOD_NOT_ALLOWED];

/// Those of an operation, each once.
pub fn by_status(operation: &Operation, needs: Needs) -> BTreeMap<u16, Vec<Type>> {
    let of_any: &[Type] = if needs == Needs::Nothing { &[] } else { &OF_ANY };
    let mut statuses: BTreeMap<u16, Vec<Type>> = BTreeMap::new();
    for of in operation.problems.iter().chain(of_any) {
        let kinds = statuses.entry(of.status).or_default();
        if !kinds.contains(of) {
            kinds.push(*of);
        }
    }
    for kinds in statuses.values_mut() {
        kinds.sort_unstable_by_key(|of| of.kind);
    }
    statuses
}

/// Every `type` that there may be.
pub fn kinds(operations: &[Operation]) -> BTreeSet<String> {
    let of_operations = operations.iter().flat_map(|operation| &operation.problems);
    let all = of_operations.chain(&OF_ANY).chain(&OF_NONE);
    all.map(|of| format!("urn:vulcan:{}", of.kind)).collect()
}

pub fn name(kinds: &[Type]) -> String {
    let kinds: Vec<&str> = kinds.iter().map(|of| of.kind).collect();
    kinds.join(".")
}

pub fn response(kinds: &[Type]) -> Value {
    let titles: Vec<String> = kinds.iter().map(|of| format!("`{}`: {}.", of.kind, of.title)).collect();
    let examples = kinds
        .iter()
        .map(|of| (of.kind.to_owned(), json!({"value": example(*of)})));
    let examples: Map<String, Value> = examples.collect();
    let mut response = json!({
        "description": titles.join(" "),
        "content": {problem::CONTENT_TYPE: {"schema": reference("Problem"), "examples": examples}},
    });
    let header = match kinds.first().map(|of| of.status) {
        Some(401) => Some("WWW-Authenticate"),
        Some(412) => Some("ETag"),
        Some(429 | 503) => Some("Retry-After"),
        _ => None,
    };
    if let Some(header) = header {
        response["headers"] = json!({header: {"$ref": format!("#/components/headers/{header}")}});
    }
    response
}

fn example(of: Type) -> Value {
    let problem = Problem::new(of, detail(of));
    let problem = match of.kind {
        "conflict" => problem.with("with", "shop"),
        "invalid" => problem.field("match[0].path_regex", "unclosed group"),
        "outcome-unknown" => problem
            .with("committed", "unknown")
            .with("op_id", "5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b"),
        "precondition-failed" => problem.with("current", Value::Null),
        "refused-by-proxy" | "wait-not-reached" => problem.with("revision", 42).with("committed", true),
        "store-unavailable" => problem.with("committed", false),
        _ => problem,
    };
    serde_json::from_slice(&problem.to_json()).unwrap_or_default()
}

fn detail(of: Type) -> &'static str {
    match of.kind {
        "conflict" => "match[0]: service shop holds it already",
        "forbidden" => "PUT /v1/services/{service} is for the role admin; this token is that of a reader",
        "invalid" => "match[0].path_regex: unclosed group",
        "malformed" => "timeout: the query parameter is repeated",
        "not-found" => "service/web does not exist",
        "unauthenticated" => "Authorization: Bearer and a token are expected",
        "wait-not-reached" => "revision 42 is applied on 2 of 3 proxies after 15000 ms",
        _ => of.title,
    }
}
