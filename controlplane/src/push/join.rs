//! The roster's operations, committed.

use std::sync::Arc;

use net::problem::{self, Problem};
use shared::stream::publisher::Joined;
use shared::stream::roster::Member;
use shared::stream::roster::member::{self, Join};
use uuid::Uuid;

use crate::changelog::{Changelog, Committed, Decision, WriteError};

pub(super) async fn join(changelog: &Changelog, name: Arc<str>, member: Member, replaces: Option<Uuid>) -> Joined {
    let actor = name.clone();
    let decide = move |head: &crate::changelog::Head| match member::join(&head.state, &name, member, replaces) {
        Join::Append(op) => Decision::Append(vec![op]),
        Join::Nothing => Decision::Nothing,
        Join::Held => Decision::Refuse(Box::new(Problem::new(
            problem::CONFLICT,
            "another instance has the name",
        ))),
    };
    match changelog.submit(actor, Arc::new(decide)).await {
        Ok(_) => Joined::Committed,
        Err(WriteError::Refused(_)) => Joined::Held,
        Err(error) => {
            tracing::warn!(?error, "a proxy could not join");
            Joined::Failed
        }
    }
}

/// Removes `name` if `instance` still has it; nothing to do is done.
pub(super) async fn leave(
    changelog: &Changelog,
    actor: Arc<str>,
    name: Arc<str>,
    instance: Uuid,
    goodbye: bool,
) -> Result<Committed, WriteError> {
    let decide = move |head: &crate::changelog::Head| match member::leave(&head.state, &name, instance, goodbye) {
        Some(op) => Decision::Append(vec![op]),
        None => Decision::Nothing,
    };
    changelog.submit(actor, Arc::new(decide)).await
}
