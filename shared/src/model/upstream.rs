//! One server of a service: what a deployment registers and unregisters.

use std::time::Duration;

use serde_json::{Map, Value};

use super::address::Address;
use super::duration::{format_duration, parse_duration};
use super::fields::{Fields, Path, integer, string};
use super::invalid::{Errors, Invalid};
use super::json;
use super::name::{ServiceName, UpstreamId};
use crate::change::Body;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    pub service: ServiceName,
    pub id: UpstreamId,
    pub address: Address,
    /// 0..=1000; 0 takes no new requests.
    pub weight: u16,
    pub state: UpstreamState,
    /// 1 s to 24 h: it is unregistered unless its registration is repeated within this. None: it stands until it is
    /// deleted.
    pub ttl: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamState {
    #[default]
    Active,
    /// Registered, but takes no new requests; what is in flight finishes.
    Draining,
}

impl UpstreamState {
    pub fn as_str(self) -> &'static str {
        match self {
            UpstreamState::Active => "active",
            UpstreamState::Draining => "draining",
        }
    }
}

const WEIGHT: i64 = 1;
const WEIGHT_MAX: i64 = 1000;
/// The least is what control planes need to tell one that is late from one that is silent.
const TTL_LEAST: Duration = Duration::from_secs(1);
const TTL_MOST: Duration = Duration::from_secs(24 * 3600);

impl Upstream {
    /// `json` is `{}` where a request had no body.
    pub fn parse(service: &str, id: &str, json: &str) -> Result<Upstream, Invalid> {
        Upstream::from_value(service, id, &json::parse(json)?)
    }

    /// `value` without `service`, `id` and `revision`, which a representation carries besides the stored fields.
    pub fn from_value(service: &str, id: &str, value: &Value) -> Result<Upstream, Invalid> {
        let (service, id) = names(service, id)?;
        let mut errors = Errors::default();
        let upstream = read(service, id, value, &mut errors);
        errors.finish(upstream)
    }

    /// What a merge patch (RFC 7396) makes of what is `stored`. A name that there is not is refused also where its value
    /// is null, which leaves no trace in the result.
    pub fn patched(service: &str, id: &str, stored: Value, patch: &Value) -> Result<Upstream, Invalid> {
        let mut errors = Errors::default();
        let (owner, own) = names(service, id)?;
        read(owner, own, patch, &mut errors);
        errors.finish_names()?;
        Upstream::from_value(service, id, &json::merged(stored, patch))
    }

    /// What is stored and digested: compact, fields at their defaults left out. Equal upstreams have equal bodies.
    pub fn body(&self) -> Body {
        let mut members = Map::new();
        if Address::try_from(self.id.as_str()).as_ref() != Ok(&self.address) {
            members.insert("address".to_owned(), self.address.as_str().into());
        }
        if i64::from(self.weight) != WEIGHT {
            members.insert("weight".to_owned(), self.weight.into());
        }
        if self.state != UpstreamState::default() {
            members.insert("state".to_owned(), self.state.as_str().into());
        }
        if let Some(ttl) = self.ttl {
            members.insert("ttl".to_owned(), format_duration(ttl).into());
        }
        Body::of_value(&Value::Object(members))
    }

    /// Every field, defaults filled in.
    pub fn document(&self) -> Value {
        serde_json::json!({
            "address": self.address.as_str(),
            "weight": self.weight,
            "state": self.state.as_str(),
            "ttl": self.ttl.map(format_duration),
        })
    }
}

fn names(service: &str, id: &str) -> Result<(ServiceName, UpstreamId), Invalid> {
    let service = ServiceName::try_from(service).map_err(|rule| Invalid::field("service", rule))?;
    let id = UpstreamId::try_from(id).map_err(|rule| Invalid::field("id", rule))?;
    Ok((service, id))
}

fn read(service: ServiceName, id: UpstreamId, value: &Value, errors: &mut Errors) -> Option<Upstream> {
    let path = &Path::Root;
    let mut fields = Fields::of(value, path, errors)?;
    let address = read_address(&mut fields, &id, path, errors);
    let weight = fields.read("weight", errors, WEIGHT, |value, path, errors| {
        integer(value, path, errors, 0, WEIGHT_MAX)
    });
    let state = fields.read("state", errors, UpstreamState::default(), read_state);
    let ttl = fields.read("ttl", errors, None, read_ttl);
    fields.finish(errors);
    Some(Upstream {
        service,
        id,
        address: address?,
        weight: u16::try_from(weight?).ok()?,
        state: state?,
        ttl: ttl?,
    })
}

fn read_address(fields: &mut Fields<'_>, id: &UpstreamId, path: &Path<'_>, errors: &mut Errors) -> Option<Address> {
    let path = path.field("address");
    match fields.take("address") {
        Some(value) => {
            let address = Address::try_from(string(value, &path, errors)?);
            address.map_err(|detail| errors.invalid(&path, detail)).ok()
        }
        None => {
            let address = Address::try_from(id.as_str()).map(|address| address.share(id.shared()));
            let required =
                |detail| errors.invalid(&path, format_args!("required unless the id is an address: {detail}"));
            address.map_err(required).ok()
        }
    }
}

fn read_state(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<UpstreamState> {
    match string(value, path, errors)? {
        "active" => Some(UpstreamState::Active),
        "draining" => Some(UpstreamState::Draining),
        _ => {
            errors.invalid(path, "one of active, draining is expected");
            None
        }
    }
}

fn read_ttl(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Option<Duration>> {
    if value.is_null() {
        return Some(None);
    }
    match parse_duration(string(value, path, errors)?) {
        Ok(ttl) if (TTL_LEAST..=TTL_MOST).contains(&ttl) => return Some(Some(ttl)),
        Ok(_) => errors.invalid(path, "a duration from 1s to 24h is expected"),
        Err(rule) => errors.invalid(path, rule),
    }
    None
}
