use std::ops::Bound;
use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use net::problem::{self, Problem};
use serde::Serialize;
use serde_json::json as value;
use shared::change::{Kind, ObjectKey};
use shared::model::LimitId;
use shared::quota::owner::{InFlight, Span, Usage};
use shared::quota::{AccountId, Label};
use shared::table::InForce;

use super::Api;
use super::answer::{Answer, Failure, json};
use super::call::Call;
use super::page::Page;
use super::revisions::timestamp;
use super::write::{show as show_object, write};
use crate::limits::asking::{Asking, Forgotten, Unanswered};
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

/// How much of a limit one requester has used.
#[derive(Serialize)]
struct Used<'a> {
    limit: String,
    key: &'a str,
    window: Window,
    /// `None`: it is not known any more.
    previous: Option<Window>,
    /// Where the limit says how many there may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrent: Option<InFlight>,
}

#[derive(Serialize)]
struct Window {
    from: String,
    to: String,
    /// What proxies hold and have not spent is in it.
    admitted: u64,
    /// Nobody counts for the whole fleet what proxies refuse.
    refused: Option<u64>,
    /// Of a limit that only observes: beside what it would have admitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    would_refuse: Option<u64>,
}

impl Window {
    fn of(span: Span) -> Window {
        let at = |label: Label| timestamp(label.as_nanos() / 1_000_000);
        Window {
            from: at(span.from),
            to: at(span.to),
            admitted: span.tokens,
            refused: span.refused.map(|_| 0),
            would_refuse: span.refused,
        }
    }
}

#[derive(Serialize)]
struct Reset<'a> {
    limit: String,
    key: &'a str,
    reset: bool,
    fleet: Forgotten,
}

/// `?key=`: what is counted under; empty is what an unauthenticated request counts under.
pub async fn usage(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let query = call.query(&["key"])?;
    let (id, key) = (call.limit()?, query.required("key")?);
    let (asking, limit) = counted(&api, &call, id).await?;
    let account = AccountId::of(id.0, key.as_bytes());
    let usage = asking.usage(account, &limit.rule(), limit.limit.mode).await;
    let Usage { window, previous } = usage.map_err(unanswered)?;
    let concurrent = match limit.limit.concurrent {
        Some(_) => Some(asking.in_flight(account).await.map_err(unanswered)?),
        None => None,
    };
    let used = Used {
        limit: id.to_string(),
        key,
        window: Window::of(window),
        previous: previous.map(Window::of),
        concurrent,
    };
    Ok(json(StatusCode::OK, &used))
}

/// Lets the count begin anew, and answers when no proxy refuses by what was counted before. What proxies hold stays theirs.
pub async fn reset(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let query = call.query(&["key"])?;
    call.unconditional()?;
    let (id, key) = (call.limit()?, query.required("key")?);
    let (asking, limit) = counted(&api, &call, id).await?;
    let account = AccountId::of(id.0, key.as_bytes());
    let fleet = asking
        .reset(account, &limit.rule(), limit.limit.mode)
        .await
        .map_err(unanswered)?;
    if fleet.reached < fleet.members {
        let Forgotten { reached, members } = fleet;
        let detail = format!("the count has begun anew, and {reached} of {members} proxies know");
        let problem = Problem::new(problem::WAIT_NOT_REACHED, detail);
        return Err(problem.with("reset", true).with("fleet", value!(fleet)).into());
    }
    let reset = Reset {
        limit: id.to_string(),
        key,
        reset: true,
        fleet,
    };
    Ok(json(StatusCode::OK, &reset))
}

/// A limit, and whom to ask about it.
async fn counted<'a>(api: &'a Api, call: &Call, id: LimitId) -> Result<(&'a Asking, Arc<InForce>), Failure> {
    let mut head = api.changelog.head();
    if head.table.limit(id).is_none() {
        head = api.changelog.true_head(call.actor.clone()).await?;
    }
    let Some(in_force) = head.table.limit(id) else {
        let detail = format!("there is no limit {id}");
        return Err(Problem::new(problem::NOT_FOUND, detail).into());
    };
    match &api.limits {
        None => Err(Problem::new(problem::NOT_SUPPORTED, "this store counts for no limits").into()),
        Some(asking) => Ok((asking, in_force.clone())),
    }
}

fn unanswered(why: Unanswered) -> Problem {
    let detail = match why {
        Unanswered::NoOwner => "no control plane counts for this account now; one will in a moment",
        Unanswered::NoStore => "the store does not say what was counted",
    };
    Problem::new(problem::STORE_UNAVAILABLE, detail)
}
