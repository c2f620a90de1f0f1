use std::ops::Bound;
use std::sync::Arc;

use axum::extract::State;
use net::problem::Problem;
use shared::change::{Kind, ObjectKey};

use super::Api;
use super::answer::Answer;
use super::call::Call;
use super::page::Page;
use super::write::{show as show_object, write};
use crate::registry::plan::Subject;
use crate::registry::{Document, document, limit};

pub async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let query = call.query(&["limit", "cursor"])?;
    let head = api.changelog.head();
    let cursor = query.cursor("limits")?;
    let from = ObjectKey {
        kind: Kind::Limit,
        key: cursor.after().into(),
    };
    let keys = head
        .state
        .objects
        .range((Bound::Excluded(from), Bound::Unbounded))
        .map(|(key, _)| key);
    let keys = keys.take_while(|key| key.kind == Kind::Limit);
    let page = Page::of(keys, query.limit()?, |key| cursor.at(&key.key));
    Ok(page.map(|key| document::current(&head, key)).answer())
}

pub async fn show(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.query(&[])?;
    show_object(&api, &call, ObjectKey::limit(call.limit()?)).await
}

pub async fn replace(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let id = call.limit()?;
    let document = Document::of(call.json()?, &[("id", &id.to_string())])?;
    let decide = limit::replace(id, document, call.conditions()?)?;
    write(&api, &call, Subject::Limit(id), decide).await
}

pub async fn patch(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let id = call.limit()?;
    let document = Document::of(call.json()?, &[("id", &id.to_string())]).map_err(Problem::from)?;
    let decide = limit::patch(id, document, call.conditions()?);
    write(&api, &call, Subject::Limit(id), decide).await
}

pub async fn remove(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let decide = limit::remove(call.limit()?, call.conditions()?);
    write(&api, &call, Subject::Settled, decide).await
}
