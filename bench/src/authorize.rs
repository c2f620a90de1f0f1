//! What it costs to route a request and to find that its client may use the service, without any edge around it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dataplane::authorizer::{Desk, Memory};
use dataplane::http::basic;
use dataplane::pipeline::{Authorizers, Credentials, Protocol, RequestMeta, authorize, route};
use dataplane::upstream::pool::Pool;
use dataplane::view::{Reader, Views};
use http::header::HeaderMap;
use shared::change::{Body, Kind, Op, Revision, Verb};
use shared::table::Table;
use tokio::task::LocalSet;

use crate::authserver::{self, credentials};
use crate::process::own_time;
use crate::report::{Table as Report, against};

const REQUESTS: usize = 1_000_000;
/// Of what an authorizer's remembered answer adds.
const GOAL: Duration = Duration::from_micros(1);

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How many users have been authorized; each request is one of theirs, in turn.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 1_000, 10_000])]
    users: Vec<usize>,
}

pub fn run(options: &Options) -> io::Result<()> {
    println!(
        "\n## Authorize\n\nRouting by one service, reading Basic credentials, and the answer that is remembered for them; \
         the mean of one thread's CPU time over {REQUESTS} requests.\n"
    );
    let mut report = Report::new(["users", "route ns", "authorized ns", "authorizing ns", "goal ns", ""]);
    for users in &options.users {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (open, guarded) = LocalSet::new().block_on(&runtime, measure(*users))?;
        let added = guarded.saturating_sub(open);
        let ns = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e9);
        report.row([
            users.to_string(),
            ns(open),
            ns(guarded),
            ns(added),
            ns(GOAL),
            against(added.as_secs_f64(), GOAL.as_secs_f64()),
        ]);
    }
    print!("{report}");
    Ok(())
}

/// Without and with an authorizer.
async fn measure(users: usize) -> io::Result<(Duration, Duration)> {
    let views = Views::new(1);
    views.retire(views.swap(table(authserver::start(|_| "token".into())?)?));
    let desk = Desk::new(views.reader(), Pool::new(), Arc::<Memory>::default());
    let reader = views.reader();
    let users: Vec<HeaderMap> = (0..users).map(credentials).collect::<io::Result<_>>()?;
    for user in &users {
        pass(&reader, &desk, "guarded.test", user).await?;
    }
    let mut times = [Duration::ZERO; 2];
    for (time, host) in times.iter_mut().zip(["open.test", "guarded.test"]) {
        let began = own_time();
        for user in users.iter().cycle().take(REQUESTS) {
            pass(&reader, &desk, host, user).await?;
        }
        *time = (own_time() - began) / REQUESTS as u32;
    }
    let [open, guarded] = times;
    Ok((open, guarded))
}

/// As an edge does it.
async fn pass(reader: &Reader, desk: &impl Authorizers, host: &str, fields: &HeaderMap) -> io::Result<()> {
    let mut meta = RequestMeta {
        client: [127, 0, 0, 1].into(),
        protocol: Protocol::Http,
        scheme: "http",
        method: "GET",
        host,
        path: "/v2/things/17",
        uri: "/v2/things/17?a=b",
        headers: &(),
        fields: Some(fields),
        length: Some(0),
        account: None,
        credentials: None::<Credentials>,
    };
    let refused = |verdict| io::Error::other(format!("{host}: {verdict:?}"));
    let routed = reader.with(|view| route(view, &meta)).map_err(refused)?;
    if routed.is_guarded() {
        meta.credentials = basic::credentials(fields);
    }
    std::hint::black_box(authorize(routed, &meta, desk).await.map_err(refused)?);
    Ok(())
}

fn table(answers: SocketAddr) -> io::Result<Table> {
    let ops = [
        (Kind::Service, "auth".to_owned(), r#"{"match":[]}"#),
        (Kind::Upstream, format!("auth/{answers}"), "{}"),
        (
            Kind::Authorizer,
            "main".to_owned(),
            r#"{"service":"auth","timeout":"10s","cache":{"ttl":"1h"}}"#,
        ),
        (
            Kind::Service,
            "open".to_owned(),
            r#"{"match":[{"hosts":["open.test"]}]}"#,
        ),
        (
            Kind::Service,
            "guarded".to_owned(),
            r#"{"match":[{"hosts":["guarded.test"]}],"authorizer":"main"}"#,
        ),
    ];
    let ops = ops.into_iter().map(|(kind, key, body)| {
        Ok(Op {
            verb: Verb::Put,
            kind,
            key: key.into(),
            body: Some(Body::from_json(body)?),
            registration: None,
            before: None,
        })
    });
    let ops: Vec<Op> = ops.collect::<io::Result<_>>()?;
    Ok(Table::default().apply(&ops, Revision(1)).table)
}
