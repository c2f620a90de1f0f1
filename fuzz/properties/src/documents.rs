//! Services, upstreams and limits: what is stored is read back as the same, and what is refused is named.

use serde_json::Value;
use shared::change::Body;
use shared::model::{Invalid, InvalidKind, Limit, Service, Upstream, json, merge_patch};

const ERRORS_MAX: usize = 32;

/// A document, and on the lines behind it a patch.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (document, patch) = text.split_once('\n').unwrap_or((text, "{}"));
    let patch = json::parse(patch).unwrap_or_default();
    service(document, &patch);
    for id in ["127.0.0.1:3000", "blue"] {
        upstream(id, document, &patch);
    }
    limit(document, &patch);
}

fn service(text: &str, patch: &Value) {
    let Some(service) = named(Service::parse("web", text)) else {
        return;
    };
    let body = service.body();
    assert_eq!(Service::parse("web", body.as_str()).as_ref(), Ok(&service));
    let shown = service.document();
    let read = Service::from_value("web", &shown).expect("GET shows what PUT takes");
    assert_eq!((&read, read.body()), (&service, body));
    if let Some(changed) = named(Service::from_value("web", &patched(shown, patch))) {
        stored(&changed.body());
        assert_eq!(Service::parse("web", changed.body().as_str()), Ok(changed));
    }
}

fn upstream(id: &str, text: &str, patch: &Value) {
    let Some(upstream) = named(Upstream::parse("web", id, text)) else {
        return;
    };
    let body = upstream.body();
    assert_eq!(Upstream::parse("web", id, body.as_str()).as_ref(), Ok(&upstream));
    let shown = upstream.document();
    let read = Upstream::from_value("web", id, &shown).expect("GET shows what PUT takes");
    assert_eq!((&read, read.body()), (&upstream, body));
    if let Some(changed) = named(Upstream::from_value("web", id, &patched(shown, patch))) {
        stored(&changed.body());
        assert_eq!(Upstream::parse("web", id, changed.body().as_str()), Ok(changed));
    }
}

fn limit(text: &str, patch: &Value) {
    const ID: &str = "5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b";
    let Some(limit) = named(Limit::parse(ID, text)) else {
        return;
    };
    let body = limit.body();
    assert_eq!(Limit::parse(ID, body.as_str()).as_ref(), Ok(&limit));
    let shown = limit.document();
    let read = Limit::from_value(ID, &shown).expect("GET shows what PUT takes");
    assert_eq!((&read, read.body()), (&limit, body));
    // Whatever the pattern, nothing is too much for it.
    for pattern in [&limit.auth_token, &limit.protocol, &limit.method, &limit.path] {
        for of in ["", "alice@example.com", "GET", "/v1/é", text] {
            pattern.matches(of);
        }
    }
    if let Some(changed) = named(Limit::from_value(ID, &patched(shown, patch))) {
        stored(&changed.body());
        assert_eq!(Limit::parse(ID, changed.body().as_str()), Ok(changed));
    }
}

fn patched(mut document: Value, patch: &Value) -> Value {
    merge_patch(&mut document, patch.clone());
    document
}

/// One line, which stands in logs and snapshots as it is.
fn stored(body: &Body) {
    assert!(!body.as_str().contains('\n'));
    assert_eq!(Body::from_json(body.as_str()).as_ref().ok(), Some(body));
}

/// Every error says what is wrong, and where: only a text that is no object at all is wrong as a whole.
fn named<T>(parsed: Result<T, Invalid>) -> Option<T> {
    let invalid = match parsed {
        Ok(value) => return Some(value),
        Err(invalid) => invalid,
    };
    assert!((1..=ERRORS_MAX).contains(&invalid.errors.len()), "{invalid:?}");
    for error in &invalid.errors {
        assert!(!error.detail.is_empty(), "{invalid:?}");
        let whole = invalid.kind == InvalidKind::Malformed || error.detail.starts_with("an object is expected");
        assert!(
            whole || !error.field.is_empty() || error.detail == "unknown field",
            "{invalid:?}"
        );
    }
    assert!(!invalid.to_string().is_empty());
    None
}
