//! What every request goes through, of whatever protocol:
//!
//! ```text
//! RequestMeta → route → Routed → authorize → Authorized → limit → Admitted → pick → Picked
//! ```
//!
//! Each result can be made by its own step only, so that forwarding what was not authorized does not compile. A refusal
//! is a `Verdict`. An edge builds the `RequestMeta`, forwards what was picked, and renders verdicts; it runs `pick` once
//! for every attempt, and everything from `route` on again when the verdict is `Stale`.

pub(crate) mod affinity;
mod authorize;
mod balance;
pub mod dice;
mod limit;
mod meta;
mod named;
mod pick;
mod route;
mod tier;
mod verdict;

pub use authorize::{Authorized, Authorizers, Given, authorize};
pub use limit::{Admitted, Counted, Limits, Quota, limit};
pub use meta::{Credentials, Protocol, RequestMeta};
pub use pick::{Picked, Tried, choose, pick, pick_in_turn, pick_internal, pick_internal_in_turn};
pub use route::{Routed, route, route_mail, submission, submission_for};
pub use verdict::Verdict;

#[cfg(test)]
mod tests;
