//! The domain: services, upstreams, authorizers and limits. A value of these types is valid; the only way to one is to
//! parse it.

mod access;
mod address;
mod authorizer;
mod balance;
mod care;
mod check;
mod choice;
mod duration;
mod fields;
mod hold;
pub mod host;
mod invalid;
pub mod json;
mod limit;
mod mail;
mod matching;
mod name;
pub mod path;
pub mod pattern;
pub mod recipient;
mod revocation;
mod service;
mod size;
#[cfg(test)]
mod tests;
mod timeouts;
mod upstream;
mod vary;

pub use access::Access;
pub use address::Address;
pub use authorizer::{Authorizer, OnFailure, Remembering, Style, Upstreams};
pub use balance::Balance;
pub use care::UpstreamCare;
pub use check::{Expect, HealthCheck};
pub use duration::{format_duration, parse_duration};
pub use hold::Hold;
pub use host::HostPattern;
pub use invalid::{FieldError, Invalid, InvalidKind};
pub use json::merge_patch;
pub use limit::{Algorithm, Cost, CountedUnder, Limit, LimitId, Mode, OnUnreachable};
pub use mail::{Mail, Shape};
pub use matching::{HeaderCondition, Match, Method};
pub use name::{AuthorizerName, ServiceName, UpstreamId};
pub use path::{BadPath, PathPattern, PathPrefix, PathRegex};
pub use pattern::Pattern;
pub use recipient::RecipientPattern;
pub use revocation::{Holder, Revocation, TokenHash};
pub use service::{Retries, Service};
pub use size::{format_size, parse_size};
pub use timeouts::Timeouts;
pub use upstream::{Upstream, UpstreamState};
pub use vary::Vary;
