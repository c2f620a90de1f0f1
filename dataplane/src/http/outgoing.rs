//! A request as upstreams are to see it, for as many attempts as are made.

use std::rc::Rc;

use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Version, request};
use http_body::Body;

use super::exchange::Client;
use super::fields;
use super::head::RequestParts;
use super::intake::Intake;
use super::upload::{GoAhead, KEPT_MAX, Source, Upload, Wait};
use crate::authorizer::X_VULCAN_AUTH_TOKEN;
use crate::pipeline::Admitted;
use crate::upstream::endpoint::InFlight;

pub struct Outgoing {
    head: RequestParts,
    /// The client's has no Host, as HTTP/1.0 allows.
    is_hostless: bool,
    /// The last attempt that may be made has been.
    is_over: bool,
    /// Fields in it that come of a grant.
    granted: Vec<HeaderName>,
    /// What the client says under names that are the authorizer's to write.
    withheld: Vec<(HeaderName, HeaderValue)>,
    source: Option<Rc<Source>>,
    length: Option<u64>,
    /// May be sent again although an upstream may have acted on it (RFC 9110, 9.2.2).
    is_repeatable: bool,
    wants_upgrade: bool,
    is_continue_expected: bool,
    /// Of the last attempt.
    go_ahead: Option<Rc<GoAhead>>,
}

impl Outgoing {
    pub fn new(
        client: &Client,
        mut head: RequestParts,
        body: Intake,
        is_continue_expected: bool,
        admitted: &Admitted,
    ) -> Outgoing {
        let service = admitted.service();
        let length = body.size_hint().exact();
        let is_empty = body.is_end_stream();
        let is_chunked = length.is_none();
        let hop = fields::take_hop_by_hop(&mut head.headers);
        let upgrade = hop.upgrade.filter(|_| is_empty && head.version == Version::HTTP_11);
        client.forwarding.write(&mut head.headers);
        client.session.record().identified(&head.headers);
        if is_chunked {
            head.headers
                .insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        if is_empty {
            head.headers.remove(header::EXPECT);
        }
        let wants_upgrade = upgrade.is_some();
        if let Some(upgrade) = upgrade {
            head.headers.insert(header::UPGRADE, upgrade);
            head.headers
                .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        } else if hop.takes_trailers {
            head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
        head.version = Version::HTTP_11;
        let is_idempotent = is_idempotent(&head.method);
        let is_kept = is_idempotent && service.retries.attempts > 0 && length.is_some_and(|length| length <= KEPT_MAX);
        let session = client.session.clone();
        let mut outgoing = Outgoing {
            is_hostless: !head.headers.contains_key(header::HOST),
            head,
            is_over: false,
            granted: Vec::new(),
            withheld: Vec::new(),
            source: (!is_empty).then(|| Source::new(body, session, service.max_body, is_kept)),
            length,
            is_repeatable: is_idempotent && (is_empty || is_kept),
            wants_upgrade,
            is_continue_expected: is_continue_expected && !is_empty,
            go_ahead: None,
        };
        outgoing.grant(admitted);
        outgoing
    }

    /// Writes what the authorizer said of the request in the place of what the client says under these names.
    pub fn grant(&mut self, admitted: &Admitted) {
        let head = &mut self.head;
        let Some(grant) = admitted.grant() else { return };
        for name in admitted.copied() {
            self.withheld.extend(fields::take_spellings(&mut head.headers, name));
        }
        if let Some(source) = &self.source {
            source.withhold(admitted.copied());
        }
        for (name, value) in &grant.copied {
            head.headers.append(name, value.clone());
            self.granted.push(name.clone());
        }
        if let Some(token) = &grant.auth_token {
            head.headers.insert(X_VULCAN_AUTH_TOKEN, token.clone());
            self.granted.push(X_VULCAN_AUTH_TOKEN);
        }
    }

    /// Undoes it, and what an attempt has added: the authorizer is to be asked about what the client says.
    pub fn ungrant(&mut self) {
        let headers = &mut self.head.headers;
        for name in self.granted.drain(..) {
            headers.remove(name);
        }
        for (name, value) in self.withheld.drain(..) {
            headers.append(name, value);
        }
        if self.is_hostless {
            headers.remove(header::HOST);
        }
    }

    pub fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    pub fn wants_upgrade(&self) -> bool {
        self.wants_upgrade
    }

    pub fn length(&self) -> Option<u64> {
        self.length
    }

    pub fn head(&self) -> &request::Parts {
        &self.head
    }

    /// Of the last attempt, if its body waits for one.
    pub fn go_ahead(&self) -> Option<Rc<GoAhead>> {
        self.go_ahead.clone()
    }

    /// The client still waits to be asked for its body, and will not be.
    pub fn is_withheld(&self) -> bool {
        self.go_ahead.as_ref().is_some_and(|go_ahead| !go_ahead.is_used())
    }

    /// Begins an attempt, which has this body and the head as it is then. `may_repeat`: another one may follow it. None: this one
    /// may not.
    pub fn begin(&mut self, client: &Client, in_flight: &Rc<InFlight>, may_repeat: bool) -> Option<Upload> {
        if self.is_over {
            return None;
        }
        self.is_over = !(may_repeat && self.is_repeatable);
        if self.is_hostless {
            // HTTP/1.0 knows none, HTTP/1.1 demands one.
            let host = HeaderValue::from_str(in_flight.endpoint().identity().address.as_str());
            let host = host.unwrap_or(HeaderValue::from_static(""));
            self.head.headers.insert(header::HOST, host);
        }
        Some(match self.source.clone() {
            None => Upload::empty(),
            Some(source) => Upload::new(source, in_flight.clone(), self.wait(client)),
        })
    }

    /// A client that has been asked once is not asked again.
    fn wait(&mut self, client: &Client) -> Option<Wait> {
        let is_asked = self.go_ahead.as_ref().is_some_and(|go_ahead| go_ahead.is_used());
        if !self.is_continue_expected || is_asked {
            return None;
        }
        let session = &client.session;
        let wait = Wait::new(session.now() + session.patience().go_ahead);
        self.go_ahead = Some(wait.go_ahead());
        Some(wait)
    }
}

/// RFC 9110, 9.2.2
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}
