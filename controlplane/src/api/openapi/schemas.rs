//! The schemas: of documents as they are sent, written down beside this, and what follows from them.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use shared::model::{Authorizer, Hold, Invalid, Limit, Service, Upstream};

const FILES: [&str; 4] = [
    include_str!("schemas/service.json"),
    include_str!("schemas/objects.json"),
    include_str!("schemas/answers.json"),
    include_str!("schemas/views.json"),
];

static ALL: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    // A test reads each.
    let written = FILES
        .iter()
        .flat_map(|file| serde_json::from_str::<Map<String, Value>>(file).unwrap_or_default());
    derived(written.collect())
});

/// What is sent and shown, with the members that only repeat the path.
const OBJECTS: [(&str, &[&str]); 5] = [
    ("Service", &["name", "revision"]),
    ("Upstream", &["service", "id", "revision"]),
    ("Authorizer", &["name", "revision"]),
    ("Limit", &["id", "revision"]),
    ("Hold", &["service", "revision"]),
];

const PAGES: [(&str, &str); 6] = [
    ("ServicePage", "ServiceShown"),
    ("UpstreamPage", "UpstreamShown"),
    ("AuthorizerPage", "AuthorizerShown"),
    ("LimitPage", "LimitShown"),
    ("CommitPage", "Commit"),
    ("TrafficPage", "Traffic"),
];

/// `kinds`: every `type` of a problem.
pub fn all(kinds: BTreeSet<String>) -> Value {
    let mut all = ALL.clone();
    if let Some(problem) = all.get_mut("Problem") {
        problem["properties"]["type"]["enum"] = kinds.into_iter().collect();
    }
    all.into()
}

pub fn parameters() -> Value {
    serde_json::from_str(include_str!("schemas/parameters.json")).unwrap_or_default()
}

pub fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

pub fn example(name: &str) -> Option<Value> {
    ALL.get(name)?.get("examples")?.get(0).cloned()
}

fn derived(mut all: Map<String, Value>) -> Map<String, Value> {
    for (name, own) in OBJECTS {
        let schema = all.get(name).cloned().unwrap_or_default();
        all.insert(format!("{name}Shown"), shown(name, &schema));
        let mut patch = patch(&all, &schema, own);
        patch["description"] = "A merge patch (RFC 7396): null lets a field stand at its default.".into();
        patch["examples"] = json!([patch_example(name)]);
        if name != "Hold" {
            all.insert(format!("{name}Patch"), patch);
        }
    }
    let mut applied = all.get("Service").cloned().unwrap_or_default();
    applied["properties"]["upstreams"] = json!({
        "type": "object",
        "propertyNames": reference("UpstreamId"),
        "additionalProperties": reference("Upstream"),
    });
    applied["description"] = "A service with its upstreams.".into();
    all.insert("AppliedService".to_owned(), applied);
    if let Some(upstream) = all.get_mut("UpstreamShown") {
        upstream["properties"]["status"] = reference("UpstreamStatus");
    }
    for (name, item) in PAGES {
        let example = all.get(item).and_then(|item| item["examples"].get(0)).cloned();
        let page = json!({
            "type": "object",
            "required": ["items", "next"],
            "additionalProperties": false,
            "properties": {"items": {"type": "array", "items": reference(item)}, "next": reference("Next")},
            "examples": [{"items": example.into_iter().collect::<Vec<_>>(), "next": null}],
        });
        all.insert(name.to_owned(), page);
    }
    let many = ["WrittenMany", "DryRun"].map(reference);
    let example = all
        .get("WrittenMany")
        .map_or(Value::Null, |written| written["examples"].clone());
    all.insert(
        "WrittenManyOrDryRun".to_owned(),
        json!({"anyOf": many, "examples": example}),
    );
    let internal = [
        ("Lines", json!({"description": "Lines of JSON.", "examples": [{}]})),
        ("Told", json!({"type": "object", "examples": [{}]})),
        (
            "Document",
            json!({"type": "object", "required": ["openapi"], "examples": [{"openapi": "3.1.0"}]}),
        ),
    ];
    all.extend(internal.map(|(name, schema)| (name.to_owned(), schema)));
    all
}

/// As GET shows it: everything is there.
fn shown(name: &str, schema: &Value) -> Value {
    let mut shown = schema.clone();
    let members = schema["properties"].as_object().into_iter().flat_map(Map::keys);
    shown["required"] = members.cloned().collect();
    let example = shown_example(name, &schema["examples"][0]).unwrap_or_default();
    shown["examples"] = json!([example]);
    shown
}

/// The document that the model makes of what was sent.
fn shown_example(name: &str, sent: &Value) -> Result<Value, Invalid> {
    const LIMIT: &str = "5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b";
    let (mut document, own) = match name {
        "Service" => (Service::from_value("web", sent)?.document(), json!({"name": "web"})),
        "Upstream" => {
            let id = "10.0.0.5:3000";
            (
                Upstream::from_value("web", id, sent)?.document(),
                json!({"service": "web", "id": id}),
            )
        }
        "Authorizer" => (
            Authorizer::from_value("main", sent)?.document(),
            json!({"name": "main"}),
        ),
        "Limit" => (Limit::from_value(LIMIT, sent)?.document(), json!({"id": LIMIT})),
        _ => {
            let own = json!({"service": "web", "ends_at": "2026-01-31T09:30:00.123Z"});
            (Hold::asked(sent)?.document(), own)
        }
    };
    document["revision"] = 42.into();
    if let Value::Object(own) = own {
        own.into_iter().for_each(|(member, value)| document[member] = value);
    }
    Ok(document)
}

fn patch_example(name: &str) -> Value {
    match name {
        "Service" => json!({"timeouts": {"response": "30s"}, "health_check": null}),
        "Upstream" => json!({"state": "draining"}),
        "Authorizer" => json!({"timeout": "1s"}),
        _ => json!({"threshold": 200}),
    }
}

/// No member is required and each may be null, but for `own` ones; lists stay what they are.
fn patch(all: &Map<String, Value>, schema: &Value, own: &[&str]) -> Value {
    let members = schema["properties"].as_object().into_iter().flatten();
    let members = members.map(|(name, member)| {
        let member = match own.contains(&name.as_str()) {
            true => member.clone(),
            false => nullable(all, member),
        };
        (name.clone(), member)
    });
    let members: Map<String, Value> = members.collect();
    json!({"type": "object", "additionalProperties": false, "properties": members})
}

fn nullable(all: &Map<String, Value>, member: &Value) -> Value {
    let null = || json!({"type": "null"});
    let forms = match member["anyOf"].as_array() {
        Some(forms) => forms
            .iter()
            .filter(|form| **form != null())
            .map(|form| patched(all, form))
            .collect(),
        None => vec![patched(all, member)],
    };
    let mut nullable = json!({"anyOf": forms.into_iter().chain([null()]).collect::<Vec<_>>()});
    if let Some(description) = member.get("description") {
        nullable["description"] = description.clone();
    }
    nullable
}

/// An object is merged member by member.
fn patched(all: &Map<String, Value>, form: &Value) -> Value {
    let named = form["$ref"].as_str().and_then(|name| all.get(name.rsplit('/').next()?));
    match named {
        Some(object) if object["properties"].is_object() => patch(all, object, &[]),
        _ if form["properties"].is_object() => patch(all, form, &[]),
        _ => {
            let mut form = form.clone();
            if let Value::Object(members) = &mut form {
                members.retain(|name, _| name != "default" && name != "description");
            }
            form
        }
    }
}
