//! Reading the document, an object at a time: what is in memory beside its text is what is made of it.

use std::fmt;

use net::problem::Problem;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use shared::change::{Body, ObjectKey};
use shared::model::{
    Authorizer, AuthorizerName, Invalid, InvalidKind, Limit, LimitId, Service, ServiceName, Upstream, UpstreamId, json,
};

use super::faults::{Faults, joined, named, place, quoted};
use super::{Rest, Wanted, Wish};
use crate::registry::Document;

/// Of one object, as elsewhere of a body.
const OBJECT_BYTES_MAX: usize = 1 << 20;

const SERVICES: &str = "services";
const AUTHORIZERS: &str = "authorizers";
const LIMITS: &str = "limits";
const UPSTREAMS: &str = "upstreams";

impl Wanted {
    /// `text`: `{"services": {name: {…, "upstreams": {id: {…}}}}, "limits": {id: {…}}, "authorizers": {name: {…}}}`.
    pub fn read(text: &str, rest: Rest) -> Result<Wanted, Box<Problem>> {
        let mut reading = Reading::default();
        reading.document(text).map_err(|invalid| Box::new(invalid.into()))?;
        reading.faults.finish()?;
        let mut objects = reading.objects;
        objects.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        // Of limits only: their ids may be spelled in two ways.
        if let Some(twice) = objects.windows(2).find(|two| two[0].0 == two[1].0) {
            let invalid = Invalid::malformed(place(&twice[0].0), "the key is repeated");
            return Err(Box::new(invalid.into()));
        }
        Ok(Wanted { objects, rest })
    }
}

#[derive(Default)]
struct Reading {
    objects: Vec<(ObjectKey, Option<Wish>)>,
    faults: Faults,
}

/// The errors that are answered are those of text that is no JSON, or that says a thing twice. Anything else is noted.
type Read = Result<(), Invalid>;

impl Reading {
    fn document(&mut self, text: &str) -> Read {
        for (name, value) in self.members("", text)? {
            match &*name {
                SERVICES => self.each(SERVICES, value, Reading::service)?,
                AUTHORIZERS => self.each(AUTHORIZERS, value, Reading::authorizer)?,
                LIMITS => self.each(LIMITS, value, Reading::limit)?,
                other => self.faults.invalid("", Invalid::field(other, "unknown field")),
            }
        }
        Ok(())
    }

    fn each(&mut self, map: &str, value: &RawValue, read: fn(&mut Reading, &str, &str) -> Read) -> Read {
        for (name, value) in self.members(map, value.get())? {
            read(self, &name, value.get())?;
        }
        Ok(())
    }

    fn service(&mut self, name: &str, text: &str) -> Read {
        let place = named(SERVICES, name);
        if let Err(rule) = ServiceName::try_from(name) {
            self.faults.invalid(&place, Invalid::field("", rule));
            return Ok(());
        }
        let (mut own, mut bytes) = (Map::new(), 0);
        for (member, value) in self.members(&place, text)? {
            let at = joined(&place, &member);
            if member == UPSTREAMS {
                for (id, value) in self.members(&at, value.get())? {
                    self.upstream(name, &id, value.get())?;
                }
                continue;
            }
            bytes += value.get().len();
            if bytes > OBJECT_BYTES_MAX {
                self.faults.invalid(&place, too_large());
                return Ok(());
            }
            own.insert(member, parse(&at, value.get())?);
        }
        self.note(
            ObjectKey::service(name),
            Value::Object(own),
            &[("name", name)],
            |value| Ok(Service::from_value(name, value)?.body()),
        );
        Ok(())
    }

    fn upstream(&mut self, service: &str, id: &str, text: &str) -> Read {
        let at = format!("{}.{UPSTREAMS}{}", named(SERVICES, service), quoted(id));
        if let Err(rule) = UpstreamId::try_from(id) {
            self.faults.invalid(&at, Invalid::field("", rule));
            return Ok(());
        }
        let Some(value) = self.value(&at, text)? else {
            return Ok(());
        };
        let names = [("id", id), ("service", service)];
        self.note(ObjectKey::upstream(service, id), value, &names, |value| {
            Ok(Upstream::from_value(service, id, value)?.body())
        });
        Ok(())
    }

    fn authorizer(&mut self, name: &str, text: &str) -> Read {
        let at = named(AUTHORIZERS, name);
        if let Err(rule) = AuthorizerName::try_from(name) {
            self.faults.invalid(&at, Invalid::field("", rule));
            return Ok(());
        }
        let Some(value) = self.value(&at, text)? else {
            return Ok(());
        };
        self.note(ObjectKey::authorizer(name), value, &[("name", name)], |value| {
            Ok(Authorizer::from_value(name, value)?.body())
        });
        Ok(())
    }

    fn limit(&mut self, given: &str, text: &str) -> Read {
        let at = format!("{LIMITS}{}", quoted(given));
        let lower = given.to_ascii_lowercase();
        let id = match LimitId::try_from(&*lower) {
            Ok(id) => id,
            Err(rule) => {
                self.faults.invalid(&at, Invalid::field("", rule));
                return Ok(());
            }
        };
        let Some(value) = self.value(&at, text)? else {
            return Ok(());
        };
        self.note(ObjectKey::limit(id), value, &[("id", &lower)], |value| {
            Ok(Limit::from_value(&lower, value)?.body())
        });
        Ok(())
    }

    fn value(&mut self, at: &str, text: &str) -> Result<Option<Value>, Invalid> {
        if text.len() > OBJECT_BYTES_MAX {
            self.faults.invalid(at, too_large());
            return Ok(None);
        }
        parse(at, text).map(Some)
    }

    fn note(
        &mut self,
        key: ObjectKey,
        value: Value,
        names: &[(&str, &str)],
        body: impl FnOnce(&Value) -> Result<Body, Invalid>,
    ) {
        let read = Document::of(value, names).and_then(|document| {
            Ok(Wish {
                body: body(&document.value)?,
                revision: document.said(),
            })
        });
        match read {
            Ok(wish) => self.objects.push((key, Some(wish))),
            Err(invalid) => self.faults.invalid(&place(&key), invalid),
        }
    }

    /// The members of the object at `at`, each once. Noted, and none, where it is no object.
    fn members<'t>(&mut self, at: &str, text: &'t str) -> Result<Vec<(String, &'t RawValue)>, Invalid> {
        let Members(members) = match serde_json::from_str(text) {
            Ok(members) => members,
            Err(error) if error.classify() == Category::Data => {
                self.faults.invalid(at, Invalid::field("", "an object is expected"));
                return Ok(Vec::new());
            }
            Err(error) => return Err(Invalid::malformed(at, error)),
        };
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|two| two[0] == two[1]) {
            Some(twice) => Err(Invalid::malformed(joined(at, twice[0]), "the key is repeated")),
            None => Ok(members),
        }
    }
}

fn too_large() -> Invalid {
    Invalid::field("", format_args!("an object has {OBJECT_BYTES_MAX} bytes at most"))
}

fn parse(at: &str, text: &str) -> Result<Value, Invalid> {
    json::parse(text).map_err(|mut invalid| {
        invalid.kind = InvalidKind::Malformed;
        for error in &mut invalid.errors {
            error.field = joined(at, &error.field);
        }
        invalid
    })
}

/// An object whose values are not looked at yet.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'de>, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(entry) = map.next_entry()? {
            members.push(entry);
        }
        Ok(Members(members))
    }
}
