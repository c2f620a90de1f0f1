//! A named destination: what requests it matches, and how they are balanced, timed out and retried.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::access::{Access, nets_to_json};
use super::balance::Balance;
use super::care::UpstreamCare;
use super::check::HealthCheck;
use super::fields::{Fields, Path, array, integer, kind, string};
use super::invalid::{Errors, Invalid};
use super::json;
use super::mail::Mail;
use super::matching::Match;
use super::name::{AuthorizerName, ServiceName};
use super::recipient::RecipientPattern;
use super::size::{format_size, parse_size};
use super::timeouts::Timeouts;
use crate::change::Body;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: ServiceName,
    /// None at all: internal, no request is routed to it.
    pub matches: Vec<Match>,
    /// Whom to ask before a request goes on; none: it is open to all.
    pub authorizer: Option<AuthorizerName>,
    pub access: Access,
    pub balance: Balance,
    /// None: nobody asks the upstreams how they are.
    pub health_check: Option<Arc<HealthCheck>>,
    pub timeouts: Timeouts,
    pub retries: Retries,
    /// Bytes; a longer request is answered 413.
    pub max_body: u64,
    pub upstream_care: UpstreamCare,
    /// Mail to anybody is taken from anybody.
    pub open: bool,
    /// None: mail goes to its upstreams as `Mail::default` says.
    pub mail: Option<Mail>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Extra tries, 0..=10; 0 also switches off those after a refused connection.
    pub attempts: u32,
}

impl Default for Retries {
    fn default() -> Retries {
        Retries { attempts: 2 }
    }
}

const MATCHES_MAX: usize = 256;
/// Each may compile to half a MiB, on every proxy.
const REGEXES_MAX: usize = 32;
const ATTEMPTS_MAX: i64 = 10;
const MAX_BODY: u64 = 50_000_000;

impl Service {
    pub fn parse(name: &str, json: &str) -> Result<Service, Invalid> {
        Service::from_value(name, &json::parse(json)?)
    }

    /// `value` without `name` and `revision`, which a representation carries besides the stored fields.
    pub fn from_value(name: &str, value: &Value) -> Result<Service, Invalid> {
        let mut errors = Errors::default();
        let service = read(service_name(name)?, value, &mut errors);
        errors.finish(service)
    }

    /// What a merge patch (RFC 7396) makes of what is `stored`. A name that there is not is refused also where its value
    /// is null, which leaves no trace in the result.
    pub fn patched(name: &str, stored: Value, patch: &Value) -> Result<Service, Invalid> {
        let mut errors = Errors::default();
        read(service_name(name)?, patch, &mut errors);
        errors.finish_names()?;
        Service::from_value(name, &json::merged(stored, patch))
    }

    /// What is stored and digested: compact, fields at their defaults left out. Equal services have equal bodies.
    pub fn body(&self) -> Body {
        Body::of_value(&self.to_json(false))
    }

    /// Every field, defaults filled in.
    pub fn document(&self) -> Value {
        self.to_json(true)
    }

    fn to_json(&self, all: bool) -> Value {
        let mut members = Map::new();
        let matches = self.matches.iter().map(|matching| matching.to_json(all)).collect();
        members.insert("match".to_owned(), matches);
        if all || self.authorizer.is_some() {
            let name = self.authorizer.as_ref().map(AuthorizerName::as_str);
            members.insert("authorizer".to_owned(), name.into());
        }
        for (name, nets) in self.access.lists() {
            if all || !nets.is_empty() {
                members.insert(name.to_owned(), nets_to_json(nets));
            }
        }
        if all || self.balance != Balance::default() {
            members.insert("balance".to_owned(), self.balance.to_json());
        }
        match &self.health_check {
            Some(check) => drop(members.insert("health_check".to_owned(), check.to_json(all))),
            None if all => drop(members.insert("health_check".to_owned(), Value::Null)),
            None => {}
        }
        let timeouts = self.timeouts.to_json(all);
        if !timeouts.is_empty() {
            members.insert("timeouts".to_owned(), timeouts.into());
        }
        if all || self.retries != Retries::default() {
            members.insert(
                "retries".to_owned(),
                serde_json::json!({ "attempts": self.retries.attempts }),
            );
        }
        if all || self.max_body != MAX_BODY {
            members.insert("max_body".to_owned(), format_size(self.max_body));
        }
        let care = self.upstream_care.to_json(all);
        if !care.is_empty() {
            members.insert("upstream_care".to_owned(), care.into());
        }
        if all || self.open {
            members.insert("open".to_owned(), self.open.into());
        }
        if all || self.mail.is_some() {
            let mail = self.mail.as_ref().map(|mail| mail.to_json(all));
            members.insert("mail".to_owned(), mail.into());
        }
        Value::Object(members)
    }

