//! `service`, `upstream`, `limit` and `authorizer`: the same verbs on other paths.

use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderName, Method};
use serde_json::Value;

use super::pages::PATIENCE;
use super::{BESIDE_WAIT, WAIT_MAX, given, print, written};
use crate::args::{Authorizer, Creation, Limit, Output, Remote, Service, Upstream, Write};
use crate::client::{Answer, Ask, Client, encode, items};
use crate::failure::Failure;
use crate::waiting::{self, About};

mod account;
mod fields;
mod list;
mod sheet;

/// One object, or one that is to be.
struct Target {
    path: String,
    /// What it is called when something is told of it.
    name: String,
}

impl Target {
    fn service(name: &str) -> Target {
        Target {
            path: format!("/v1/services/{}", encode(name)),
            name: name.to_owned(),
        }
    }

    fn upstream(service: &str, id: &str) -> Target {
        Target {
            path: format!("/v1/services/{}/upstreams/{}", encode(service), encode(id)),
            name: format!("{service}/{id}"),
        }
    }

    fn limit(id: &str) -> Target {
        Target {
            path: format!("/v1/limits/{}", encode(id)),
            name: id.to_owned(),
        }
    }

    fn authorizer(name: &str) -> Target {
        Target {
            path: format!("/v1/authorizers/{}", encode(name)),
            name: name.to_owned(),
        }
    }
}

pub fn service(verb: Service) -> Result<(), Failure> {
    match verb {
        Service::List { remote } => list::services(&remote),
        Service::Get { service, remote } => get(&Target::service(&service), &remote),
        Service::Put {
            service,
            document,
            fields,
            creation,
            write,
        } => {
            let body = match given::text(&document)? {
                Some(text) => text,
                None => fields::service(&fields)?,
            };
            put(&Target::service(&service), Some(&body), &creation, &write)
        }
        Service::Patch {
            service,
            document,
            write,
        } => patch(&Target::service(&service), &given::required(&document)?, &write),
        Service::Delete { service, write } => delete(&Target::service(&service), &write),
    }
}

pub fn upstream(verb: Upstream) -> Result<(), Failure> {
    match verb {
        Upstream::List {
            service,
            address,
            status,
            remote,
        } => list::upstreams(service.as_deref(), address.as_deref(), status, &remote),
        Upstream::Get { service, id, remote } => get(&Target::upstream(&service, &id), &remote),
        Upstream::Put {
            service,
            id,
            document,
            fields,
            creation,
            write,
        } => {
            let body = given::text(&document)?.or_else(|| fields::upstream(&fields));
            put(&Target::upstream(&service, &id), body.as_deref(), &creation, &write)
        }
        Upstream::Patch {
            service,
            id,
            document,
            write,
        } => patch(&Target::upstream(&service, &id), &given::required(&document)?, &write),
        Upstream::Delete { service, id, write } => delete(&Target::upstream(&service, &id), &write),
    }
}

pub fn limit(verb: Limit) -> Result<(), Failure> {
    match verb {
        Limit::List { remote } => list::limits(&remote),
        Limit::Get { id, remote } => get(&Target::limit(&id), &remote),
        Limit::Put {
            id,
            document,
            creation,
            write,
        } => put(
            &Target::limit(&id),
            Some(&given::required(&document)?),
            &creation,
            &write,
        ),
        Limit::Patch { id, document, write } => patch(&Target::limit(&id), &given::required(&document)?, &write),
        Limit::Delete { id, write } => delete(&Target::limit(&id), &write),
        Limit::Usage { id, account, remote } => account::usage(&Target::limit(&id), &account, &remote),
        Limit::Reset { id, account, remote } => account::reset(&Target::limit(&id), &account, &remote),
    }
}

pub fn authorizer(verb: Authorizer) -> Result<(), Failure> {
    match verb {
        Authorizer::List { remote } => list::authorizers(&remote),
        Authorizer::Get { authorizer, remote } => get(&Target::authorizer(&authorizer), &remote),
        Authorizer::Put {
            authorizer,
            document,
            creation,
            write,
        } => {
            let body = given::required(&document)?;
            put(&Target::authorizer(&authorizer), Some(&body), &creation, &write)
        }
        Authorizer::Patch {
            authorizer,
            document,
            write,
        } => patch(&Target::authorizer(&authorizer), &given::required(&document)?, &write),
        Authorizer::Delete { authorizer, write } => delete(&Target::authorizer(&authorizer), &write),
    }
}

fn get(target: &Target, remote: &Remote) -> Result<(), Failure> {
    let answer = Client::new(remote)?.call(Method::GET, &target.path, PATIENCE)?;
    match remote.output {
        Output::Json => print(&answer.text)?,
        Output::Table => print(&sheet::render(&answer.body))?,
    }
    Ok(())
}

fn put(target: &Target, body: Option<&str>, creation: &Creation, write: &Write) -> Result<(), Failure> {
    let only_new = creation.if_none_match.then(|| (IF_NONE_MATCH, "*".to_owned()));
    send(Method::PUT, target, body, only_new, write).map(drop)
}

fn patch(target: &Target, body: &str, write: &Write) -> Result<(), Failure> {
    send(Method::PATCH, target, Some(body), None, write).map(drop)
}

fn delete(target: &Target, write: &Write) -> Result<(), Failure> {
    let answer = send(Method::DELETE, target, None, None, write)?;
    if let Some(note) = absent(&Client::new(&write.remote)?, target, &answer) {
        eprintln!("{note}");
    }
    Ok(())
}

/// A deletion is a success also where a slip in the name was deleted. None: it was there, or that cannot be looked up.
fn absent(client: &Client, target: &Target, answer: &Answer) -> Option<String> {
    let revision = answer.body["revision"].as_u64()?;
    let path = format!("/v1/revisions?since={}&limit=1", revision.saturating_sub(1));
    let history = client.call(Method::GET, &path, PATIENCE).ok()?;
    let mut ops = items(&history.body["items"]).iter().flat_map(|of| items(&of["ops"]));
    let of_it = |op: &Value| {
        op["verb"] == "delete"
            && op["key"]
                .as_str()
                .is_some_and(|key| key.eq_ignore_ascii_case(&target.name))
    };
    let note = || format!("note: {} was not there, and nothing was deleted", target.name);
    (!ops.any(of_it)).then(note)
}

fn send(
    method: Method,
    target: &Target,
    body: Option<&str>,
    condition: Option<(HeaderName, String)>,
    write: &Write,
) -> Result<Answer, Failure> {
    let client = Client::new(&write.remote)?;
    let at_revision = write.if_match.clone().map(|tag| (IF_MATCH, tag));
    let headers: Vec<(HeaderName, String)> = condition.into_iter().chain(at_revision).collect();
    let path = format!("{}{}", target.path, query(write));
    let ask = Ask {
        method,
        path: &path,
        body,
        headers: &headers,
        patience: write.timeout.unwrap_or(WAIT_MAX) + BESIDE_WAIT,
    };
    let answer = waiting::during(&write.remote, About::Upstreams(target.name.clone()), || {
        client.ask(&ask)
    })?;
    written::report(&target.name, write.remote.output, &answer)?;
    Ok(answer)
}

fn query(write: &Write) -> String {
    let wait = write.wait.map(|goal| format!("wait={}", goal.as_str()));
    let timeout = write
        .timeout
        .map(|timeout| format!("timeout={}ms", timeout.as_millis()));
    match [wait, timeout].into_iter().flatten().collect::<Vec<_>>().as_slice() {
        [] => String::new(),
        parameters => format!("?{}", parameters.join("&")),
    }
}
