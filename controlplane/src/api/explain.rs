//! `GET /v1/explain`: where a request would go and why, by the table and the code that proxies route with. Nobody is asked
//! but, with `proxy=`, that proxy how its upstreams are.

mod request;

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use net::problem::{self, Problem};
use serde_json::{Map, Value, json as value};
use shared::change::ObjectKey;
use shared::model::recipient::Canonical;
use shared::model::{host, path};
use shared::stream::hub::{MemberView, Presence};
use shared::stream::message::About;
use shared::table::explain::Why;
use shared::table::{Asked, Candidate, Entry, Explained, Query};

use super::Api;
use super::answer::{Answer, json};
use super::call::Call;
use super::{fleet, many};
use crate::changelog::Head;
use crate::registry::document;
use request::{Mail, Said, Web};

/// Upstreams and limits that are told; what is beyond is only counted.
const TOLD_MAX: usize = 1_000;

const KNOWN: [&str; 7] = ["method", "url", "header", "recipient", "proxy", "auth_token", "length"];

pub async fn explain(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let query = call.query_with(&KNOWN, "header")?;
    let said = Said::of(&query)?;
    let proxy = query.value("proxy").map(|name| member(&api, name)).transpose()?;
    let head = api.changelog.head();
    let told = many::blocking(move || Ok(told(&head, &said)));
    let (mut told, service) = told.await?;
    if let (Some(proxy), Some(service)) = (proxy, service) {
        as_seen(&api, &proxy, &service, &mut told).await;
    }
    Ok(json(StatusCode::OK, &told))
}

fn member(api: &Api, name: &str) -> Result<MemberView, Problem> {
    let absent = || Problem::new(problem::NOT_FOUND, format!("no proxy is called {name:?}"));
    api.fleet.member(name).ok_or_else(absent)
}

/// The answer, and the name of the service that wins.
fn told(head: &Head, said: &Said) -> (Value, Option<Arc<str>>) {
    let mut told = match said {
        Said::Web(web) => of_web(head, web),
        Said::Mail(mail) => of_mail(head, mail),
    };
    told["revision"] = head.state.revision.0.into();
    let service = told["service"].as_str().map(Arc::from);
    (told, service)
}

fn of_web(head: &Head, web: &Web) -> Value {
    let Web {
        method,
        host,
        path,
        headers,
        ..
    } = web;
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    let explained = head.table.explain(&Query {
        host,
        path,
        method,
        headers: &&headers[..],
    });
    let normal = path::normalise(path);
    let mut told = value!({"protocol": "HTTP", "method": method, "host": host::canonical(host), "path": path});
    routed(head, &explained, &mut told);
    match normal {
        Err(error) => told["answer"] = value!({"status": 400, "detail": error.to_string()}),
        Ok(normal) => {
            let asked = |service| Asked {
                service,
                auth_token: &web.auth_token,
                protocol: "HTTP",
                method,
                path: &normal,
                length: web.length,
            };
            told["limits"] = limits(head, &explained, asked);
        }
    }
    told
}

fn of_mail(head: &Head, mail: &Mail) -> Value {
    let explained = head.table.explain_mail(&mail.recipient);
    let mut told = value!({"protocol": "SMTP", "recipient": mail.recipient});
    routed(head, &explained, &mut told);
    let canonical = Canonical::of(&mail.recipient);
    let asked = |service| Asked {
        service,
        auth_token: &mail.auth_token,
        protocol: "SMTP",
        method: "MAIL",
        path: canonical.domain(),
        length: mail.length,
    };
    told["limits"] = limits(head, &explained, asked);
    told
}

fn winner<'a>(head: &'a Head, explained: &Explained) -> Option<&'a Arc<Entry>> {
    head.table.entry(explained.winner()?.service.as_str())
}

fn routed(head: &Head, explained: &Explained, told: &mut Value) {
    let entry = winner(head, explained);
    told["service"] = entry.map(|entry| entry.service.name.as_str()).into();
    told["match"] = explained.winner().map(|winner| winner.index).into();
    if entry.is_none() {
        told["answer"] = value!({"status": 404, "detail": "no service takes it"});
    }
    told["candidates"] = explained.candidates.iter().map(candidate).collect();
    if explained.more > 0 {
        told["more"] = explained.more.into();
    }
    let Some(entry) = entry else { return };
    let name = entry.service.authorizer.as_ref();
    let authority = name.and_then(|name| head.table.authority(name));
    told["authorizer"] = match (name, authority) {
        (None, _) => Value::Null,
        (Some(_), Some(authority)) => {
            document::current(head, &ObjectKey::authorizer(authority.authorizer.name.as_str()))
        }
        (Some(name), None) => {
            value!({"name": name.as_str(), "answer": {"status": 503, "detail": "there is no such authorizer"}})
        }
    };
    told["held"] = head.table.held(&entry.service.name).is_some().into();
    let upstreams = entry.upstreams.values().take(TOLD_MAX).map(|registered| {
        let mut shown = registered.upstream.document();
        shown["id"] = registered.upstream.id.as_str().into();
        shown
    });
    told["upstreams"] = upstreams.collect();
    if entry.upstreams.len() > TOLD_MAX {
        told["more_upstreams"] = (entry.upstreams.len() - TOLD_MAX).into();
    }
}

fn candidate(candidate: &Candidate) -> Value {
    let fits = matches!(candidate.why, Why::Wins | Why::Outranked(_));
    value!({
        "service": candidate.service.as_str(),
        "match": candidate.index,
        "wins": candidate.why == Why::Wins,
        "fits": fits,
        "why": candidate.why.to_string(),
    })
}

/// By the index that proxies look them up in.
fn limits<'a>(head: &'a Head, explained: &'a Explained, asked: impl FnOnce(&'a str) -> Asked<'a>) -> Value {
    let Some(winner) = explained.winner() else {
        return value!([]);
    };
    let found = head.table.limits(&asked(winner.service.as_str()));
    let shown = found.iter().take(TOLD_MAX);
    shown
        .map(|in_force| document::current(head, &ObjectKey::limit(in_force.limit.id)))
        .collect()
}

/// Adds how one proxy sees each upstream; null where it cannot be asked.
async fn as_seen(api: &Api, proxy: &MemberView, service: &Arc<str>, told: &mut Value) {
    let about = About::Service {
        service: service.clone(),
        after: "".into(),
    };
    let answer = match proxy.state {
        Presence::Present => fleet::ask(api, proxy, Some(about)).await,
        Presence::Absent | Presence::Detached => None,
    };
    let seen: Map<String, Value> = answer
        .into_iter()
        .flat_map(|answer| answer.list)
        .map(|seen| {
            (
                seen.id.to_string(),
                value!({"health": seen.health, "in_flight": seen.in_flight}),
            )
        })
        .collect();
    told["proxy"] = value!({"name": proxy.name, "applied": proxy.applied});
    for upstream in told["upstreams"].as_array_mut().into_iter().flatten() {
        let id = upstream["id"].as_str().unwrap_or_default().to_owned();
        upstream["seen"] = seen.get(&id).cloned().unwrap_or_default();
    }
}
