//! What is known of a client's request, as it comes to be known: for the metrics and the access log, once it has ended.
//!
//! One for each connection, which has one request at a time. What the last request had is used again where it is the same:
//! most requests of a connection go to one service, and share nothing with other workers by being counted.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri, Version, request};
use shared::model::{LimitId, Service, UpstreamId};
use tokio::time::Instant;

use super::refusal::Refusal;
use crate::access_log::{Entry, Feed, Format, token_hash};
use crate::authorizer::Grant;
use crate::counts::ServiceCounts;
use crate::upstream::endpoint::Endpoint;
use crate::worker::WorkerContext;

/// Nobody gets it: the client has gone before the answer (a custom of nginx).
const CLIENT_GONE: u16 = 499;

pub struct Record {
    context: Rc<WorkerContext>,
    client: IpAddr,
    began: Cell<Instant>,
    stage: Cell<Stage>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    tries: Cell<u32>,
    is_routed: Cell<bool>,
    /// Of this request if it `is_routed`, else of one before.
    service: RefCell<Option<Arc<Service>>>,
    /// Of `service`.
    counts: RefCell<Option<Arc<ServiceCounts>>>,
    told: RefCell<Told>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No request is under way, or it has been counted.
    Over,
    Begun,
    /// By this status, as far as it goes.
    Answered(u16),
}

/// For the access log alone: nothing is in it without one.
#[derive(Default)]
struct Told {
    method: Method,
    uri: Uri,
    version: Version,
    client: Option<IpAddr>,
    host: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    agent: Option<HeaderValue>,
    request_id: Option<HeaderValue>,
    upstream: Option<UpstreamId>,
    token: Option<[u8; 8]>,
    limit: Option<LimitId>,
    error: Option<String>,
}

impl Record {
    /// `client`: the peer, for requests that no more is known of.
    pub fn new(context: Rc<WorkerContext>, client: IpAddr, now: Instant) -> Record {
        Record {
            context,
            client,
            began: Cell::new(now),
            stage: Cell::new(Stage::Over),
            bytes_in: Cell::default(),
            bytes_out: Cell::default(),
            tries: Cell::default(),
            is_routed: Cell::default(),
            service: RefCell::default(),
            counts: RefCell::default(),
            told: RefCell::default(),
        }
    }

    fn log(&self) -> Option<&Feed> {
        self.context.log.as_ref()
    }

    pub fn begin(&self, now: Instant) {
        self.began.set(now);
        self.stage.set(Stage::Begun);
        self.bytes_in.set(0);
        self.bytes_out.set(0);
        self.tries.set(0);
        self.is_routed.set(false);
    }

    /// Its head has come. `client`: as far as trusted proxies tell.
    pub fn head(&self, head: &request::Parts, client: impl FnOnce() -> IpAddr) {
        let Some(log) = self.log() else { return };
        let field = |name: header::HeaderName| head.headers.get(name).cloned();
        let is_combined = log.format() == Format::Combined;
        *self.told.borrow_mut() = Told {
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            client: Some(client()),
            host: field(header::HOST),
            referer: field(header::REFERER).filter(|_| is_combined),
            agent: field(header::USER_AGENT).filter(|_| is_combined),
            ..Told::default()
        };
    }

    pub fn routed(&self, service: &Arc<Service>) {
        self.is_routed.set(true);
        let mut last = self.service.borrow_mut();
        match &*last {
            Some(last) if Arc::ptr_eq(last, service) => return,
            Some(last) if last.name == service.name => {}
            _ => *self.counts.borrow_mut() = None,
        }
        *last = Some(service.clone());
    }

    pub fn granted(&self, grant: Option<&Grant>) {
        if self.log().is_some()
            && let Some(token) = grant.and_then(|grant| grant.auth_token.as_ref())
        {
            self.told.borrow_mut().token = Some(token_hash(token.as_bytes()));
        }
    }

