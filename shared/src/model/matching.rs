//! What requests a service takes.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::fields::{Fields, Path, array, integer, kind, string};
use super::host::HostPattern;
use super::invalid::Errors;
use super::path::{PathPattern, PathPrefix, PathRegex};
use super::recipient::RecipientPattern;

/// One of a service's matches: a request must fit in every respect. One that names recipients is for mail, and says
/// nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// As given; none at all means any host, as `Any` does.
    pub hosts: Vec<HostPattern>,
    pub path: PathPattern,
    /// Sorted, each once; none means any method.
    pub methods: Vec<Method>,
    /// Sorted by name, each name once.
    pub headers: Vec<HeaderCondition>,
    /// -1000..=1000
    pub priority: i16,
    /// As given, each once; none at all: it is for HTTP.
    pub recipients: Vec<RecipientPattern>,
}

/// A method token (RFC 9110, 9.1), without lower-case letters: methods are case-sensitive, and `get` would never match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method(Arc<str>);

impl Method {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A header that must be there with exactly this value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderCondition {
    /// In lower case.
    pub name: Arc<str>,
    pub value: Arc<str>,
}

const HOSTS_MAX: usize = 256;
const RECIPIENTS_MAX: usize = 1000;
const METHODS_MAX: usize = 32;
const HEADERS_MAX: usize = 16;
const PRIORITY_MAX: i64 = 1000;

impl Match {
    pub(super) fn read(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Match> {
        let mut fields = Fields::of(value, path, errors)?;
        let hosts = fields.read("hosts", errors, Vec::new(), read_hosts);
        let pattern = read_path(&mut fields, path, errors);
        let methods = fields.read("methods", errors, Vec::new(), read_methods);
        let headers = fields.read("headers", errors, Vec::new(), read_headers);
        let priority = fields.read("priority", errors, 0, |value, path, errors| {
            integer(value, path, errors, -PRIORITY_MAX, PRIORITY_MAX)
        });
        let recipients = fields.read("recipients", errors, Vec::new(), read_recipients);
        fields.finish(errors);
        // As everything is shown, it stands beside other fields, and says that this is for HTTP. Alone it would take every
        // request, from who wants no mail.
        let is_alone = value.as_object().is_some_and(|members| members.len() == 1);
        if is_alone && value["recipients"].as_array().is_some_and(Vec::is_empty) {
            errors.invalid(
                &path.field("recipients"),
                "an empty list matches no mail, and every request",
            );
        }
        let matching = Match {
            hosts: hosts?,
            path: pattern?,
            methods: methods?,
            headers: headers?,
            priority: i16::try_from(priority?).ok()?,
            recipients: recipients?,
        };
        if matching.is_for_mail() {
            matching.check_mail(path, errors);
        }
        Some(matching)
    }

    pub fn is_for_mail(&self) -> bool {
        !self.recipients.is_empty()
    }

    /// What would mean nothing must not be said: who wrote it meant something.
    fn check_mail(&self, path: &Path<'_>, errors: &mut Errors) {
        let said = [
            ("hosts", !self.hosts.is_empty()),
            ("path_prefix", matches!(self.path, PathPattern::Prefix(_))),
            ("path_regex", matches!(self.path, PathPattern::Regex(_))),
            ("methods", !self.methods.is_empty()),
            ("headers", !self.headers.is_empty()),
            ("priority", self.priority != 0),
        ];
        for (name, _) in said.into_iter().filter(|(_, is_said)| *is_said) {
            errors.invalid(
                &path.field(name),
                "a match with recipients is for mail, and says nothing else",
            );
        }
    }

    /// The fields that differ from their defaults, or all of them.
    pub(super) fn to_json(&self, all: bool) -> Value {
        if self.is_for_mail() {
            return serde_json::json!({ "recipients": texts(&self.recipients) });
        }
        let (prefix, regex) = match &self.path {
            PathPattern::Any => (Value::Null, Value::Null),
            PathPattern::Prefix(prefix) => (prefix.as_str().into(), Value::Null),
            PathPattern::Regex(regex) => (Value::Null, regex.as_str().into()),
        };
        let headers: Map<String, Value> = self
            .headers
            .iter()
            .map(|header| (header.name.to_string(), (&*header.value).into()))
            .collect();
        let members = [
            ("hosts", texts(&self.hosts), !self.hosts.is_empty()),
            ("path_prefix", prefix.clone(), !prefix.is_null()),
            ("path_regex", regex.clone(), !regex.is_null()),
            ("methods", texts(&self.methods), !self.methods.is_empty()),
            ("headers", headers.into(), !self.headers.is_empty()),
            ("priority", self.priority.into(), self.priority != 0),
            ("recipients", texts(&self.recipients), false),
        ];
        let shown = members.into_iter().filter(|(_, _, set)| all || *set);
        Value::Object(shown.map(|(name, value, _)| (name.to_owned(), value)).collect())
    }
}

fn texts<T: fmt::Display>(items: &[T]) -> Value {
    items.iter().map(T::to_string).collect()
}

fn read_hosts(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Vec<HostPattern>> {
    if value == "*" {
        return Some(vec![HostPattern::Any]);
    }
    let mut hosts = array(value, path, errors, HOSTS_MAX, |value, path, errors| {
        let host = HostPattern::try_from(string(value, path, errors)?);
        host.map_err(|detail| errors.invalid(path, detail)).ok()
    })?;
    let mut seen = std::collections::HashSet::new();
    hosts.retain(|host| seen.insert(host.clone()));
    Some(hosts)
}

fn read_recipients(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Vec<RecipientPattern>> {
    let mut recipients = array(value, path, errors, RECIPIENTS_MAX, |value, path, errors| {
        let recipient = RecipientPattern::try_from(string(value, path, errors)?);
        recipient.map_err(|detail| errors.invalid(path, detail)).ok()
    })?;
    let mut seen = std::collections::HashSet::new();
    recipients.retain(|recipient| seen.insert(recipient.clone()));
    Some(recipients)
}

fn read_path(fields: &mut Fields<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<PathPattern> {
    let given = |value: Option<&'_ Value>| value.is_some_and(|value| !value.is_null());
    let (prefix, regex) = (fields.take("path_prefix"), fields.take("path_regex"));
    if given(prefix) && given(regex) {
        errors.invalid(
            &path.field("path_regex"),
            "path_prefix and path_regex exclude each other",
        );
        return None;
    }
    if let Some(value) = prefix.filter(|value| !value.is_null()) {
        let path = path.field("path_prefix");
        let prefix = PathPrefix::try_from(string(value, &path, errors)?);
        return prefix
            .map(PathPattern::Prefix)
            .map_err(|detail| errors.invalid(&path, detail))
            .ok();
    }
    if let Some(value) = regex.filter(|value| !value.is_null()) {
        let path = path.field("path_regex");
        let regex = PathRegex::try_from(string(value, &path, errors)?);
        return regex
            .map(PathPattern::Regex)
            .map_err(|detail| errors.invalid(&path, detail))
            .ok();
    }
    Some(PathPattern::Any)
}

fn read_methods(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Vec<Method>> {
    let mut methods = array(value, path, errors, METHODS_MAX, |value, path, errors| {
        let text = string(value, path, errors)?;
        if !is_token(text, 32) || text.bytes().any(|b| b.is_ascii_lowercase()) {
            errors.invalid(path, "a method is a token of at most 32 characters in upper case");
            return None;
        }
        Some(Method(text.into()))
    })?;
    methods.sort();
    methods.dedup();
    Some(methods)
}

fn read_headers(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Vec<HeaderCondition>> {
    let Value::Object(map) = value else {
        errors.invalid(path, format_args!("an object is expected, not {}", kind(value)));
        return None;
    };
    if map.len() > HEADERS_MAX {
        errors.invalid(path, format_args!("at most {HEADERS_MAX} headers are accepted"));
        return None;
    }
    let mut headers: Vec<HeaderCondition> = Vec::with_capacity(map.len());
    for (name, value) in map {
        let path = path.field(name);
        let lower = name.to_ascii_lowercase();
        let text = string(value, &path, errors)?;
        let problem = match () {
            _ if !is_token(name, 128) => "a header's name is a token of at most 128 characters",
            _ if !is_field_value(text) => "a header's value is at most 1024 visible characters, spaces between them",
            _ if headers.iter().any(|header| *header.name == *lower) => "the header is named twice",
            _ => {
                headers.push(HeaderCondition {
                    name: lower.into(),
                    value: text.into(),
                });
                continue;
            }
        };
        errors.invalid(&path, problem);
        return None;
    }
    headers.sort();
    Some(headers)
}

/// RFC 9110, 5.6.2
pub(super) fn is_token(text: &str, most: usize) -> bool {
    let is_tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.len() <= most && text.bytes().all(is_tchar)
}

/// RFC 9110, 5.5, without obs-text: what could never be received must not be waited for.
fn is_field_value(text: &str) -> bool {
    text.len() <= 1024
        && text.trim_ascii() == text
        && text.bytes().all(|b| b == b' ' || b == b'\t' || b.is_ascii_graphic())
}
