//! What tests begin with: a proxy's settings, and a log without a store.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use shared::change::{Body, Kind, Op, Revision, Verb};
use shared::model::ServiceName;
use shared::table::Table;

use crate::authorizer::Desk;
use crate::phase::{self, Phase};
use crate::pipeline::{Admitted, Counted, Protocol, RequestMeta, Verdict, authorize, limit, route};
use crate::upstream::pool::Pool;
use crate::view::{LeftOut, View, Views};
use crate::worker::WorkerContext;
use crate::{Config, OnLeaseEnd, limiter};

/// Of a proxy by itself, at ports that the kernel chooses.
pub fn config(data: &Path) -> Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        controlplanes: vec!["http://127.0.0.1:9".into()],
        name: "proxy".into(),
        data: data.into(),
        http: any,
        smtp: None,
        smtps: None,
        tls: None,
        mail_hostname: "proxy.test".into(),
        spool: data.into(),
        status: Some(any),
        lease: Duration::from_secs(10),
        on_lease_end: OnLeaseEnd::Serve,
        drain_timeout: Duration::from_secs(60),
        trusted: Vec::new(),
        half_close: false,
        workers: 2,
        limit_accounts: 1 << 10,
        access_log: None,
        token: None,
        trust: Default::default(),
    }
}

#[derive(Default)]
pub struct Registry {
    table: Table,
    revision: Revision,
    touched: Vec<ServiceName>,
}

impl Registry {
    /// With one service `web` that takes everything.
    pub fn web(balance: &str) -> Registry {
        let mut registry = Registry::default();
        registry.service("web", &format!(r#"{{"match":[{{}}],"balance":"{balance}"}}"#));
        registry
    }

    pub fn service(&mut self, name: &str, body: &str) {
        self.apply(Kind::Service, name, Some(body), None);
    }

    pub fn upstream(&mut self, id: &str, body: &str) -> Revision {
        self.apply(Kind::Upstream, &format!("web/{id}"), Some(body), None);
        self.revision
    }

    /// A change that leaves the registration as it is.
    pub fn change(&mut self, id: &str, registration: Revision, body: &str) {
        self.apply(Kind::Upstream, &format!("web/{id}"), Some(body), Some(registration));
    }

    pub fn put(&mut self, kind: Kind, key: &str, body: &str) {
        self.apply(kind, key, Some(body), None);
    }

    pub fn delete(&mut self, kind: Kind, key: &str) {
        self.apply(kind, key, None, None);
    }

    fn apply(&mut self, kind: Kind, key: &str, body: Option<&str>, registration: Option<Revision>) {
        self.revision = self.revision.next();
        let op = Op {
            verb: if body.is_some() { Verb::Put } else { Verb::Delete },
            kind,
            key: key.into(),
            body: body.map(|body| Body::from_json(body).unwrap()),
            registration,
            before: None,
        };
        let applied = self.table.apply(&[op], self.revision);
        assert!(applied.refused.is_empty(), "{:?}", applied.refused);
        self.table = applied.table;
        self.touched.extend(applied.touched);
    }

    pub fn table(&self) -> Table {
        self.table.clone()
    }

    /// Swaps in everything changed since the last call.
    pub fn swap(&mut self, views: &Views) -> LeftOut {
        self.touched.sort();
        self.touched.dedup();
        views.swap_touched(self.table.clone(), &std::mem::take(&mut self.touched))
    }

    pub fn deploy(&mut self, views: &Views) {
        views.retire(self.swap(views));
    }
}

pub fn meta(path: &str) -> RequestMeta<'_> {
    RequestMeta {
        client: [127, 0, 0, 1].into(),
        protocol: Protocol::Http,
        scheme: "http",
        method: "GET",
        host: "example.com",
        path,
        uri: path,
        headers: &(),
        fields: None,
        length: None,
        account: None,
        credentials: None,
    }
}

/// Everything before the pick.
pub fn admit(view: &View, meta: &RequestMeta<'_>) -> Result<Admitted, Verdict> {
    let authorized = authorize(route(view, meta)?, meta, &()).now_or_never().unwrap()?;
    limit(authorized, meta, &(), Counted::default()).now_or_never().unwrap()
}

/// A worker's, of a proxy that serves.
pub fn context(views: &Arc<Views>) -> Rc<WorkerContext> {
    let (phase, receiver) = phase::channel();
    phase.set(Phase::Serving { stale: false });
    let upstreams = Pool::new();
    Rc::new(WorkerContext {
        index: 0,
        views: views.reader(),
        upstreams: upstreams.clone(),
        authorizers: Desk::new(views.reader(), upstreams, Arc::default()),
        limits: limiter::Desk::new(views),
        mail_clients: Default::default(),
        mail_memory: Default::default(),
        log: None,
        config: Arc::new(config("unused".as_ref())),
        phase: receiver,
    })
}
