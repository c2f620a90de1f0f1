//! The roster's operations, committed.

use std::sync::Arc;

use net::problem::{self, Problem};
use shared::stream::publisher::Joined;
use shared::stream::roster::Member;
use shared::stream::roster::member::{self, Join};
use uuid::Uuid;

use crate::changelog::{Changelog, Committed, Decide, Decision, WriteError};

/// Decides on a join at the log's true head.
pub fn joining(name: Arc<str>, member: Member, replaces: Option<Uuid>) -> Decide {
    Arc::new(move |head| match member::join(&head.state, &name, member, replaces) {
        Join::Append(op) => Decision::Append(vec![op]),
        Join::Nothing => Decision::Nothing,
        Join::Held => Decision::Refuse(Box::new(Problem::new(
            problem::CONFLICT,
            "another instance has the name",
        ))),
    })
}

/// What the publisher is told of a join that was decided.
pub fn joined(result: &Result<Committed, WriteError>) -> Joined {
    match result {
        Ok(_) => Joined::Committed,
        Err(WriteError::Refused(_)) => Joined::Held,
        Err(_) => Joined::Failed,
    }
}

/// Removes `name` if `instance` still has it; nothing to do is done.
pub fn leaving(name: Arc<str>, instance: Uuid, goodbye: bool) -> Decide {
    Arc::new(move |head| match member::leave(&head.state, &name, instance, goodbye) {
        Some(op) => Decision::Append(vec![op]),
        None => Decision::Nothing,
    })
}

pub(super) async fn join(changelog: &Changelog, name: Arc<str>, member: Member, replaces: Option<Uuid>) -> Joined {
    let result = changelog
        .submit(name.clone(), joining(name.clone(), member, replaces))
        .await;
    let joined = joined(&result);
    if result.as_ref().is_ok_and(|committed| committed.appended) {
        tracing::info!(proxy = %name, "joined");
    }
    if let (Joined::Failed, Err(error)) = (joined, &result) {
        tracing::warn!(proxy = %name, "a proxy could not join: {error}");
    }
    joined
}

pub(super) async fn leave(
    changelog: &Changelog,
    actor: Arc<str>,
    name: Arc<str>,
    instance: Uuid,
    goodbye: bool,
) -> Result<Committed, WriteError> {
    changelog.submit(actor, leaving(name, instance, goodbye)).await
}

/// Of one life of a proxy that speaks for itself.
pub(super) async fn say_goodbye(
    changelog: &Changelog,
    name: Arc<str>,
    instance: Uuid,
    boot: u64,
) -> Result<Committed, WriteError> {
    let actor = name.clone();
    let decide: Decide = Arc::new(
        move |head| match member::say_goodbye(&head.state, &name, instance, boot) {
            Some(op) => Decision::Append(vec![op]),
            None => Decision::Nothing,
        },
    );
    changelog.submit(actor, decide).await
}
