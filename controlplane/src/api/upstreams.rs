mod renewal;
mod status;

use std::sync::Arc;

use axum::extract::State;
use shared::change::ObjectKey;
use shared::model::{Address, Invalid, Upstream};
use shared::stream::message::About;

use super::Api;
use super::answer::Answer;
use super::call::Call;
use super::page::Page;
use super::write::{absent, show as show_object, write};
use crate::registry::plan::Subject;
use crate::registry::{Document, address, document, service, upstream};

pub async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let query = call.query(&["limit", "cursor", "status"])?;
    let with_status = query.flag("status")?;
    let name = call.service("service")?;
    let cursor = query.cursor(format!("upstreams of {name}"))?;
    let key = ObjectKey::service(name.as_str());
    let mut head = api.changelog.head();
    if head.state.get(&key).is_none() {
        head = api.changelog.true_head(call.actor.clone()).await?;
    }
    if head.state.get(&key).is_none() {
        return Err(absent(&key).into());
    }
    let after = ObjectKey::upstream(name.as_str(), cursor.after());
    let keys = service::upstreams(&head, name.as_str()).skip_while(|key| **key <= after);
    let page = Page::of(keys, query.limit()?, |key| {
        cursor.at(key.upstream_parts().map_or("", |(_, id)| id))
    });
    let mut page = page.map(|key| document::current(&head, key));
    if with_status {
        let about = About::Service {
            service: name.shared(),
            after: cursor.after().into(),
        };
        status::add(&api, &about, &mut page.items).await;
    }
    Ok(page.answer())
}

pub async fn show(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.query(&[])?;
    let (service, id) = (call.service("service")?, call.upstream()?);
    show_object(&api, &call, ObjectKey::upstream(service.as_str(), id.as_str())).await
}

pub async fn replace(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let (service, id) = (call.service("service")?, call.upstream()?);
    let names = [("id", id.as_str()), ("service", service.as_str())];
    let document = Document::of(call.json_or_empty()?, &names)?;
    let registered = Upstream::from_value(service.as_str(), id.as_str(), &document.value)?;
    if let Some(renewed) = renewal::answer(&api, &call, &registered, &document).await? {
        return Ok(renewed);
    }
    let decide = upstream::replace(&service, &id, document, call.conditions()?)?;
    write(&api, &call, Subject::Upstream(service, id), decide).await
}

pub async fn patch(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let (service, id) = (call.service("service")?, call.upstream()?);
    let names = [("id", id.as_str()), ("service", service.as_str())];
    let document = Document::of(call.json()?, &names)?;
    let decide = upstream::patch(&service, &id, document, call.conditions()?);
    write(&api, &call, Subject::Upstream(service, id), decide).await
}

pub async fn remove(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let (service, id) = (call.service("service")?, call.upstream()?);
    let decide = upstream::remove(&service, &id, call.conditions()?);
    write(&api, &call, Subject::UpstreamGone(service, id), decide).await
}

/// Every registration of an address.
pub async fn at_address(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let query = call.query(&["address", "limit", "cursor", "status"])?;
    let with_status = query.flag("status")?;
    let address = parse(query.required("address")?)?;
    let cursor = query.cursor(format!("upstreams at {address}"))?;
    let head = api.changelog.head();
    let keys = address::registrations(&head, &address)
        .into_iter()
        .skip_while(|key| &*key.key <= cursor.after());
    let page = Page::of(keys, query.limit()?, |key| cursor.at(&key.key));
    let mut page = page.map(|key| document::current(&head, &key));
    if with_status {
        let about = About::Address {
            address: address.as_str().into(),
            after: cursor.after().into(),
        };
        status::add(&api, &about, &mut page.items).await;
    }
    Ok(page.answer())
}

/// Unregisters an address everywhere, or not at all where some of it is not the caller's.
pub async fn leave(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let query = call.query(&["address", "wait", "timeout"])?;
    // Several objects, each with a tag of its own, or none.
    call.unconditional()?;
    let address = parse(query.required("address")?)?;
    let decide = address::remove(&address, call.scope().cloned());
    write(&api, &call, Subject::AddressGone(address), decide).await
}

fn parse(text: &str) -> Result<Address, Invalid> {
    Address::try_from(text).map_err(|detail| Invalid::field("address", detail))
}
