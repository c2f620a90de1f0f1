use std::net::IpAddr;

use http::HeaderMap;
use shared::table::Headers;

use crate::secret::Secret;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Smtp,
}

/// Who the client says it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: Secret,
}

/// What decisions are made by: borrowed views of a request's head, or of a mail session and its envelope.
pub struct RequestMeta<'a> {
    /// As far as trusted proxies in front of us can tell.
    pub client: IpAddr,
    pub protocol: Protocol,
    /// `http` or `https`, as far as trusted proxies in front of us can tell.
    pub scheme: &'static str,
    pub method: &'a str,
    /// As sent, with a port if there was one; empty when the request named none.
    pub host: &'a str,
    /// As sent, without the query; of mail to one recipient its domain, in lower case.
    pub path: &'a str,
    /// As sent: the path and the query.
    pub uri: &'a str,
    pub headers: &'a dyn Headers,
    /// All of them, where there are any; mail has none.
    pub fields: Option<&'a HeaderMap>,
    /// Bytes of the body, where they are known beforehand.
    pub length: Option<u64>,
    /// Whose account it counts under, as token and as key of limits: of whom the authorizer says where this is none.
    pub account: Option<&'a str>,
    /// Looked for only where the service has somebody to show them to.
    pub credentials: Option<Credentials>,
}
