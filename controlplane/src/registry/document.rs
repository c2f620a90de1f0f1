//! How objects look from outside: what GET shows, and what of it PUT takes back.

use serde_json::{Map, Value};
use shared::change::{Kind, ObjectKey, Revision};
use shared::model::{AuthorizerName, Hold, Invalid, LimitId};

use crate::changelog::Head;

/// A body as it was sent, without the members that only repeat what is known: whoever sends back what GET showed says
/// nothing new by them, and an error if they disagree.
#[derive(Clone, Debug)]
pub struct Document {
    pub value: Value,
    revision: Option<Revision>,
}

impl Document {
    /// `names`: what the path says, as in `("name", "web")`.
    pub fn of(mut value: Value, names: &[(&str, &str)]) -> Result<Document, Invalid> {
        let mut revision = None;
        if let Value::Object(members) = &mut value {
            for (member, named) in names {
                match members.remove(*member) {
                    Some(said) if said != *named => {
                        return Err(Invalid::field(member, format_args!("the path says {named:?}")));
                    }
                    _ => {}
                }
            }
            if let Some(said) = members.remove("revision") {
                let number = said
                    .as_u64()
                    .ok_or_else(|| Invalid::field("revision", "a revision is a number"))?;
                revision = Some(Revision(number));
            }
        }
        Ok(Document { value, revision })
    }

    /// The revision that it says it is of.
    pub fn said(&self) -> Option<Revision> {
        self.revision
    }

    pub fn agrees(&self, current: Option<Revision>) -> Result<(), Invalid> {
        match self.revision {
            Some(said) if Some(said) != current => {
                let is = current.map_or("there is no such object yet".to_owned(), |is| format!("it is {is}"));
                Err(Invalid::field("revision", is))
            }
            _ => Ok(()),
        }
    }
}

/// The object as GET shows it, null if there is none.
pub fn current(head: &Head, key: &ObjectKey) -> Value {
    let Some(object) = head.state.get(key) else {
        return Value::Null;
    };
    let (parsed, names) = match (&key.kind, key.upstream_parts()) {
        (Kind::Upstream, Some((service, id))) => {
            let entry = head.table.entry(service).and_then(|entry| entry.upstreams.get(id));
            (
                entry.map(|entry| entry.upstream.document()),
                vec![("id", id), ("service", service)],
            )
        }
        (Kind::Authorizer, _) => {
            let name = AuthorizerName::try_from(&*key.key).ok();
            let authority = name.and_then(|name| head.table.authority(&name));
            (
                authority.map(|authority| authority.authorizer.document()),
                vec![("name", &*key.key)],
            )
        }
        (Kind::Limit, _) => {
            let id = LimitId::try_from(&*key.key).ok();
            let in_force = id.and_then(|id| head.table.limit(id));
            (
                in_force.map(|in_force| in_force.limit.document()),
                vec![("id", &*key.key)],
            )
        }
        (Kind::Hold, _) => {
            let hold = Hold::parse(object.body.as_str()).ok();
            (hold.map(|hold| hold.document()), vec![("service", &*key.key)])
        }
        _ => (
            head.table.entry(&key.key).map(|entry| entry.service.document()),
            vec![("name", &*key.key)],
        ),
    };
    // What this version cannot read is shown as it is stored.
    let document = parsed.or_else(|| serde_json::from_str(object.body.as_str()).ok());
    let mut members = match document {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    members.extend(names.into_iter().map(|(member, name)| (member.to_owned(), name.into())));
    members.insert("revision".to_owned(), object.revision.0.into());
    Value::Object(members)
}
