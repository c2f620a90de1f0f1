//! The external authorization server: a registered service, how it is asked, and for how long its answers are kept.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json as object};

use super::choice::{name_of, one_of};
use super::duration::format_duration;
use super::fields::{Fields, Path, array, string};
use super::invalid::{Errors, Invalid};
use super::json;
use super::name::{AuthorizerName, ServiceName};
use super::path::{BadPath, is_escaped};
use super::timeouts::{duration, positive_up_to};
use super::vary::{self, Vary};
use crate::change::Body;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorizer {
    pub name: AuthorizerName,
    /// Whose upstreams are asked.
    pub service: ServiceName,
    /// Where; it may hold a query.
    pub path: Arc<str>,
    pub style: Style,
    /// Told to clients without credentials.
    pub realm: Arc<str>,
    /// For the whole of a call: connecting, asking, and the answer's last byte.
    pub timeout: Duration,
    pub cache: Remembering,
    pub on_failure: OnFailure,
    pub upstreams: Upstreams,
    /// In lower case: fields of an answer that are handed on to the upstream.
    pub copy_headers: Arc<[Arc<str>]>,
}

/// How a question is put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// A POST with a JSON object.
    #[default]
    Json,
    /// A GET with the same parameters in its query.
    Query,
    /// A GET with the request's own fields and `X-Forwarded-*`.
    Forward,
}

/// What becomes of a request whose authorizer gives no usable answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    #[default]
    Deny,
    Allow,
}

/// Which addresses an answer may name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upstreams {
    /// Those that are registered, so that unregistering stays safe.
    #[default]
    Registered,
    /// Others, too: nobody waits for what is in flight there.
    Any,
}

/// For how long an answer is kept, and for which requests it is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembering {
    pub ttl: Duration,
    /// Of refusals.
    pub negative_ttl: Duration,
    /// So much longer an answer is used while the authorizer fails.
    pub stale: Duration,
    /// In their own order, each once.
    pub vary: Arc<[Vary]>,
}

