//! JSON without second meanings: a repeated key is an error, where most parsers let the last one win (RFC 8259, 4).

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::invalid::Invalid;

/// Parses one JSON text. What is wrong is `Malformed`, with the place of a repeated key as its field.
pub fn parse(text: &str) -> Result<Value, Invalid> {
    let mut repeated = None;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = Strict {
        place: &Place::Root,
        repeated: &mut repeated,
    };
    let value = seed
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match (value, repeated) {
        (_, Some(place)) => Err(Invalid::malformed(place, "the key is repeated")),
        (Err(error), None) => Err(Invalid::malformed(
            "",
            format_args!("this cannot be read as JSON: {error}"),
        )),
        (Ok(value), None) => Ok(value),
    }
}

/// Applies a JSON merge patch (RFC 7396): null removes, objects merge, everything else replaces.
pub fn merge_patch(target: &mut Value, patch: Value) {
    let Value::Object(changes) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { return };
    for (name, change) in changes {
        match change {
            Value::Null => {
                members.remove(&name);
            }
            change => merge_patch(members.entry(name).or_insert(Value::Null), change),
        }
    }
}

/// `target` with the patch applied.
pub(super) fn merged(mut target: Value, patch: &Value) -> Value {
    merge_patch(&mut target, patch.clone());
    target
}

/// The keys and positions that lead to a value; made on the way down, printed only for an error.
enum Place<'a> {
    Root,
    Key(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Root => Ok(()),
            Place::Key(Place::Root, key) => f.write_str(key),
            Place::Key(parent, key) => write!(f, "{parent}.{key}"),
            Place::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

struct Strict<'a> {
    place: &'a Place<'a>,
    /// Where the first repeated key stands: the error of the deserializer cannot carry it.
    repeated: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("the number is out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Strict {
            place: &Place::Index(self.place, array.len()),
            repeated: &mut *self.repeated,
        })? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key_seed(Key)? {
            if object.contains_key(&key) {
                *self.repeated = Some(Place::Key(self.place, &key).to_string());
                return Err(A::Error::custom("the key is repeated"));
            }
            let place = Place::Key(self.place, &key);
            let value = members.next_value_seed(Strict {
                place: &place,
                repeated: &mut *self.repeated,
            })?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}
