//! What is known of a message, as it comes to be known: for the metrics and the access log, once its client has its reply.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::time::SystemTime;

use shared::model::{ServiceName, UpstreamId};
use tokio::time::Instant;

use super::Reply;
use crate::access_log::{Entry, token_hash};
use crate::counts::Delivered;
use crate::pipeline::Admitted;
use crate::upstream::endpoint::Endpoint;
use crate::worker::WorkerContext;

pub struct Record {
    began: Instant,
    bytes: Cell<u64>,
    tries: Cell<u32>,
    service: RefCell<Option<ServiceName>>,
    /// The last that was tried.
    upstream: RefCell<Option<UpstreamId>>,
    /// Under which it is spoken of in `Received`.
    id: RefCell<Option<String>>,
    token: Cell<Option<[u8; 8]>>,
}

/// Whom it is about.
pub struct Parties<'a> {
    pub client: IpAddr,
    /// `MAIL` for a message, `RCPT` for a recipient that was refused.
    pub method: &'static str,
    /// Of the first recipient, in lower case.
    pub domain: &'a str,
}

impl Record {
    pub fn begin() -> Record {
        Record {
            began: Instant::now(),
            bytes: Cell::default(),
            tries: Cell::default(),
            service: RefCell::default(),
            upstream: RefCell::default(),
            id: RefCell::default(),
            token: Cell::default(),
        }
    }

    pub fn received(&self, bytes: u64) {
        self.bytes.set(bytes);
    }

    pub fn routed(&self, service: &ServiceName) {
        *self.service.borrow_mut() = Some(service.clone());
    }

    pub fn admitted(&self, admitted: &Admitted) {
        self.routed(&admitted.service().name);
        let token = admitted.grant().and_then(|grant| grant.auth_token.as_ref());
        self.token.set(token.map(|token| token_hash(token.as_bytes())));
    }

    pub fn named(&self, id: &str) {
        *self.id.borrow_mut() = Some(id.to_owned());
    }

    pub fn tries(&self, endpoint: &Endpoint) {
        self.tries.set(self.tries.get() + 1);
        *self.upstream.borrow_mut() = Some(endpoint.identity().id.clone());
    }

    pub fn end(&self, context: &WorkerContext, parties: &Parties<'_>, reply: &Reply) {
        let delivered = match (parties.method, reply.code) {
            ("RCPT", _) => Delivered::RecipientRefused,
            (_, ..400) => Delivered::Accepted,
            (_, 400..500) => Delivered::Deferred,
            _ => Delivered::Rejected,
        };
        let all = context.views.counts();
        match &*self.service.borrow() {
            None => all.unrouted.mail(delivered),
            Some(service) => {
                let counts = context.views.with(|view| view.counts_of(all, service));
                counts.mail(delivered);
            }
        }
        let Some(log) = &context.log else { return };
        let error = (!reply.is_positive()).then(|| format!("{} {}", reply.enhanced, reply.text));
        log.write(&Entry {
            at: SystemTime::now(),
            protocol: "SMTP",
            client: parties.client,
            method: parties.method,
            host: "",
            path: parties.domain,
            status: reply.code,
            bytes_in: self.bytes.get(),
            bytes_out: 0,
            took: self.began.elapsed(),
            service: self.service.borrow().as_ref().map(ServiceName::as_str),
            upstream: self.upstream.borrow().as_ref().map(UpstreamId::as_str),
            tries: self.tries.get(),
            token: self.token.get(),
            limit: reply.limit,
            request_id: self.id.borrow().as_ref().map(|id| id.as_bytes()),
            error: error.as_deref(),
            referer: None,
            agent: None,
        });
    }
}
