//! A YAML document as far as a compose file goes: texts, lists and maps, each with its line, merges (`<<`) done.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use crate::invocation::{Place, Word};

#[derive(Clone, Debug)]
pub struct Node {
    pub line: usize,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    pub fn parse(file: &str, text: &str) -> Node {
        let documents = MarkedYaml::load_from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(documents.len(), 1, "{file} is no single document");
        node(file, &documents[0])
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn entries(&self) -> &[(String, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node)
    }

    /// The keys of a map, or the texts of a list: compose takes either in many places.
    pub fn names(&self) -> Vec<&str> {
        let keys = self.entries().iter().map(|(name, _)| &**name);
        keys.chain(self.items().iter().filter_map(Node::text)).collect()
    }

    pub fn words(&self, file: &str) -> Vec<Word> {
        let words = self.items().iter().filter_map(|item| {
            Some(Word {
                text: item.text()?.to_owned(),
                place: item.place(file),
            })
        });
        words.collect()
    }

    pub fn place(&self, file: &str) -> Place {
        Place {
            file: file.to_owned(),
            line: self.line,
        }
    }
}

fn node(file: &str, yaml: &MarkedYaml<'_>) -> Node {
    let line = yaml.span.start.line();
    let value = match &yaml.data {
        YamlData::Value(scalar) => Value::Text(text(scalar)),
        YamlData::Sequence(items) => Value::List(items.iter().map(|item| node(file, item)).collect()),
        YamlData::Mapping(entries) => Value::Map(merged(
            entries
                .iter()
                .map(|(key, value)| (node(file, key), node(file, value)))
                .collect(),
        )),
        other => panic!("{file}:{line}: {other:?}"),
    };
    Node { line, value }
}

fn text(scalar: &Scalar<'_>) -> String {
    match scalar {
        Scalar::Null => String::new(),
        Scalar::Boolean(is) => is.to_string(),
        Scalar::Integer(number) => number.to_string(),
        Scalar::FloatingPoint(number) => number.to_string(),
        Scalar::String(text) => text.to_string(),
    }
}

/// A key of the map itself wins over one that is merged into it.
fn merged(entries: Vec<(Node, Node)>) -> Vec<(String, Node)> {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for (key, value) in entries {
        match key.text() {
            Some("<<") => others.extend(value.entries().to_vec()),
            name => own.push((name.unwrap_or_default().to_owned(), value)),
        }
    }
    others.retain(|(name, _)| own.iter().all(|(known, _)| known != name));
    own.extend(others);
    own
}
