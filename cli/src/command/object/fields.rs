//! Documents made of flags.

use serde_json::{Map, Value, json};

use crate::args::{ServiceFields, UpstreamFields};
use crate::failure::Failure;

pub fn service(fields: &ServiceFields) -> Result<String, Failure> {
    let mut document = Map::new();
    document.insert("match".to_owned(), matches(fields)?.into());
    if let Some(authorizer) = &fields.authorizer {
        document.insert("authorizer".to_owned(), authorizer.as_str().into());
    }
    if let Some(path) = &fields.health_check {
        document.insert("health_check".to_owned(), json!({ "path": path }));
    }
    Ok(Value::Object(document).to_string())
}

/// One match for requests, one for mail, or none where it is said that there is none.
fn matches(fields: &ServiceFields) -> Result<Vec<Value>, Failure> {
    let mut of_requests = Map::new();
    for (name, values) in [("hosts", &fields.host), ("methods", &fields.method)] {
        if !values.is_empty() {
            of_requests.insert(name.to_owned(), values.as_slice().into());
        }
    }
    for (name, value) in [("path_prefix", &fields.path_prefix), ("path_regex", &fields.path_regex)] {
        if let Some(value) = value {
            of_requests.insert(name.to_owned(), value.as_str().into());
        }
    }
    let mut matches = Vec::new();
    if !of_requests.is_empty() {
        matches.push(Value::Object(of_requests));
    }
    if !fields.recipient.is_empty() {
        matches.push(json!({ "recipients": fields.recipient }));
    }
    if matches.is_empty() && !fields.internal {
        return Err(Failure::usage(
            "what the service takes is missing: give a document as JSON or as --file FILE, or say it by --host, \
             --path-prefix, --path-regex, --method, --recipient or --internal",
        ));
    }
    Ok(matches)
}

/// None: nothing is said, and everything has its default.
pub fn upstream(fields: &UpstreamFields) -> Option<String> {
    let mut document = Map::new();
    let texts = [
        ("address", fields.address.as_deref()),
        ("state", fields.state.map(|state| state.as_str())),
        ("ttl", fields.ttl.as_deref()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            document.insert(name.to_owned(), text.into());
        }
    }
    if let Some(weight) = fields.weight {
        document.insert("weight".to_owned(), weight.into());
    }
    (!document.is_empty()).then(|| Value::Object(document).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_say_a_document_and_nothing_else() {
        let fields = ServiceFields {
            host: vec!["shop.example.com".to_owned(), "*.shop.example.com".to_owned()],
            path_prefix: Some("/v2".to_owned()),
            recipient: vec!["example.com".to_owned()],
            health_check: Some("/healthz".to_owned()),
            ..ServiceFields::default()
        };
        let document: Value = serde_json::from_str(&service(&fields).unwrap()).unwrap();
        let expected = json!({
            "match": [
                {"hosts": ["shop.example.com", "*.shop.example.com"], "path_prefix": "/v2"},
                {"recipients": ["example.com"]}
            ],
            "health_check": {"path": "/healthz"}
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn that_a_service_takes_nothing_has_to_be_said() {
        let silent = ServiceFields {
            authorizer: Some("main".to_owned()),
            ..ServiceFields::default()
        };
        assert!(service(&silent).unwrap_err().detail().contains("--internal"));
        let internal = ServiceFields {
            internal: true,
            ..ServiceFields::default()
        };
        assert_eq!(service(&internal).unwrap(), r#"{"match":[]}"#);
    }

    #[test]
    fn an_upstream_of_which_nothing_is_said_needs_no_document() {
        assert_eq!(upstream(&UpstreamFields::default()), None);
        let weighed = UpstreamFields {
            address: Some("10.0.0.5:80".to_owned()),
            weight: Some(0),
            ..UpstreamFields::default()
        };
        assert_eq!(upstream(&weighed).unwrap(), r#"{"address":"10.0.0.5:80","weight":0}"#);
    }
}
