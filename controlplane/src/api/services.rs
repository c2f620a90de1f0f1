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
use crate::registry::{Document, document, service};

pub async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let query = call.query(&["limit", "cursor"])?;
    let head = api.changelog.head();
    let cursor = query.cursor("services")?;
    let from = ObjectKey::service(cursor.after());
    let keys = head
        .state
        .objects
        .range((Bound::Excluded(from), Bound::Unbounded))
        .map(|(key, _)| key);
    let keys = keys.take_while(|key| key.kind == Kind::Service);
    let page = Page::of(keys, query.limit()?, |key| cursor.at(&key.key));
    Ok(page.map(|key| document::current(&head, key)).answer())
}

pub async fn show(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.query(&[])?;
    let name = call.service("name")?;
    show_object(&api, &call, ObjectKey::service(name.as_str())).await
}

pub async fn replace(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let name = call.service("name")?;
    let document = Document::of(call.json()?, &[("name", name.as_str())])?;
    let decide = service::replace(&name, document, call.conditions()?)?;
    write(&api, &call, Subject::Service(name), decide).await
}

pub async fn patch(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let name = call.service("name")?;
    let document = Document::of(call.json()?, &[("name", name.as_str())]).map_err(Problem::from)?;
    let decide = service::patch(&name, document, call.conditions()?);
    write(&api, &call, Subject::Service(name), decide).await
}

pub async fn remove(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let name = call.service("name")?;
    let decide = service::remove(&name, call.conditions()?);
    write(&api, &call, Subject::ServiceGone(name), decide).await
}
