//! Who may do what: every route, every method of it, and whom it is for. What is not in the table is for administrators
//! alone; a test walks the router and misses every entry that is not there.

use std::fmt;
use std::sync::Arc;

use http::Method;
use net::problem::{self, Problem};

use crate::registry::scope::Scope;

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    Admin,
    /// The upstreams of some services.
    Deployer(Arc<Scope>),
    /// The stream and the snapshot.
    Proxy,
    /// Whatever can be read.
    Reader,
}

/// Whom a method of a route is for, administrators aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Everybody, without a token: it tells nothing.
    Nothing,
    /// Other control planes, by a token of their own, which opens nothing else; no administrator.
    Peer,
    /// Proxies.
    Stream,
    /// Proxies and readers. It holds what readers are shown one by one, and no secret: configuration only refers to them.
    Snapshot,
    Read,
    /// Readers, and deployers of the service in the path.
    ReadService,
    /// Deployers of the service in the path.
    Deploy,
    /// Deployers; the decision refuses what is of other services.
    Leave,
    Admin,
}

use Needs::{Admin, Deploy, Leave, Nothing, Peer, Read, ReadService, Snapshot, Stream};

/// By the path as the router has it, a line for each. `HEAD` goes as `GET`.
pub const TABLE: &[(&str, &[(Method, Needs)])] = &[
    ("/healthz", &[(GET, Nothing)]),
    ("/readyz", &[(GET, Nothing)]),
    ("/", &[(GET, Nothing)]),
    ("/dashboard/{file}", &[(GET, Nothing)]),
    ("/docs", &[(GET, Nothing)]),
    ("/openapi.json", &[(GET, Nothing)]),
    ("/metrics", &[(GET, Read)]),
    ("/v1/services", &[(GET, Read)]),
    (
        "/v1/services/{service}",
        &[(GET, ReadService), (PUT, Admin), (PATCH, Admin), (DELETE, Admin)],
    ),
    ("/v1/services/{service}/hold", &[(GET, ReadService), (POST, Admin)]),
    ("/v1/services/{service}/resume", &[(POST, Admin)]),
    ("/v1/services/{service}/upstreams", &[(GET, ReadService)]),
    (
        "/v1/services/{service}/upstreams/{id}",
        &[(GET, ReadService), (PUT, Deploy), (PATCH, Deploy), (DELETE, Deploy)],
    ),
    ("/v1/upstreams", &[(GET, Read), (DELETE, Leave)]),
    ("/v1/authorizers", &[(GET, Read)]),
    (
        "/v1/authorizers/{authorizer}",
        &[(GET, Read), (PUT, Admin), (PATCH, Admin), (DELETE, Admin)],
    ),
    ("/v1/authorizers/{authorizer}/revoke", &[(POST, Admin)]),
    ("/v1/apply", &[(POST, Admin)]),
    ("/v1/explain", &[(GET, Read)]),
    ("/v1/limits", &[(GET, Read)]),
    (
        "/v1/limits/{limit}",
        &[(GET, Read), (PUT, Admin), (PATCH, Admin), (DELETE, Admin)],
    ),
    ("/v1/limits/{limit}/usage", &[(GET, Read), (DELETE, Admin)]),
    ("/v1/revisions", &[(GET, Read)]),
    ("/v1/revisions/{revision}", &[(GET, Read)]),
    ("/v1/revisions/{revision}/revert", &[(POST, Admin)]),
    ("/v1/watch", &[(GET, Read)]),
    ("/v1/traffic", &[(GET, Read)]),
    ("/v1/fleet", &[(GET, Read)]),
    ("/v1/fleet/{proxy}", &[(GET, Read), (DELETE, Admin)]),
    ("/v1/fleet/succeed", &[(POST, Admin)]),
    ("/v1/stream", &[(POST, Stream)]),
    ("/v1/snapshot", &[(GET, Snapshot)]),
    ("/v1/peers", &[(POST, Peer)]),
    ("/v1/peers/upstreams/{proxy}", &[(GET, Peer)]),
    ("/v1/peers/heartbeats", &[(POST, Peer)]),
    ("/v1/peers/limits", &[(POST, Peer)]),
    ("/v1/peers/limits/{limit}/{key}", &[(GET, Peer), (POST, Peer)]),
    ("/v1/peers/limits/{limit}/{key}/in-flight", &[(GET, Peer)]),
];

const GET: Method = Method::GET;
const PUT: Method = Method::PUT;
const POST: Method = Method::POST;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

/// `route`: none where the router knows no such path, which whoever has a token is told.
pub fn needs(route: Option<&str>, method: &Method) -> Option<Needs> {
    let method = if *method == Method::HEAD { &GET } else { method };
    let (_, methods) = TABLE.iter().find(|(path, _)| Some(*path) == route)?;
    let (_, needs) = methods.iter().find(|(of, _)| of == method)?;
    Some(*needs)
}

impl Role {
    /// `service`: that in the path.
    pub fn may(&self, needs: Needs, service: Option<&str>) -> bool {
        let has = |scope: &Scope| service.is_some_and(|name| scope.has(name));
        match (self, needs) {
            (_, Nothing) => true,
            (_, Peer) => false,
            (Role::Admin, _) => true,
            (Role::Deployer(scope), ReadService | Deploy) => has(scope),
            (Role::Deployer(_), Leave) => true,
            (Role::Proxy, Stream | Snapshot) => true,
            (Role::Reader, Snapshot | Read | ReadService) => true,
            (Role::Deployer(_) | Role::Proxy | Role::Reader, _) => false,
        }
    }

    /// The services that it is restricted to; none: all.
    pub fn scope(&self) -> Option<&Scope> {
        match self {
            Role::Deployer(scope) => Some(scope),
            Role::Admin | Role::Proxy | Role::Reader => None,
        }
    }

    /// The refusal: the same whether what was asked for is there or not.
    pub fn refusal(&self, needs: Needs, what: fmt::Arguments<'_>) -> Problem {
        Problem::new(
            problem::FORBIDDEN,
            format!("{what} is for {needs}; this token is that of {self}"),
        )
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Admin => f.write_str("an admin"),
            Role::Deployer(scope) => write!(f, "a deployer of {scope}"),
            Role::Proxy => f.write_str("a proxy"),
            Role::Reader => f.write_str("a reader"),
        }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Nothing => "everybody",
            Peer => "other control planes",
            Stream => "the roles proxy and admin",
            Snapshot => "the roles proxy, reader and admin",
            Read => "the roles reader and admin",
            ReadService => "the roles reader and admin, and for deployers of the service",
            Deploy => "the role admin, and for deployers of the service",
            Leave => "the roles deployer and admin",
            Admin => "the role admin",
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
