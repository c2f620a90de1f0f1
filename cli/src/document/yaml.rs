//! YAML 1.2 as far as JSON goes. A key that is there twice, several documents, tags and keys that are no text are refused;
//! anchors are resolved, within the loader's limit.

use saphyr::{LoadableYamlNode, Mapping, Scalar, Yaml, YamlEmitter};
use serde_json::{Map, Number, Value};

/// As deep as the API reads JSON.
const DEPTH_MAX: usize = 128;

pub fn read(text: &str) -> Result<Value, String> {
    let documents = Yaml::load_from_str(text).map_err(|error| error.to_string())?;
    match &documents[..] {
        [document] => value(document, 0),
        [] => Err("the file is empty; {} is a document without anything".to_owned()),
        several => Err(format!("one document is expected, not {}", several.len())),
    }
}

fn value(yaml: &Yaml<'_>, depth: usize) -> Result<Value, String> {
    if depth > DEPTH_MAX {
        return Err(format!("it is more than {DEPTH_MAX} levels deep"));
    }
    match yaml {
        Yaml::Value(scalar) => of_scalar(scalar),
        Yaml::Sequence(items) => items.iter().map(|item| value(item, depth + 1)).collect(),
        Yaml::Mapping(members) => {
            let members = members
                .iter()
                .map(|(key, member)| Ok((name(key)?, value(member, depth + 1)?)));
            members.collect::<Result<Map<_, _>, String>>().map(Value::Object)
        }
        Yaml::Tagged(tag, _) => Err(format!("the tag {tag} means nothing here")),
        Yaml::Representation(..) | Yaml::Alias(_) | Yaml::BadValue => Err("it holds a value that is none".to_owned()),
    }
}

fn of_scalar(scalar: &Scalar<'_>) -> Result<Value, String> {
    match scalar {
        Scalar::Null => Ok(Value::Null),
        Scalar::Boolean(value) => Ok((*value).into()),
        Scalar::Integer(value) => Ok((*value).into()),
        Scalar::FloatingPoint(value) => {
            let number = Number::from_f64(value.into_inner());
            number
                .map(Value::Number)
                .ok_or_else(|| format!("{value} is no number of JSON"))
        }
        Scalar::String(text) => Ok(text.as_ref().into()),
    }
}

/// A number that stands for a name is one.
fn name(key: &Yaml<'_>) -> Result<String, String> {
    match key {
        Yaml::Value(Scalar::String(text)) => Ok(text.clone().into_owned()),
        Yaml::Value(Scalar::Integer(number)) => Ok(number.to_string()),
        _ => Err("a key is a text; quote it".to_owned()),
    }
}

pub fn print(document: &Value) -> Result<String, String> {
    let mut text = String::new();
    let mut emitter = YamlEmitter::new(&mut text);
    emitter.dump(&to_yaml(document)).map_err(|error| error.to_string())?;
    // The mark of a document's beginning is for those that follow one another.
    Ok(text.strip_prefix("---\n").map(str::to_owned).unwrap_or(text))
}

fn to_yaml(value: &Value) -> Yaml<'_> {
    match value {
        Value::Null => Yaml::Value(Scalar::Null),
        Value::Bool(value) => Yaml::Value(Scalar::Boolean(*value)),
        Value::Number(number) => Yaml::Value(match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Scalar::Integer(integer),
            (None, Some(float)) => Scalar::FloatingPoint(float.into()),
            (None, None) => Scalar::String(number.to_string().into()),
        }),
        Value::String(text) => Yaml::Value(Scalar::String(text.as_str().into())),
        Value::Array(items) => Yaml::Sequence(items.iter().map(to_yaml).collect()),
        Value::Object(members) => {
            let mut mapping = Mapping::new();
            for (name, member) in members {
                mapping.insert(Yaml::Value(Scalar::String(name.as_str().into())), to_yaml(member));
            }
            Yaml::Mapping(mapping)
        }
    }
}
