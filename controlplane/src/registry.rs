//! The use cases: what a request makes of the configuration. Each is a pure decision on a head, checked by compiling the
//! very table that the proxies compile, so that whatever is appended they can apply.

pub mod address;
pub mod apply;
pub mod authorizer;
pub mod conditions;
pub mod document;
pub mod hold;
pub mod limit;
pub mod plan;
pub mod scope;
pub mod service;
pub mod succession;
pub mod upstream;

use std::sync::Arc;

use net::problem::{self, Problem};
use serde_json::Value;
use shared::change::{Before, Body, ObjectKey, Op, Revision, Verb};
use shared::model::Invalid;
use shared::state::Object;
use shared::table::Cause;

use crate::changelog::{Decide, Decision, Head};

pub use conditions::Conditions;
pub use document::Document;

/// A refusal is an error, so that checks can be written one after another.
type Decided = Result<Decision, Box<Problem>>;

fn decision(decide: impl Fn(&Head) -> Decided + Send + Sync + 'static) -> Decide {
    Arc::new(move |head| decide(head).unwrap_or_else(Decision::Refuse))
}

fn before(object: &Object) -> Before {
    Before {
        body: object.body.clone(),
        revision: object.revision,
        registration: object.registration,
    }
}

/// Deletes what is there of `keys`, in one revision.
fn delete_all<'a>(head: &Head, keys: impl Iterator<Item = &'a ObjectKey>) -> Decision {
    let delete = |key: &ObjectKey| {
        let current = head.state.get(key)?;
        Some(Op {
            verb: Verb::Delete,
            kind: key.kind.clone(),
            key: key.key.clone(),
            body: None,
            registration: None,
            before: Some(before(current)),
        })
    };
    let ops: Vec<Op> = keys.filter_map(delete).collect();
    match ops.is_empty() {
        true => Decision::Nothing,
        false => Decision::Append(ops),
    }
}

/// Puts `body` in the place of what is there, unless it is that already or the table refuses it.
fn put(head: &Head, key: &ObjectKey, body: Body, registration: Option<Revision>) -> Decided {
    let current = head.state.get(key);
    if current.is_some_and(|current| current.body == body && current.registration == registration) {
        return Ok(Decision::Nothing);
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
        None => Ok(Decision::Append(ops)),
        Some(refusal) => Err(Box::new(refused_by_table(refusal.cause))),
    }
}

fn refused_by_table(cause: Cause) -> Problem {
    let detail = cause.to_string();
    match cause {
        Cause::Invalid(invalid) => invalid.into(),
        Cause::Conflict { with, field } | Cause::Taken { with, field } => {
            let held = format!("service {with} holds it already");
            Problem::new(problem::CONFLICT, detail)
                .field(field, held)
                .with("with", with.as_str())
        }
        Cause::UnknownKind | Cause::Orphan => Problem::new(problem::INVALID, detail),
    }
}

/// What must hold of the object before it is written, absent or not: the conditions, and what the document says of it.
fn check(
    head: &Head,
    key: &ObjectKey,
    conditions: &Conditions,
    document: Option<&Document>,
) -> Result<(), Box<Problem>> {
    let current = head.state.get(key).map(|object| object.revision);
    if !conditions.hold(current) {
        let detail = match current {
            Some(revision) => format!("{key} is at revision {revision}"),
            None => format!("{key} does not exist"),
        };
        let problem = Problem::new(problem::PRECONDITION_FAILED, detail);
        return Err(Box::new(problem.with("current", document::current(head, key))));
    }
    let agreed = document.map_or(Ok(()), |document| document.agrees(current));
    agreed.map_err(|invalid| Box::new(invalid.into()))
}

fn existing<'a>(head: &'a Head, key: &ObjectKey) -> Result<&'a Arc<Object>, Box<Problem>> {
    let absent = || Box::new(Problem::new(problem::NOT_FOUND, format!("{key} does not exist")));
    head.state.get(key).ok_or_else(absent)
}

/// What a merge patch (RFC 7396) begins with: the members that were set, so that defaults stay defaults. An `If-Match`
/// fails on what is absent, and says so rather than that it is absent.
fn stored(head: &Head, key: &ObjectKey, patch: &Document, conditions: &Conditions) -> Result<Value, Box<Problem>> {
    if conditions.if_match.is_some() {
        check(head, key, conditions, None)?;
    }
    let current = existing(head, key)?;
    check(head, key, conditions, Some(patch))?;
    let unreadable = |error| Problem::new(problem::INVALID, format!("what is stored is no JSON: {error}"));
    serde_json::from_str(current.body.as_str()).map_err(|error| Box::new(unreadable(error)))
}

fn refused(invalid: Invalid) -> Box<Problem> {
    Box::new(invalid.into())
}
