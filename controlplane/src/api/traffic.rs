//! `GET /v1/traffic`: how many requests each proxy has answered, as it says itself now.

use std::sync::Arc;

use axum::extract::State;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use shared::stream::hub::{MemberView, Presence};
use shared::stream::message::{About, TRAFFIC_MAX, Traffic};

use super::answer::Answer;
use super::call::Call;
use super::page::Page;
use super::query::invalid;
use super::{Api, fleet};

/// Proxies that are asked at a time for one list.
const ASKED_MAX: usize = 32;
/// Services that each proxy names, unless told otherwise.
const NAMED: u64 = 100;

#[derive(Serialize)]
struct Proxy {
    proxy: Arc<str>,
    /// `None`: it cannot be asked now.
    services: Option<Vec<Traffic>>,
}

/// `?services=`: how many of each proxy by their names, 0 to 1000, those with the most requests first; all others together
/// are `_other`, and `_none` are the requests that no service is for.
pub async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let query = call.query(&["limit", "cursor", "services"])?;
    let named = query.number("services")?.unwrap_or(NAMED);
    if named > TRAFFIC_MAX {
        return Err(invalid("services", "0 to 1000 is expected").into());
    }
    let cursor = query.cursor("traffic")?;
    let members = api.fleet.members().into_iter();
    let members = members.skip_while(|view| &*view.name <= cursor.after());
    let Page { items, next } = Page::of(members, query.limit()?, |view| cursor.at(&view.name));
    let answers = stream::iter(items).map(|view| ask(&api, view, named));
    let items: Vec<Proxy> = answers.buffered(ASKED_MAX).collect().await;
    Ok(Page { items, next }.answer())
}

async fn ask(api: &Api, view: MemberView, named: u64) -> Proxy {
    let answer = match view.state {
        Presence::Present => fleet::ask(api, &view, Some(About::Traffic { named })).await,
        Presence::Absent | Presence::Detached => None,
    };
    Proxy {
        services: answer.and_then(|answer| answer.traffic),
        proxy: view.name,
    }
}
