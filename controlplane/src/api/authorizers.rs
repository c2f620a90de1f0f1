use std::ops::Bound;
use std::sync::Arc;

use axum::extract::State;
use net::problem::Problem;
use shared::change::{Kind, ObjectKey};
use shared::model::Revocation;
use uuid::Uuid;

use super::Api;
use super::answer::Answer;
use super::call::Call;
use super::page::Page;
use super::write::{show as show_object, write};
use crate::registry::plan::Subject;
use crate::registry::{Document, authorizer, document};

pub async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let query = call.query(&["limit", "cursor"])?;
    let head = api.changelog.head();
    let cursor = query.cursor("authorizers")?;
    let from = ObjectKey::authorizer(cursor.after());
    let keys = head
        .state
        .objects
        .range((Bound::Excluded(from), Bound::Unbounded))
        .map(|(key, _)| key);
    let keys = keys.take_while(|key| key.kind == Kind::Authorizer);
    let page = Page::of(keys, query.limit()?, |key| cursor.at(&key.key));
    Ok(page.map(|key| document::current(&head, key)).answer())
}

pub async fn show(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.query(&[])?;
    let name = call.authorizer()?;
    show_object(&api, &call, ObjectKey::authorizer(name.as_str())).await
}

pub async fn replace(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let name = call.authorizer()?;
    let document = Document::of(call.json()?, &[("name", name.as_str())])?;
    let decide = authorizer::replace(&name, document, call.conditions()?)?;
    write(&api, &call, Subject::Authorizer(name), decide).await
}

pub async fn patch(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let name = call.authorizer()?;
    let document = Document::of(call.json()?, &[("name", name.as_str())]).map_err(Problem::from)?;
    let decide = authorizer::patch(&name, document, call.conditions()?);
    write(&api, &call, Subject::Authorizer(name), decide).await
}

pub async fn remove(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let name = call.authorizer()?;
    let decide = authorizer::remove(&name, call.conditions()?);
    write(&api, &call, Subject::Settled, decide).await
}

/// Forgets remembered answers everywhere. An empty body is an object without members: all of them.
pub async fn revoke(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let name = call.authorizer()?;
    // It has no entity tag of its own.
    call.unconditional()?;
    let revocation = Revocation::asked(&call.json_or_empty()?)?;
    let decide = authorizer::revoke(&name, &revocation, Uuid::new_v4());
    write(&api, &call, Subject::Settled, decide).await
}
