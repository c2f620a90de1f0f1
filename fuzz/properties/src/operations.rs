//! Operations on few names, so that they meet: services that conflict, upstreams without one, bodies of any text.

use arbitrary::{Arbitrary, Result, Unstructured};
use serde_json::{Map, Value, json};
use shared::change::{Body, Kind, Op, Revision, Verb};

#[derive(Arbitrary, Clone, Debug)]
pub enum Step {
    PutService {
        name: Name,
        matches: Few<Matching>,
        retries: u8,
    },
    DeleteService(Name),
    PutUpstream {
        service: Name,
        id: Id,
        address: Option<Id>,
        weight: u16,
        is_draining: bool,
    },
    DeleteUpstream {
        service: Name,
        id: Id,
    },
    /// What a newer version, or a broken one, may have written.
    Raw {
        kind: Word,
        key: String,
        body: Option<String>,
        registration: Option<u64>,
    },
}

/// At most four.
#[derive(Clone, Debug, Default)]
pub struct Few<T>(pub Vec<T>);

impl<'a, T: Arbitrary<'a>> Arbitrary<'a> for Few<T> {
    fn arbitrary(data: &mut Unstructured<'a>) -> Result<Few<T>> {
        let count = data.int_in_range(0..=4)?;
        (0..count).map(|_| T::arbitrary(data)).collect::<Result<_>>().map(Few)
    }
}

macro_rules! choice {
    ($name:ident: $($text:literal),+ $(,)?) => {
        #[derive(Clone, Copy, Debug)]
        pub struct $name(pub &'static str);

        impl<'a> Arbitrary<'a> for $name {
            fn arbitrary(data: &mut Unstructured<'a>) -> Result<$name> {
                data.choose(&[$($text),+]).map(|text| $name(text))
            }
        }
    };
}

choice!(Name: "a", "b", "c", "web", "web-2", "Not a name");
choice!(Id: "127.0.0.1:1", "127.0.0.1:2", "[::1]:1", "origin.test:80", "blue", "");
choice!(Word: "service", "upstream", "member", "succession", "limit", "");
choice!(Host: "*", "a.org", "b.a.org", "A.ORG.", "*.org", "*.a.org", "[::1]", "a b");
choice!(Prefix: "/", "/a", "/a/", "/a/b", "//", "/%61", "/a//", "/..", "a");
choice!(Regex: "/.*", "/a|/b", "/a/.+", "(?i)/A/B", "(", "/[a-z]{1,3}");
choice!(Method: "GET", "PUT", "POST", "get");
choice!(Field: "x-a", "X-A", "x-b", "x b");
choice!(Text: "1", "2", "", " 1");

#[derive(Arbitrary, Clone, Debug)]
pub struct Matching {
    hosts: Few<Host>,
    prefix: Option<Prefix>,
    regex: Option<Regex>,
    methods: Few<Method>,
    headers: Few<(Field, Text)>,
    priority: i8,
}

impl Matching {
    fn document(&self) -> Value {
        let headers: Map<String, Value> = self.headers.0.iter().map(|(k, v)| (k.0.into(), v.0.into())).collect();
        json!({
            "hosts": self.hosts.0.iter().map(|host| host.0).collect::<Vec<_>>(),
            // Both at once are refused.
            "path_prefix": self.prefix.map(|prefix| prefix.0),
            "path_regex": self.regex.map(|regex| regex.0),
            "methods": self.methods.0.iter().map(|method| method.0).collect::<Vec<_>>(),
            "headers": headers,
            "priority": self.priority % 3,
        })
    }
}

impl Step {
    pub fn op(&self) -> Op {
        let (verb, kind, key, body) = match self {
            Step::PutService { name, matches, retries } => {
                let matches: Vec<Value> = matches.0.iter().map(Matching::document).collect();
                let body = json!({"match": matches, "retries": {"attempts": retries % 12}});
                (Verb::Put, Kind::Service, name.0.to_owned(), Some(Body::of_value(&body)))
            }
            Step::DeleteService(name) => (Verb::Delete, Kind::Service, name.0.to_owned(), None),
            Step::PutUpstream {
                service,
                id,
                address,
                weight,
                is_draining,
            } => {
                let state = if *is_draining { "draining" } else { "active" };
                let mut body = json!({"weight": weight % 1100, "state": state});
                if let Some(address) = address {
                    body["address"] = address.0.into();
                }
                (
                    Verb::Put,
                    Kind::Upstream,
                    format!("{}/{}", service.0, id.0),
                    Some(Body::of_value(&body)),
                )
            }
            Step::DeleteUpstream { service, id } => {
                (Verb::Delete, Kind::Upstream, format!("{}/{}", service.0, id.0), None)
            }
            Step::Raw { kind, key, body, .. } => {
                // Wherever bodies come from, they came in a line.
                let body = body
                    .as_deref()
                    .and_then(|body| Body::from_json(body).ok())
                    .filter(|body| !body.as_str().contains('\n'));
                let verb = if body.is_some() { Verb::Put } else { Verb::Delete };
                (verb, Kind::from(kind.0), key.clone(), body)
            }
        };
        let registration = match self {
            Step::Raw { registration, .. } => registration.map(Revision),
            _ => None,
        };
        Op {
            verb,
            kind,
            key: key.into(),
            body,
            registration,
            before: None,
        }
    }
}
