//! A state as the document that `/v1/apply` takes: services with their upstreams, authorizers and limits, fields at
//! their default left out.

use std::io;

use serde_json::{Map, Value};
use shared::change::Kind;
use shared::state::State;

pub(super) fn apply_document(state: &State) -> io::Result<Vec<u8>> {
    let (mut services, mut authorizers, mut limits) = (Map::new(), Map::new(), Map::new());
    // In the order of a snapshot: a service stands before its upstreams.
    for (key, object) in &state.objects {
        let body: Value = serde_json::from_str(object.body.as_str())?;
        match (&key.kind, key.upstream_parts()) {
            (Kind::Service, _) => {
                services.insert(key.key.to_string(), body);
            }
            (Kind::Upstream, Some((service, id))) => {
                let Some(Value::Object(service)) = services.get_mut(service) else {
                    continue;
                };
                let upstreams = service.entry("upstreams").or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(upstreams) = upstreams {
                    upstreams.insert(id.to_owned(), body);
                }
            }
            (Kind::Authorizer, _) => {
                authorizers.insert(key.key.to_string(), body);
            }
            (Kind::Limit, _) => {
                limits.insert(key.key.to_string(), body);
            }
            _ => {}
        }
    }
    let mut document = Map::from_iter([("services".to_owned(), Value::Object(services))]);
    for (name, objects) in [("authorizers", authorizers), ("limits", limits)] {
        if !objects.is_empty() {
            document.insert(name.to_owned(), objects.into());
        }
    }
    Ok(serde_json::to_vec(&Value::Object(document))?)
}

#[cfg(test)]
mod tests {
    use shared::change::{Body, Epoch, Op, Revision, Verb};

    use super::*;

    #[test]
    fn upstreams_stand_in_their_service() {
        let mut state = State::empty(Epoch(uuid::Uuid::nil()));
        let objects = [
            (Kind::Service, "web", r#"{"match":[]}"#),
            (Kind::Upstream, "web/a:1", r#"{"weight":2}"#),
            (Kind::Member, "proxy", r#"{}"#),
            (Kind::Authorizer, "main", r#"{"service":"web"}"#),
            (Kind::Revocation, "main", r#"{}"#),
            (
                Kind::Limit,
                "5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b",
                r#"{"threshold":5}"#,
            ),
        ];
        for (revision, (kind, key, body)) in objects.into_iter().enumerate() {
            let op = Op {
                verb: Verb::Put,
                kind,
                key: key.into(),
                body: Some(Body::from_json(body).unwrap()),
                registration: None,
                before: None,
            };
            state.apply_op(&op, Revision(revision as u64 + 1));
        }
        let text = String::from_utf8(apply_document(&state).unwrap()).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"authorizers":{"main":{"service":"web"}},"#,
                r#""limits":{"5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b":{"threshold":5}},"#,
                r#""services":{"web":{"match":[],"upstreams":{"a:1":{"weight":2}}}}}"#
            )
        );
    }
}
