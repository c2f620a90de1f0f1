//! `GET /openapi.json`: what the API is, for programs (OpenAPI 3.1). Made of what the code has: the operations, which a test
//! holds against the router, who may call them, the sorts of problems, and the documents, which tests hold against the model.

mod operation;
mod operations;
mod problems;
mod schemas;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::Router;
use axum::routing::get;
use http::{HeaderMap, Method};
use serde_json::{Map, Value, json};

use super::roles::{self, Needs};
use crate::dashboard::File;
use operation::{Answer, JSON, Operation};
use schemas::reference;

static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
static FILE: LazyLock<File> = LazyLock::new(|| File::of(("openapi.json", JSON, TEXT.as_str())));

/// Its route, which is open to all: the document tells nothing of what is configured.
pub fn router() -> Router {
    Router::new().route("/openapi.json", get(async |headers: HeaderMap| FILE.answer(&headers)))
}

const ABOUT: &str = "The REST interface of a Vulcan control plane. Everything is JSON. Unknown fields, and unknown or repeated \
    query parameters, are refused. A write is answered when it is true on every proxy; 504 names those where it is not yet, and \
    it is committed nevertheless. Without tokens the API is bound to loopback and asks for none.";

fn document() -> Value {
    let operations = operations::all();
    let mut paths = Map::new();
    let mut responses = BTreeMap::new();
    for operation in &operations {
        let methods = paths.entry(operation.path).or_insert_with(|| json!({}));
        methods[operation.method.to_ascii_lowercase()] = shown(operation, &mut responses);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Vulcan",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "Where the document comes from."}],
        "tags": shown_tags(),
        "paths": paths,
        "components": {
            "schemas": schemas::all(problems::kinds(&operations)),
            "parameters": schemas::parameters(),
            "responses": responses,
            "headers": {
                "ETag": {"description": "The entity tag: of an object its revision.", "schema": {"type": "string", "examples": ["\"42\""]}},
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 0, "examples": [1]}},
                "WWW-Authenticate": {"schema": {"type": "string", "examples": ["Bearer realm=\"vulcan\""]}},
            },
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token of the file that --tokens names."},
                "peer": {"type": "http", "scheme": "bearer", "description": "The token that control planes share."},
            },
        },
    })
}

/// Each with the beginning of its paths; the first that fits, so the last has the rest.
const TAGS: [(&str, &str, &str); 8] = [
    (
        "internal",
        "/v1/peers",
        "Between proxies and control planes: not for others.",
    ),
    (
        "upstreams",
        "/upstreams",
        "The servers of services: registered, drained, unregistered.",
    ),
    ("services", "/v1/services", "Named destinations, and what they match."),
    (
        "authorizers",
        "/v1/authorizers",
        "Who is asked before a request goes on.",
    ),
    ("limits", "/v1/limits", "How many requests may pass."),
    ("fleet", "/v1/fleet", "The proxies."),
    (
        "configuration",
        "/v1/",
        "All of it at once: history, documents, explanations.",
    ),
    ("operations", "/", "Health, metrics, and pages."),
];

/// What is not for others comes last.
fn shown_tags() -> Vec<Value> {
    let (internal, open): (Vec<_>, Vec<_>) = TAGS.into_iter().partition(|(name, ..)| *name == "internal");
    let tags = open.into_iter().chain(internal);
    tags.map(|(name, _, description)| json!({"name": name, "description": description}))
        .collect()
}

fn tag(path: &str) -> &'static str {
    match path {
        "/v1/stream" => "internal",
        "/v1/traffic" => "fleet",
        _ => {
            let fits = |beginning: &str| match beginning {
                "/upstreams" => path.contains(beginning),
                _ => path.starts_with(beginning),
            };
            TAGS.iter()
                .find(|(_, beginning, _)| fits(beginning))
                .map_or("operations", |(name, ..)| name)
        }
    }
}

fn needs(operation: &Operation) -> Needs {
    let method = Method::from_bytes(operation.method.as_bytes()).unwrap_or_default();
    roles::needs(Some(operation.path), &method).unwrap_or(Needs::Admin)
}

fn shown(operation: &Operation, shared: &mut BTreeMap<String, Value>) -> Value {
    let needs = needs(operation);
    let security = match needs {
        Needs::Nothing => json!([]),
        Needs::Peer => json!([{"peer": []}]),
        _ => json!([{"token": []}]),
    };
    let description = format!("{} For {needs}.", operation.description);
    let mut shown = json!({
        "operationId": operation.id,
        "tags": [tag(operation.path)],
        "summary": operation.summary,
        "description": description.trim_start(),
        "security": security,
        "parameters": parameters(operation),
        "responses": responses(operation, needs, shared),
    });
    if let Some(body) = &operation.body {
        let content = body
            .media
            .iter()
            .map(|media| ((*media).to_owned(), content(media, body.schema)));
        let content: Map<String, Value> = content.collect();
        shown["requestBody"] = json!({"required": body.required, "content": content});
    }
    shown
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let of_path = operation.path.split(['{', '}']).skip(1).step_by(2);
    let names = of_path.map(|name| format!("path.{name}"));
    let names = names.chain(operation.parameters.iter().map(|name| (*name).to_owned()));
    names
        .map(|name| json!({"$ref": format!("#/components/parameters/{name}")}))
        .collect()
}

fn responses(operation: &Operation, needs: Needs, shared: &mut BTreeMap<String, Value>) -> Map<String, Value> {
    let mut responses = Map::new();
    for answer in &operation.answers {
        responses.insert(answer.status.to_string(), response(answer));
    }
    for (status, kinds) in problems::by_status(operation, needs) {
        let name = problems::name(&kinds);
        let reference = json!({"$ref": format!("#/components/responses/{name}")});
        shared.entry(name).or_insert_with(|| problems::response(&kinds));
        responses.insert(status.to_string(), reference);
    }
    responses
}

fn response(answer: &Answer) -> Value {
    let mut response = json!({"description": answer.description});
    if answer.has_tag {
        response["headers"] = json!({"ETag": {"$ref": "#/components/headers/ETag"}});
    }
    let forms = answer.content.iter();
    let forms: Map<String, Value> = forms
        .map(|(media, schema)| ((*media).to_owned(), content(media, schema)))
        .collect();
    if !forms.is_empty() {
        response["content"] = forms.into();
    }
    response
}

fn content(media: &str, schema: &str) -> Value {
    match schema {
        "" if media.starts_with("text/") => json!({"schema": {"type": "string"}}),
        "" => json!({"schema": {"type": "string", "format": "binary"}}),
        schema => {
            let mut content = json!({"schema": reference(schema)});
            if let Some(example) = schemas::example(schema) {
                content["example"] = example;
            }
            content
        }
    }
}

#[cfg(test)]
mod tests;
