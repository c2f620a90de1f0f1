//! Strict JSON against the parser beneath it, and merge patches.

use serde_json::Value;
use shared::model::{InvalidKind, json, merge_patch};

/// A document, and on the lines behind it a patch.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (document, patch) = text.split_once('\n').unwrap_or((text, "{}"));
    let document = strict(document);
    let patch = strict(patch);
    if let (Some(document), Some(patch)) = (document, patch) {
        patched(document, patch);
    }
}

fn strict(text: &str) -> Option<Value> {
    let lenient = serde_json::from_str::<Value>(text);
    match json::parse(text) {
        Ok(value) => {
            // That one name means raw JSON to the parser beneath, and nothing here.
            if !text.contains("$serde_json") {
                assert_eq!(lenient.ok().as_ref(), Some(&value));
            }
            // A float may be read back as its neighbour.
            if !has_float(&value) {
                assert_eq!(json::parse(&value.to_string()).as_ref(), Ok(&value));
            }
            Some(value)
        }
        Err(invalid) => {
            assert_eq!((invalid.kind, invalid.errors.len()), (InvalidKind::Malformed, 1));
            let error = &invalid.errors[0];
            assert!(!error.detail.is_empty());
            if lenient.is_ok() {
                assert_eq!(error.detail, "the key is repeated");
            }
            None
        }
    }
}

fn has_float(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_float),
        Value::Object(members) => members.values().any(has_float),
        _ => false,
    }
}

fn patched(document: Value, patch: Value) {
    let mut once = document.clone();
    merge_patch(&mut once, patch.clone());
    says(&once, &patch);
    let mut twice = once.clone();
    merge_patch(&mut twice, patch);
    assert_eq!(once, twice);
    if document.is_object() {
        let mut same = document.clone();
        merge_patch(&mut same, Value::Object(Default::default()));
        assert_eq!(same, document);
    }
}

/// What a patch names is as it says.
fn says(value: &Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        return assert_eq!(value, patch);
    };
    let members = value.as_object().expect("an object");
    for (name, change) in changes {
        match change {
            Value::Null => assert!(!members.contains_key(name)),
            change => says(&members[name], change),
        }
    }
}
