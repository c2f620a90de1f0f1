//! The schemas of documents against the model that reads them: its names, its defaults, its bounds.

use shared::model::{Authorizer, Hold, Invalid, Limit, Service, Upstream};

use super::*;

const LIMIT: &str = "5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b";
const ID: &str = "10.0.0.5:3000";

type Read = fn(&Value) -> Result<Value, Invalid>;

/// A document as the model shows it again, a schema's name, and the least that it reads.
const OBJECTS: [(&str, &str, Read); 5] = [
    ("Service", r#"{"match":[]}"#, |value| {
        Ok(Service::from_value("web", value)?.document())
    }),
    ("Upstream", "{}", |value| {
        Ok(Upstream::from_value("web", ID, value)?.document())
    }),
    ("Authorizer", r#"{"service":"auth"}"#, |value| {
        Ok(Authorizer::from_value("main", value)?.document())
    }),
    ("Limit", r#"{"threshold":100}"#, |value| {
        Ok(Limit::from_value(LIMIT, value)?.document())
    }),
    ("Hold", "{}", |value| Ok(Hold::asked(value)?.document())),
];

/// What is not the model's: the path says it, or the time.
const BESIDE: [&str; 4] = ["name", "id", "revision", "ends_at"];

/// One that is a part of a service or an authorizer: its schema, where it stands, and the least that it reads.
const PARTS: [(&str, &str, &str, &str); 8] = [
    ("Service", "Match", "/match/0", r#"{}"#),
    ("Service", "HealthCheck", "/health_check", r#"{"path":"/up"}"#),
    ("Service", "Timeouts", "/timeouts", "{}"),
    ("Service", "Retries", "/retries", "{}"),
    ("Service", "UpstreamCare", "/upstream_care", "{}"),
    ("Service", "Mail", "/mail", "{}"),
    ("Authorizer", "Cache", "/cache", "{}"),
    ("Service", "Service", "", r#"{"match":[]}"#),
];

fn schema(document: &Value, name: &str) -> Map<String, Value> {
    let schema = &document["components"]["schemas"][name];
    schema["properties"].as_object().unwrap().clone()
}

fn object(name: &str) -> (Value, Read) {
    let (_, least, read) = OBJECTS.into_iter().find(|(of, ..)| *of == name).unwrap();
    (serde_json::from_str(least).unwrap(), read)
}

/// A whole object with `part` where it stands.
fn with(whole: &str, place: &str, part: Value) -> (Value, Read) {
    let (mut value, read) = object(whole);
    match place.strip_prefix('/') {
        None => value = part,
        Some("match/0") => value["match"] = json!([part]),
        Some(member) => value[member] = part,
    }
    (value, read)
}

/// Every object and part: (object, schema, place, the least).
fn all() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let objects = OBJECTS.iter().map(|(name, least, _)| (*name, *name, "", *least));
    let all = objects.chain(PARTS);
    all.map(|(whole, name, place, least)| (whole, name, place, serde_json::from_str(least).unwrap()))
        .collect()
}

#[test]
fn a_schema_has_the_fields_of_the_model_and_no_others() {
    let document = document();
    for (whole, name, place, least) in all() {
        let (value, read) = with(whole, place, least);
        let shown = read(&value).unwrap();
        let of_model: BTreeSet<&String> = shown.pointer(place).unwrap().as_object().unwrap().keys().collect();
        let properties = schema(&document, name);
        let beside = |member: &&String| BESIDE.contains(&member.as_str()) || is_of_path(name, member);
        let of_schema: BTreeSet<&String> = properties.keys().filter(|member| !beside(member)).collect();
        assert_eq!(of_schema, of_model, "{name}");
    }
}

fn is_of_path(schema: &str, member: &str) -> bool {
    matches!(schema, "Upstream" | "Hold") && member == "service"
}

#[test]
fn defaults_are_those_of_the_model() {
    let document = document();
    let mut seen = 0;
    for (whole, name, place, least) in all() {
        let (value, read) = with(whole, place, least);
        let shown = read(&value).unwrap();
        for (member, property) in schema(&document, name) {
            if let Some(default) = property.get("default") {
                assert_eq!(shown.pointer(place).unwrap()[&member], *default, "{name}.{member}");
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn required_is_what_the_model_cannot_do_without() {
    let document = document();
    for (whole, name, place, least) in all() {
        let required = &document["components"]["schemas"][name]["required"];
        let required: Vec<&str> = required
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for member in least.as_object().unwrap().keys() {
            let mut without = least.clone();
            without.as_object_mut().unwrap().remove(member);
            let (value, read) = with(whole, place, without);
            assert!(
                required.contains(&member.as_str()) && read(&value).is_err(),
                "{name}.{member}"
            );
        }
        assert_eq!(required.len(), least.as_object().unwrap().len(), "{name}");
    }
}

/// Numbers at and beyond their bounds, and words that are known and not.
#[test]
fn bounds_are_those_of_the_model() {
    let document = document();
    let mut seen = 0;
    for (whole, name, place, least) in all() {
        for (member, property) in schema(&document, name) {
            if BESIDE.contains(&member.as_str()) || is_of_path(name, &member) {
                continue;
            }
            let takes = |value: Value| {
                let mut part = least.clone();
                part[&member] = value;
                if member == "copy_headers" {
                    // What no other style takes.
                    part["style"] = "forward".into();
                }
                let (value, read) = with(whole, place, part);
                read(&value).is_ok()
            };
            let bound = |bound: &str| property.get(bound).and_then(Value::as_i64);
            for (at, beyond) in [(bound("minimum"), -1), (bound("maximum"), 1)] {
                if let Some(at) = at {
                    assert!(
                        takes(at.into()) && !takes((at + beyond).into()),
                        "{name}.{member}: {at}"
                    );
                    seen += 1;
                }
            }
            if let Some(Value::Array(words)) = property.get("enum") {
                // A mail in that shape has to be signed.
                let words = words.iter().filter(|word| **word != "mailgun");
                assert!(words.cloned().all(takes) && !takes("other".into()), "{name}.{member}");
                seen += 1;
            }
            if let Some(most) = bound("maxItems").and_then(|most| usize::try_from(most).ok()) {
                let item = resolved(&document, &property["items"]);
                let items = |count: usize| -> Value { (0..count).map(|at| sample(&member, &item, at)).collect() };
                assert!(takes(items(most)) && !takes(items(most + 1)), "{name}.{member}: {most}");
                seen += 1;
            }
            let is_null = |kind: &Value| kind == "null";
            let forms = property["anyOf"].as_array().into_iter().flatten();
            let mut kinds = property["type"].as_array().into_iter().flatten();
            let may_be_null = kinds.any(is_null) || forms.map(|form| &form["type"]).any(is_null);
            assert_eq!(takes(Value::Null), may_be_null, "{name}.{member}: null");
        }
    }
    assert!(seen > 30, "{seen}");
}

fn resolved(document: &Value, schema: &Value) -> Value {
    match schema["$ref"].as_str() {
        Some(reference) => resolve(document, reference).unwrap().clone(),
        None => schema.clone(),
    }
}

/// The item at `at` of a list that takes no item twice.
fn sample(member: &str, item: &Value, at: usize) -> Value {
    match member {
        "match" => json!({"path_prefix": format!("/{at}")}),
        "methods" => format!("M{at}").into(),
        "vary" => format!("header:x-{at}").into(),
        "allow" | "deny" => format!("10.0.{}.{}", at / 256, at % 256).into(),
        _ if item["type"] == "string" => format!("a{at}.example.com").into(),
        _ => item["examples"][0].clone(),
    }
}

#[test]
fn every_example_of_a_document_is_read() {
    let document = document();
    for (whole, name, place, _) in all() {
        let examples = document["components"]["schemas"][name]["examples"].as_array().unwrap();
        for example in examples {
            let (value, read) = with(whole, place, example.clone());
            if let Err(invalid) = read(&value) {
                panic!("{name}: {example}: {invalid}");
            }
        }
    }
}
