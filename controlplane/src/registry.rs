//! The use cases: what a request makes of the configuration. Each is a pure decision on a head, checked by compiling the
//! very table that the proxies compile, so that whatever is appended they can apply.

pub mod address;
pub mod conditions;
pub mod document;
pub mod plan;
pub mod service;
pub mod succession;
pub mod upstream;

use std::sync::Arc;

use net::problem::{self, Problem};
use shared::change::{Before, Body, ObjectKey, Op, Revision, Verb};
use shared::state::Object;
use shared::table::Cause;

use crate::changelog::{Decision, Head};

pub use conditions::Conditions;
pub use document::Document;

fn refuse(problem: Problem) -> Decision {
    Decision::Refuse(Box::new(problem))
}

fn before(object: &Object) -> Before {
    Before {
        body: object.body.clone(),
        revision: object.revision,
        registration: object.registration,
    }
}

fn delete(key: &ObjectKey, current: &Object) -> Op {
    Op {
        verb: Verb::Delete,
        kind: key.kind.clone(),
        key: key.key.clone(),
        body: None,
        registration: None,
        before: Some(before(current)),
    }
}

/// Puts `body` in the place of what is there, unless it is that already or the table refuses it.
fn put(head: &Head, key: &ObjectKey, body: Body, registration: Option<Revision>) -> Decision {
    let current = head.state.get(key);
    if current.is_some_and(|current| current.body == body && current.registration == registration) {
        return Decision::Nothing;
    }
    let op = Op {
        verb: Verb::Put,
        kind: key.kind.clone(),
        key: key.key.clone(),
        body: Some(body),
        registration,
        before: current.map(|current| before(current)),
    };
    let ops = vec![op];
    let refused = head.table.apply(&ops, head.state.revision.next()).refused;
    match refused.into_iter().find(|refusal| refusal.object == *key) {
        None => Decision::Append(ops),
        Some(refusal) => refuse(refused_by_table(refusal.cause)),
    }
}

fn refused_by_table(cause: Cause) -> Problem {
    let detail = cause.to_string();
    match cause {
        Cause::Invalid(invalid) => invalid.into(),
        Cause::Conflict { with, field } => {
            let held = format!("service {with} holds it already");
            Problem::new(problem::CONFLICT, detail)
                .field(field, held)
                .with("with", with.as_str())
        }
        Cause::UnknownKind | Cause::Orphan => Problem::new(problem::INVALID, detail),
    }
}

/// `None` is no object, which is a state, too.
fn check(conditions: &Conditions, head: &Head, key: &ObjectKey) -> Result<(), Decision> {
    let current = head.state.get(key);
    match conditions.hold(current.map(|object| object.revision)) {
        true => Ok(()),
        false => {
            let detail = match current {
                Some(object) => format!("{key} is at revision {}", object.revision),
                None => format!("{key} does not exist"),
            };
            let problem = Problem::new(problem::PRECONDITION_FAILED, detail);
            Err(refuse(problem.with("current", document::current(head, key))))
        }
    }
}

fn absent(key: &ObjectKey) -> Decision {
    refuse(Problem::new(problem::NOT_FOUND, format!("{key} does not exist")))
}

/// What a merge patch (RFC 7396) makes of an object: of the members that were set, so that defaults stay defaults.
fn patched(current: &Arc<Object>, patch: &serde_json::Value) -> Result<serde_json::Value, Problem> {
    let mut value = serde_json::from_str(current.body.as_str())
        .map_err(|error| Problem::new(problem::INVALID, format!("what is stored is no JSON: {error}")))?;
    shared::model::merge_patch(&mut value, patch.clone());
    Ok(value)
}