    /// By the fields that go upstream.
    pub fn identified(&self, headers: &HeaderMap) {
        if self.log().is_some() {
            self.told.borrow_mut().request_id = headers.get(super::forwarded::X_REQUEST_ID).cloned();
        }
    }

    pub fn tries(&self, endpoint: &Endpoint) {
        self.tries.set(self.tries.get() + 1);
        if self.log().is_some() {
            self.told.borrow_mut().upstream = Some(endpoint.identity().id.clone());
        }
    }

    /// Bytes of the request's body have come.
    pub fn received(&self, bytes: usize) {
        self.bytes_in.set(self.bytes_in.get() + bytes as u64);
    }

    /// Bytes of the answer's body go to the client.
    pub fn sent(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
    }

    pub fn refused(&self, refusal: &Refusal) {
        if self.log().is_some() {
            let mut told = self.told.borrow_mut();
            told.limit = refusal.limit();
            told.error = Some(refusal.describe());
        }
    }

    /// Before its end.
    pub fn broke_off(&self, why: &str) {
        if self.log().is_some() {
            self.told.borrow_mut().error.get_or_insert_with(|| why.to_owned());
        }
    }

    pub fn answered(&self, status: StatusCode) {
        if self.stage.get() != Stage::Over {
            self.stage.set(Stage::Answered(status.as_u16()));
        }
    }

    /// Counted once; an answer that was begun ends by `end`.
    pub fn end_unanswered(&self, now: Instant) {
        if self.stage.get() == Stage::Begun {
            self.broke_off("the connection ended before the answer");
            self.stage.set(Stage::Answered(CLIENT_GONE));
            self.end(now);
        }
    }

    /// The answer's body is over, or nobody wants the rest of it.
    pub fn end(&self, now: Instant) {
        let Stage::Answered(status) = self.stage.get() else {
            return;
        };
        self.stage.set(Stage::Over);
        let took = now.saturating_duration_since(self.began.get());
        self.count(status, took);
        if let Some(log) = self.log() {
            self.write(log, status, took);
        }
    }

    /// Something came that never became a request, and was answered by this.
    pub fn no_request(&self, refusal: &Refusal, now: Instant) {
        self.begin(now);
        *self.told.borrow_mut() = Told::default();
        self.refused(refusal);
        self.answered(refusal.status());
        self.end(now);
    }

    fn count(&self, status: u16, took: Duration) {
        let all = self.context.views.counts();
        let service = self.service.borrow();
        let Some(service) = service.as_ref().filter(|_| self.is_routed.get()) else {
            return all.unrouted.request(status, took);
        };
        let mut counts = self.counts.borrow_mut();
        let look = || self.context.views.with(|view| view.counts_of(all, &service.name));
        counts.get_or_insert_with(look).request(status, took);
    }

    fn write(&self, log: &Feed, status: u16, took: Duration) {
        let told = self.told.borrow();
        let service = self.service.borrow();
        let service = service.as_ref().filter(|_| self.is_routed.get());
        let is_known = told.client.is_some();
        let host = told.host.as_ref().and_then(|host| host.to_str().ok());
        let authority = told.uri.authority().map(|authority| authority.as_str());
        log.write(&Entry {
            at: SystemTime::now(),
            protocol: match told.version {
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            client: told.client.unwrap_or(self.client),
            method: if is_known { told.method.as_str() } else { "" },
            host: host.or(authority).unwrap_or_default(),
            path: if is_known { told.uri.path() } else { "" },
            status,
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            took,
            service: service.map(|service| service.name.as_str()),
            upstream: told.upstream.as_ref().map(UpstreamId::as_str),
            tries: self.tries.get(),
            token: told.token,
            limit: told.limit,
            request_id: told.request_id.as_ref().map(HeaderValue::as_bytes),
            error: told.error.as_deref(),
            referer: told.referer.as_ref().map(HeaderValue::as_bytes),
            agent: told.agent.as_ref().map(HeaderValue::as_bytes),
        });
    }
}
