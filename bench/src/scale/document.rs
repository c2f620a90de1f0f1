//! A whole configuration as documents for `POST /v1/apply`.

use std::fmt::Write;

use crate::vulcan;

/// One is cut below what a call takes, which is 128 MiB.
const BYTES_MAX: usize = 120 << 20;

/// Below it no upstream listens: nothing is asked there anyway.
const PORT: usize = 1_024;

/// The weight of the first upstream of the first service; left out, it stands at its default.
#[derive(Clone, Copy)]
pub struct Weight(pub Option<u16>);

/// Of services `s0`…, each for its own host, with so many upstreams each: as few as fit.
pub fn documents(services: usize, upstreams: usize, first: Weight) -> Vec<String> {
    let (mut whole, mut part) = (Vec::new(), String::new());
    for service in 0..services {
        part.push(if part.is_empty() { '{' } else { ',' });
        let weight = if service == 0 { first } else { Weight(None) };
        one(&mut part, service, upstreams, weight);
        if part.len() > BYTES_MAX || service + 1 == services {
            whole.push(format!(r#"{{"services":{part}}}}}"#));
            part.clear();
        }
    }
    whole
}

/// As the member of an object.
pub fn one(to: &mut String, service: usize, upstreams: usize, first: Weight) {
    let host = vulcan::host(service);
    let _to_memory = write!(to, r#""s{service}":{{"match":[{{"hosts":["{host}"]}}],"upstreams":{{"#);
    for index in 0..upstreams {
        let comma = if index == 0 { "" } else { "," };
        let weight = match first {
            Weight(Some(weight)) if index == 0 => format!(r#""weight":{weight}"#),
            Weight(_) => String::new(),
        };
        let _to_memory = write!(to, r#"{comma}"{}":{{{weight}}}"#, upstream(service, index));
    }
    to.push_str("}}");
}

/// Which is its address also.
pub fn upstream(service: usize, index: usize) -> String {
    format!("{}:{}", vulcan::nowhere(service).ip(), PORT + index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_every_service_with_its_upstreams() {
        let [document] = &documents(3, 2, Weight(Some(7)))[..] else {
            panic!("three services are one document")
        };
        let read: serde_json::Value = serde_json::from_str(document).unwrap();
        let services = read["services"].as_object().unwrap();
        assert_eq!(services.len(), 3);
        let upstreams = |name: &str| services[name]["upstreams"].as_object().unwrap().clone();
        assert_eq!(upstreams("s0")[&upstream(0, 0)]["weight"], 7);
        assert_eq!(upstreams("s2").len(), 2);
        assert_eq!(services["s1"]["match"][0]["hosts"][0], vulcan::host(1));
    }
}
