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
    /// Whose goodbye it was: a later life of the instance may have begun meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<u64>,
}

/// An instance that is no member any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departed {
    pub instance: Uuid,
    pub how: Leave,
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
    remove(state, name, instance, Leave { goodbye, boot: None })
}

/// Removes `name` because this life of `instance` said so, if that instance still has it.
pub fn say_goodbye(state: &State, name: &Arc<str>, instance: Uuid, boot: u64) -> Option<Op> {
    let how = Leave {
        goodbye: true,
        boot: Some(boot),
    };
    remove(state, name, instance, how)
}

fn remove(state: &State, name: &Arc<str>, instance: Uuid, how: Leave) -> Option<Op> {
    Member::of(state, name).filter(|member| member.instance == instance)?;
    Some(op(state, name, Verb::Delete, Body::of(&how).ok()))
}

/// Who left by an operation: one that was removed, or whose name was taken.
pub fn departed(op: &Op) -> Option<Departed> {
    let before = op.before.as_ref().filter(|_| op.kind == Kind::Member)?;
    let Member { instance, .. } = serde_json::from_str(before.body.as_str()).ok()?;
    let body = op.body.as_ref().map(Body::as_str);
    let how = match op.verb {
        Verb::Delete => body.and_then(|body| serde_json::from_str(body).ok()),
        Verb::Put => {
            let now = body.and_then(|body| serde_json::from_str::<Member>(body).ok());
            if now.is_some_and(|now| now.instance == instance) {
                return None;
            }
            None
        }
    };
    // What does not say so was no goodbye.
    let unsaid = Leave {
        goodbye: false,
        boot: None,
    };
    Some(Departed {
        instance,
        how: how.unwrap_or(unsaid),
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Commit, Epoch, OpId};

    fn apply(state: &mut State, op: Op) {
        let commit = Commit {
            revision: state.revision.next(),
            at_ms: 0,
            actor: "test".into(),
            op_id: OpId(Uuid::nil()),
            ops: vec![op],
        };
        state.apply(&commit).unwrap();
    }

    #[test]
    fn an_operation_says_who_left_and_how() {
        let mut state = State::empty(Epoch(Uuid::nil()));
        let name: Arc<str> = "p".into();
        let [first, second] = [1, 2].map(Uuid::from_u128);
        let enter = |state: &mut State, instance, lease_ms, replaces| {
            let member = Member { instance, lease_ms };
            let Join::Append(op) = join(state, &name, member, replaces) else {
                panic!()
            };
            apply(state, op.clone());
            departed(&op)
        };
        assert_eq!(enter(&mut state, first, 1, None), None);
        assert_eq!(enter(&mut state, first, 2, None), None, "another lease");
        let unsaid = Leave {
            goodbye: false,
            boot: None,
        };
        let of = |instance, how| Some(Departed { instance, how });
        assert_eq!(enter(&mut state, second, 1, Some(first)), of(first, unsaid));
        let forgotten = leave(&state, &name, second, false).unwrap();
        assert_eq!(departed(&forgotten), of(second, unsaid));
        let said = say_goodbye(&state, &name, second, 7).unwrap();
        let how = Leave {
            goodbye: true,
            boot: Some(7),
        };
        assert_eq!(departed(&said), of(second, how));
        assert!(is_goodbye(&said) && say_goodbye(&state, &name, first, 7).is_none());
        // As one wrote it that did not know of lives yet.
        let mut older = said;
        older.body = Some(Body::from_json(r#"{"goodbye":true}"#).unwrap());
        let how = Leave {
            goodbye: true,
            boot: None,
        };
        assert_eq!(departed(&older), of(second, how));
    }
}
