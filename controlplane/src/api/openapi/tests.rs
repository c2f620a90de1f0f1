mod model;

use std::collections::BTreeSet;

use super::*;
use crate::api::roles::tests::routes;

/// What is at a `$ref`.
fn resolve<'a>(document: &'a Value, reference: &str) -> Option<&'a Value> {
    document.pointer(reference.strip_prefix('#')?)
}

fn each(value: &Value, visit: &mut impl FnMut(&Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            visit(members);
            members.values().for_each(|member| each(member, visit));
        }
        Value::Array(items) => items.iter().for_each(|item| each(item, visit)),
        _ => {}
    }
}

/// Every operation, as (method and path, what it says).
fn operations_of(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let each = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    });
    each.collect()
}

#[tokio::test]
async fn every_route_has_its_operation_and_every_operation_its_route() {
    let routes = routes().await;
    let document = document();
    let described: BTreeSet<String> = operations_of(&document).into_iter().map(|(name, _)| name).collect();
    assert_eq!(operations::all().len(), described.len(), "none is there twice");
    assert_eq!(
        routes.difference(&described).collect::<Vec<_>>(),
        [""; 0],
        "without an operation"
    );
    assert_eq!(
        described.difference(&routes).collect::<Vec<_>>(),
        [""; 0],
        "of no route"
    );
}

#[test]
fn what_is_referred_to_is_there_and_what_is_there_is_referred_to() {
    let document = document();
    let mut referred = BTreeSet::new();
    each(&document, &mut |members| {
        if let Some(Value::String(reference)) = members.get("$ref") {
            assert!(resolve(&document, reference).is_some(), "{reference}");
            referred.insert(reference.clone());
        }
    });
    for part in ["schemas", "parameters", "responses", "headers"] {
        for name in document["components"][part].as_object().unwrap().keys() {
            assert!(
                referred.contains(&format!("#/components/{part}/{name}")),
                "{part}/{name} is of no use"
            );
        }
    }
}

#[test]
fn every_operation_says_what_it_is_and_shows_an_example() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (name, operation) in operations_of(&document) {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{name}");
        for said in ["summary", "description"] {
            assert!(operation[said].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        }
        let tag = &operation["tags"][0];
        let mut tags = document["tags"].as_array().unwrap().iter();
        assert!(tags.any(|known| known["name"] == *tag), "{name}: {tag}");
        let parts = [&operation["requestBody"], &operation["responses"]];
        for part in parts {
            each(part, &mut |members| {
                let Some(Value::Object(forms)) = members.get("content") else {
                    return;
                };
                for (media, form) in forms.iter().filter(|(media, _)| media.contains("json")) {
                    assert!(form.get("example").is_some(), "{name}: {media}");
                }
            });
        }
        let responses = operation["responses"].as_object().unwrap();
        let may_be_refused = operation["security"] != json!([]);
        for status in ["401", "403", "429"] {
            assert_eq!(responses.contains_key(status), may_be_refused, "{name}: {status}");
        }
    }
}

#[test]
fn every_schema_has_an_example_and_each_problem_its_own() {
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let example = schema["examples"].get(0);
        assert!(example.is_some_and(|example| *example != json!([])), "{name}");
        if *schema != json!({}) && schema["additionalProperties"] == false {
            let known = schema["properties"].as_object().unwrap();
            let members = example.and_then(Value::as_object).unwrap();
            for member in members.keys() {
                assert!(known.contains_key(member), "{name}: {member}");
            }
            for required in schema["required"].as_array().into_iter().flatten() {
                assert!(members.contains_key(required.as_str().unwrap()), "{name}: {required}");
            }
        }
    }
    let kinds: Vec<&str> = document
        .pointer("/components/schemas/Problem/properties/type/enum")
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for (name, response) in document["components"]["responses"].as_object().unwrap() {
        let examples = &response["content"][net::problem::CONTENT_TYPE]["examples"];
        for kind in name.split('.') {
            let said = examples[kind]["value"]["type"].as_str().unwrap();
            assert_eq!(said, format!("urn:vulcan:{kind}"));
            assert!(kinds.contains(&said), "{said}");
        }
    }
}
