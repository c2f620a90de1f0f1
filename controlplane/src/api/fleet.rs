//! The proxies on the roster, and what each last said of itself.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use net::problem::{self, Problem};
use serde::Serialize;
use serde_json::Value;
use shared::change::{Epoch, Revision};
use shared::model::Invalid;
use shared::stream::hub::{MemberView, Presence};
use shared::stream::message;
use shared::stream::wait::{Condition, WaitSpec};
use tokio::time::Instant;
use uuid::Uuid;

use super::Api;
use super::answer::{Answer, json};
use super::call::Call;
use super::page::Page;
use super::write::{Waited, Written, write};
use crate::heartbeats::Lapsed;
use crate::planes;
use crate::push::{ForgetError, Forgotten};
use crate::registry::plan::Subject;
use crate::registry::succession;

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    page: Page<Proxy>,
    head: Revision,
    epoch: Epoch,
    /// Services of which too many upstreams were not renewed at once.
    lapsed: Vec<Lapsed>,
}

#[derive(Serialize)]
struct Proxy {
    #[serde(flatten)]
    view: MemberView,
    /// Which control plane holds its stream.
    control_plane: Option<String>,
    #[serde(flatten)]
    upstreams: Option<Upstreams>,
}

/// Of one proxy.
#[derive(Serialize)]
struct Upstreams {
    /// `None`: the proxy cannot be asked now.
    upstreams: Option<Vec<UpstreamView>>,
    /// How many the list leaves out.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<u64>,
}

#[derive(Serialize)]
struct UpstreamView {
    /// `service/id`
    upstream: String,
    health: Arc<str>,
    in_flight: u64,
}

impl Proxy {
    fn of(view: MemberView, api: &Api) -> Proxy {
        let there = || view.elsewhere.as_ref().unwrap_or(&api.url);
        let authority = |url: &str| url.split_once("://").map_or(url, |(_, authority)| authority).to_owned();
        let control_plane = (view.state == Presence::Present).then(|| authority(there()));
        Proxy {
            view,
            control_plane,
            upstreams: None,
        }
    }
}

impl Upstreams {
    fn of(answer: Option<message::Upstreams>) -> Upstreams {
        let more = answer.as_ref().map(|answer| answer.more).filter(|more| *more > 0);
        let shown = |seen: message::Seen| UpstreamView {
            upstream: format!("{}/{}", seen.service, seen.id),
            health: seen.health,
            in_flight: seen.in_flight,
        };
        Upstreams {
            upstreams: answer.map(|answer| answer.list.into_iter().map(shown).collect()),
            more,
        }
    }
}

pub async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let query = call.query(&["limit", "cursor"])?;
    let cursor = query.cursor("fleet")?;
    let members = api.fleet.members().into_iter();
    let members = members.skip_while(|view| &*view.name <= cursor.after());
    let page = Page::of(members, query.limit()?, |view| cursor.at(&view.name));
    let head = api.changelog.head();
    let (head, epoch) = (head.state.revision, head.state.epoch);
    Ok(json(
        StatusCode::OK,
        &Listed {
            page: page.map(|view| Proxy::of(view, &api)),
            head,
            epoch,
            lapsed: api.heartbeats.lapsed(),
        },
    ))
}

/// How a proxy's upstreams are, whichever control plane has its stream. `None`: it cannot be asked now.
pub async fn ask(api: &Api, proxy: &MemberView, about: Option<message::About>) -> Option<message::Upstreams> {
    match &proxy.elsewhere {
        Some(url) => planes::upstreams(url, api.credentials.clone(), &proxy.name, about).await,
        None => api.fleet.upstreams(&proxy.name, about).await,
    }
}

pub async fn show(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.query(&[])?;
    let name = call.param("proxy");
    let mut view = api.fleet.member(name);
    if view.is_none() {
        api.changelog.true_head(call.actor.clone()).await?;
        view = api.fleet.member(name);
    }
    let view = view.ok_or_else(|| Problem::new(problem::NOT_FOUND, format!("no proxy is called {name:?}")))?;
    let upstreams = Some(Upstreams::of(ask(&api, &view, None).await));
    let proxy = Proxy {
        upstreams,
        ..Proxy::of(view, &api)
    };
    Ok(json(StatusCode::OK, &proxy))
}

/// Strikes a proxy that is away from the roster. No proxy has anything to apply of that, so none is waited for; the
/// waiting is for the end of its own lease, before which it may still serve.
pub async fn forget(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let query = call.query(&["timeout"])?;
    call.unconditional()?;
    let timeout = query.timeout()?.unwrap_or(Duration::from_secs(15));
    let place = api.waiters.try_acquire();
    let _place = place.map_err(|_| Problem::new(problem::TOO_MANY_REQUESTS, "too many writes wait for the fleet"))?;
    let name = call.param("proxy");
    let began = Instant::now();
    let head = api.changelog.true_head(call.actor.clone()).await?;
    let forgetting = api.fleet.forget(name, call.actor.clone(), timeout, &api.stop);
    let (revision, leased) = match forgetting.await {
        Ok(Forgotten::Absent) => (head.state.revision, None),
        Ok(Forgotten::Gone(committed)) => (committed.revision, None),
        Err(ForgetError::Leased(rest)) => (head.state.revision, Some(rest)),
        Err(ForgetError::Present) => {
            let detail = format!("{name} is connected and would join again");
            return Err(Problem::new(problem::CONFLICT, detail).into());
        }
        Err(ForgetError::Write(error)) => return Err(error.into()),
    };
    let wait = Waited {
        r#for: "lease",
        reached: leased.is_none(),
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    let report = api.fleet.wait(roster_at(revision), Duration::ZERO).await;
    let Some(rest) = leased else {
        let written = Written {
            revision,
            committed: true,
            wait,
            fleet: report.fleet(),
            also_in: &[],
            beside: &serde_json::Map::new(),
        };
        return Ok(json(StatusCode::OK, &written));
    };
    let rest = rest.as_millis();
    let detail = format!("{name} may still serve for {rest} ms, until its lease is over; it is not forgotten");
    Err(Problem::new(problem::WAIT_NOT_REACHED, detail)
        .with("proxy", name)
        .with("revision", revision.0)
        .with("committed", false)
        .with("wait", serde_json::json!(wait))
        .with("fleet", serde_json::json!(report.fleet()))
        .with("also_in", Vec::<String>::new())
        .into())
}

/// How the members at a revision stand to it.
fn roster_at(revision: Revision) -> WaitSpec {
    WaitSpec {
        revision,
        condition: Condition::Applied,
        objects: Vec::new(),
    }
}

/// `{"epoch": "…"}`
pub async fn succeed(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.unconditional()?;
    let from = epoch(call.json()?)?;
    write(&api, &call, Subject::Settled, succession::succeed(from, Uuid::new_v4())).await
}

fn epoch(body: Value) -> Result<Epoch, Problem> {
    let Value::Object(mut members) = body else {
        return Err(Invalid::field("", "an object is expected").into());
    };
    let epoch = members.remove("epoch");
    if let Some(unknown) = members.keys().next() {
        return Err(Invalid::field(unknown, "unknown field").into());
    }
    let epoch = epoch
        .as_ref()
        .and_then(Value::as_str)
        .and_then(|text| text.parse().ok());
    Ok(Epoch(epoch.ok_or_else(|| {
        Invalid::field("epoch", "an epoch, which is a UUID, is expected")
    })?))
}
