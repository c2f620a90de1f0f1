//! What the log says of a proxy, and the operations by which it joins and leaves.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::change::{Before, Body, Kind, ObjectKey, Op, Verb};
use crate::state::State;

/// The body of a `member` object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub instance: Uuid,
    pub lease_ms: u64,
}

impl Member {
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// Of `name`, as it stands in `state`. A body that cannot be read is as if there were no member: it joins anew.
    pub fn of(state: &State, name: &str) -> Option<Member> {
        let object = state.get(&ObjectKey::member(name))?;
        serde_json::from_str(object.body.as_str()).ok()
    }
}

/// The body of the operation that removes a member: how it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// It said so itself, with its listeners closed and nothing in flight: nobody needs to wait for it any more.
    pub goodbye: bool,
}

/// What a proxy that joins needs of the log, decided at the log's true head.
#[derive(Debug, PartialEq)]
pub enum Join {
    Append(Op),
    /// The log says the same already.
    Nothing,
    /// Another instance has the name by now.
    Held,
}

/// `replaces`: the instance that had the name when the joining one was admitted.
pub fn join(state: &State, name: &Arc<str>, member: Member, replaces: Option<Uuid>) -> Join {
    match Member::of(state, name) {
        Some(held) if held == member => Join::Nothing,
        Some(held) if held.instance != member.instance && Some(held.instance) != replaces => Join::Held,
        _ => match Body::of(&member) {
            Ok(body) => Join::Append(op(state, name, Verb::Put, Some(body))),
            Err(_) => Join::Held,
        },
    }
}

/// Removes `name` if `instance` still has it.
pub fn leave(state: &State, name: &Arc<str>, instance: Uuid, goodbye: bool) -> Option<Op> {
    Member::of(state, name).filter(|member| member.instance == instance)?;
    Some(op(state, name, Verb::Delete, Body::of(&Leave { goodbye }).ok()))
}

/// How a removing operation says that the member went. What does not say so was no goodbye.
pub(super) fn is_goodbye(op: &Op) -> bool {
    let body = op
        .body
        .as_ref()
        .and_then(|body| serde_json::from_str::<Leave>(body.as_str()).ok());
    body.is_some_and(|leave| leave.goodbye)
}

fn op(state: &State, name: &Arc<str>, verb: Verb, body: Option<Body>) -> Op {
    let held = state.get(&ObjectKey::member(name));
    let before = held.map(|object| Before {
        body: object.body.clone(),
        revision: object.revision,
        registration: object.registration,
    });
    Op {
        verb,
        kind: Kind::Member,
        key: name.clone(),
        body,
        registration: None,
        before,
    }
}