impl Style {
    const ALL: [(&'static str, Style); 3] = [
        ("json", Style::Json),
        ("query", Style::Query),
        ("forward", Style::Forward),
    ];
}

impl OnFailure {
    const ALL: [(&'static str, OnFailure); 2] = [("deny", OnFailure::Deny), ("allow", OnFailure::Allow)];
}

impl Upstreams {
    const ALL: [(&'static str, Upstreams); 2] = [("registered", Upstreams::Registered), ("any", Upstreams::Any)];
}

impl Default for Remembering {
    fn default() -> Remembering {
        Remembering {
            ttl: Duration::from_secs(60),
            negative_ttl: Duration::from_secs(10),
            stale: Duration::ZERO,
            vary: vary::default(Style::default()),
        }
    }
}

const PATH: &str = "/authorize";
const PATH_BYTES_MAX: usize = 2048;
const REALM: &str = "vulcan";
const REALM_BYTES_MAX: usize = 128;
const TIMEOUT: Duration = Duration::from_millis(500);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
const COPY_HEADERS_MAX: usize = 32;

/// Fields that frame a message or are this proxy's own. `X-Forwarded-User` and the like, which say who the client is, are an
/// authorizer's to write.
const NEVER_COPIED: [&str; 31] = [
    "connection",
    "content-length",
    "content-type",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "server",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
    "x-forwarded-by",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-uri",
    "x-real-ip",
    "x-request-id",
];

/// Also under the spelling that servers with CGI variables take for it.
fn is_never_copied(name: &str) -> bool {
    let name = name.replace('_', "-");
    NEVER_COPIED.contains(&&*name) || name.starts_with("x-vulcan-")
}

impl Authorizer {
    pub fn parse(name: &str, json: &str) -> Result<Authorizer, Invalid> {
        Authorizer::from_value(name, &json::parse(json)?)
    }

    /// `value` without `name` and `revision`, which a representation carries besides the stored fields.
    pub fn from_value(name: &str, value: &Value) -> Result<Authorizer, Invalid> {
        let mut errors = Errors::default();
        let authorizer = read(authorizer_name(name)?, value, &mut errors);
        errors.finish(authorizer)
    }

    /// What a merge patch (RFC 7396) makes of what is `stored`. A name that there is not is refused also where its value
    /// is null, which leaves no trace in the result.
    pub fn patched(name: &str, stored: Value, patch: &Value) -> Result<Authorizer, Invalid> {
        let mut errors = Errors::default();
        read(authorizer_name(name)?, patch, &mut errors);
        errors.finish_names()?;
        Authorizer::from_value(name, &json::merged(stored, patch))
    }

    /// What is stored and digested: compact, fields at their defaults left out. Equal authorizers have equal bodies.
    pub fn body(&self) -> Body {
        Body::of_value(&self.to_json(false))
    }

    /// Every field, defaults filled in.
    pub fn document(&self) -> Value {
        self.to_json(true)
    }

    fn to_json(&self, all: bool) -> Value {
        let members = [
            ("path", &*self.path == PATH, Value::from(&*self.path)),
            (
                "style",
                self.style == Style::default(),
                name_of(&Style::ALL, self.style),
            ),
            ("realm", &*self.realm == REALM, (*self.realm).into()),
            ("timeout", self.timeout == TIMEOUT, format_duration(self.timeout).into()),
            (
                "on_failure",
                self.on_failure == OnFailure::default(),
                name_of(&OnFailure::ALL, self.on_failure),
            ),
            (
                "upstreams",
                self.upstreams == Upstreams::default(),
                name_of(&Upstreams::ALL, self.upstreams),
            ),
            (
                "copy_headers",
                self.copy_headers.is_empty(),
                self.copy_headers.iter().map(|name| Value::from(&**name)).collect(),
            ),
        ];
        let mut shown = Map::from_iter([("service".to_owned(), self.service.as_str().into())]);
        let members = members.into_iter().filter(|(_, is_default, _)| all || !is_default);
        shown.extend(members.map(|(name, _, value)| (name.to_owned(), value)));
        let cache = self.cache.to_json(self.style, all);
        if !cache.is_empty() {
            shown.insert("cache".to_owned(), cache.into());
        }
        Value::Object(shown)
    }
}

impl Remembering {
    fn read(value: &Value, style: Style, path: &Path<'_>, errors: &mut Errors) -> Option<Remembering> {
        let mut fields = Fields::of(value, path, errors)?;
        let default = Remembering::default();
        let ttl = fields.read("ttl", errors, default.ttl, duration);
        let negative_ttl = fields.read("negative_ttl", errors, default.negative_ttl, duration);
        let stale = fields.read("stale", errors, default.stale, duration);
        let vary = fields.read("vary", errors, vary::default(style), vary::read);
        fields.finish(errors);
        Some(Remembering {
            ttl: ttl?,
            negative_ttl: negative_ttl?,
            stale: stale?,
            vary: vary?,
        })
    }

    fn to_json(&self, style: Style, all: bool) -> Map<String, Value> {
        let default = Remembering::default();
        let members = [
            ("ttl", self.ttl == default.ttl, format_duration(self.ttl).into()),
            (
                "negative_ttl",
                self.negative_ttl == default.negative_ttl,
                format_duration(self.negative_ttl).into(),
            ),
            ("stale", self.stale == default.stale, format_duration(self.stale).into()),
            ("vary", self.vary == vary::default(style), vary::to_json(&self.vary)),
        ];
        let members = members.into_iter().filter(|(_, is_default, _)| all || !is_default);
        members.map(|(name, _, value)| (name.to_owned(), value)).collect()
    }
}

fn authorizer_name(name: &str) -> Result<AuthorizerName, Invalid> {
    AuthorizerName::try_from(name).map_err(|rule| Invalid::field("name", rule))
}

fn read(name: AuthorizerName, value: &Value, errors: &mut Errors) -> Option<Authorizer> {
    let path = &Path::Root;
    let mut fields = Fields::of(value, path, errors)?;
    let service = match fields.take("service") {
        Some(value) => service_name(value, &path.field("service"), errors),
        None => {
            errors.invalid(&path.field("service"), "the field is required");
            None
        }
    };
    let target = fields.read("path", errors, PATH.into(), read_target);
    let style = fields.read("style", errors, Style::default(), |value, path, errors| {
        one_of(&Style::ALL, value, path, errors)
    });
    let realm = fields.read("realm", errors, REALM.into(), read_realm);
    let timeout = fields.read("timeout", errors, TIMEOUT, read_timeout);
    let known = style.unwrap_or_default();
    let nothing = object!({});
    let cache = fields.take("cache").unwrap_or(&nothing);
    let cache = Remembering::read(cache, known, &path.field("cache"), errors);
    let on_failure = fields.read("on_failure", errors, OnFailure::default(), |value, path, errors| {
        one_of(&OnFailure::ALL, value, path, errors)
    });
    let upstreams = fields.read("upstreams", errors, Upstreams::default(), |value, path, errors| {
        one_of(&Upstreams::ALL, value, path, errors)
    });
    let copy_headers = fields.read("copy_headers", errors, Vec::new(), |value, path, errors| {
        let names = array(value, path, errors, COPY_HEADERS_MAX, read_copied)?;
        if !names.is_empty() && known != Style::Forward {
            errors.invalid(path, "only answers to style forward have fields to copy");
        }
        Some(names)
    });
    fields.finish(errors);
    Some(Authorizer {
        name,
        service: service?,
        path: target?,
        style: style?,
        realm: realm?,
        timeout: timeout?,
        cache: cache?,
        on_failure: on_failure?,
        upstreams: upstreams?,
        copy_headers: copy_headers?.into(),
    })
}

fn service_name(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<ServiceName> {
    let name = ServiceName::try_from(string(value, path, errors)?);
    name.map_err(|rule| errors.invalid(path, rule)).ok()
}

fn read_target(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Arc<str>> {
    let text = string(value, path, errors)?;
    let is_target = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%?".contains(&b);
    if text.len() <= PATH_BYTES_MAX && text.starts_with('/') && text.bytes().all(is_target) {
        if is_escaped(text) {
            return Some(text.into());
        }
        errors.invalid(path, BadPath::Escape);
        return None;
    }
    let rule = format_args!("a path from its first / on, and perhaps a query, of at most {PATH_BYTES_MAX} bytes");
    errors.invalid(path, rule);
    None
}

fn read_realm(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Arc<str>> {
    let text = string(value, path, errors)?;
    let is_plain = |b: u8| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\';
    if (1..=REALM_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain) {
        return Some(text.into());
    }
    let rule = format_args!("1 to {REALM_BYTES_MAX} printable ASCII characters, no quotation mark and no backslash");
    errors.invalid(path, rule);
    None
}

fn read_timeout(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Duration> {
    positive_up_to(TIMEOUT_MAX, value, path, errors)
}

fn read_copied(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Arc<str>> {
    let name = vary::field_name(string(value, path, errors)?, path, errors)?;
    if is_never_copied(&name) {
        errors.invalid(
            path,
            "this field is never copied: it frames the message, or the proxy writes it",
        );
        return None;
    }
    Some(name)
}