    /// Without an authorizer a pattern is itself the leave to send there; `*` would be that of an open relay.
    fn check_relay(&self, path: &Path<'_>, errors: &mut Errors) {
        if self.open || self.authorizer.is_some() {
            return;
        }
        let path = path.field("match");
        for (index, matching) in self.matches.iter().enumerate() {
            if matching.recipients.contains(&RecipientPattern::Any) {
                errors.invalid(
                    &path.index(index).field("recipients"),
                    r#""*" takes mail to anybody: it needs an authorizer, or "open": true for an open relay"#,
                );
            }
        }
    }
}

fn service_name(name: &str) -> Result<ServiceName, Invalid> {
    ServiceName::try_from(name).map_err(|rule| Invalid::field("name", rule))
}

fn regexes(matches: &Value) -> usize {
    let given = |one: &&Value| one.get("path_regex").is_some_and(|regex| !regex.is_null());
    matches.as_array().map_or(0, |all| all.iter().filter(given).count())
}

fn read(name: ServiceName, value: &Value, errors: &mut Errors) -> Option<Service> {
    let path = &Path::Root;
    let mut fields = Fields::of(value, path, errors)?;
    let matches = match fields.take("match") {
        // Counted before any is compiled: that is what costs.
        Some(value) if regexes(value) > REGEXES_MAX => {
            errors.invalid(
                &path.field("match"),
                format!("at most {REGEXES_MAX} matches with a path_regex are accepted; one may hold several, as /a|/b"),
            );
            None
        }
        Some(value) => array(value, &path.field("match"), errors, MATCHES_MAX, Match::read),
        None => {
            errors.invalid(
                &path.field("match"),
                "the field is required; [] makes the service internal",
            );
            None
        }
    };
    let authorizer = fields.read("authorizer", errors, None, read_authorizer);
    let access = Access::read(&mut fields, errors);
    let balance = fields.read("balance", errors, Balance::default(), Balance::read);
    let health_check = fields.read("health_check", errors, None, HealthCheck::read);
    let timeouts = fields.read("timeouts", errors, Timeouts::default(), Timeouts::read);
    let retries = fields.read("retries", errors, Retries::default(), read_retries);
    let max_body = fields.read("max_body", errors, MAX_BODY, |value, path, errors| {
        parse_size(value).map_err(|detail| errors.invalid(path, detail)).ok()
    });
    let upstream_care = fields.read("upstream_care", errors, UpstreamCare::default(), UpstreamCare::read);
    let open = fields.read("open", errors, false, read_open);
    let mail = fields.read("mail", errors, None, Mail::read);
    fields.finish(errors);
    let service = Service {
        name,
        matches: matches?,
        authorizer: authorizer?,
        access: access?,
        balance: balance?,
        health_check: health_check?.map(Arc::new),
        timeouts: timeouts?,
        retries: retries?,
        max_body: max_body?,
        upstream_care: upstream_care?,
        open: open?,
        mail: mail?,
    };
    service.check_relay(path, errors);
    Some(service)
}

fn read_open(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<bool> {
    let open = value.as_bool();
    if open.is_none() {
        errors.invalid(path, format_args!("a boolean is expected, not {}", kind(value)));
    }
    open
}

fn read_authorizer(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Option<AuthorizerName>> {
    if value.is_null() {
        return Some(None);
    }
    let name = AuthorizerName::try_from(string(value, path, errors)?);
    name.map(Some).map_err(|rule| errors.invalid(path, rule)).ok()
}

fn read_retries(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Retries> {
    let mut fields = Fields::of(value, path, errors)?;
    let default = i64::from(Retries::default().attempts);
    let attempts = fields.read("attempts", errors, default, |value, path, errors| {
        integer(value, path, errors, 0, ATTEMPTS_MAX)
    });
    fields.finish(errors);
    Some(Retries {
        attempts: u32::try_from(attempts?).ok()?,
    })
}
