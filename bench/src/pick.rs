//! What it costs to choose an upstream for a request and to count it in and out, without any edge around it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::authorizer::{Desk, Memory};
use dataplane::pipeline::{
    Admitted, Counted, Credentials, Picked, Protocol, RequestMeta, Tried, authorize, limit, pick, route,
};
use dataplane::upstream::pool::Pool;
use dataplane::view::{Reader, Views};
use shared::change::{Body, Kind, Op, Revision, Verb};
use shared::table::{Headers, Table};
use tokio::task::LocalSet;

use crate::process::own_time;
use crate::report::Table as Report;

const PICKS: usize = 1_000_000;
/// Where each pick looks at every upstream, fewer are enough.
const LOOKS: usize = 100_000_000;
/// Requests in flight, so that there is a difference between upstreams.
const IN_FLIGHT: usize = 64;
const USERS: usize = 1_000;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How many upstreams the service has.
    #[arg(long, value_delimiter = ',', default_values_t = [3, 100, 1_000])]
    upstreams: Vec<usize>,
}

const BALANCES: [(&str, &str); 4] = [
    ("least_request", r#""least_request""#),
    ("round_robin", r#""round_robin""#),
    ("random", r#""random""#),
    ("consistent_hash", r#"{"consistent_hash":{"header":"x-user"}}"#),
];

/// How the upstreams are.
#[derive(Clone, Copy, PartialEq)]
enum Care {
    /// A service's defaults; all are well.
    Default,
    /// With checks and a limit of what is in flight; all are well.
    Switched,
    /// The same, and a third is down.
    ThirdDown,
    /// The same as `Switched`, and all have just come.
    Slow,
}

const CARES: [Care; 4] = [Care::Default, Care::Switched, Care::ThirdDown, Care::Slow];

pub fn run(options: &Options) -> io::Result<()> {
    println!(
        "\n## Pick\n\nChoosing one of a service's upstreams, counting a request in, and out again; {IN_FLIGHT} others are in \
         flight. Care is health checks and a limit of what is in flight. The mean of one thread's CPU time, in ns.\n"
    );
    let heads = [
        "upstreams",
        "balance",
        "default",
        "with care",
        "a third is down",
        "slow start",
    ];
    let mut report = Report::new(heads);
    for upstreams in &options.upstreams {
        for (name, balance) in BALANCES {
            let mut row = vec![upstreams.to_string(), name.to_owned()];
            for care in CARES {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let time = LocalSet::new().block_on(&runtime, measure(*upstreams, balance, care))?;
                row.push(format!("{:.0}", time.as_secs_f64() * 1e9));
            }
            let [a, b, c, d, e, f] = row.try_into().unwrap_or_default();
            report.row([a, b, c, d, e, f]);
        }
    }
    print!("{report}");
    Ok(())
}

async fn measure(upstreams: usize, balance: &str, care: Care) -> io::Result<Duration> {
    let views = Views::new(1);
    let reader = deploy(&views, upstreams, balance, care)?;
    let desk = Desk::new(views.reader(), Pool::new(), Arc::<Memory>::default());
    let mut admitted = Vec::new();
    for user in 0..USERS {
        admitted.push(admit(&reader, &desk, &format!("user-{user}")).await?);
    }
    let none = Tried::default();
    let taken = |admitted: &Admitted| -> io::Result<Picked> {
        pick(&reader, admitted, &none).map_err(|verdict| io::Error::other(format!("{verdict:?}")))
    };
    let _in_flight: Vec<Picked> = admitted.iter().take(IN_FLIGHT).map(taken).collect::<io::Result<_>>()?;
    let picks = PICKS.min(LOOKS / upstreams);
    let began = own_time();
    for admitted in admitted.iter().cycle().take(picks) {
        drop(std::hint::black_box(taken(admitted)?));
    }
    Ok((own_time() - began) / u32::try_from(picks).unwrap_or(u32::MAX))
}

/// What is there when a proxy starts is up and has its whole share at once; only what comes later begins slowly.
fn deploy(views: &Views, upstreams: usize, balance: &str, care: Care) -> io::Result<Reader> {
    let settings = match care {
        Care::Default => "",
        Care::Switched | Care::ThirdDown => {
            r#","health_check":{"path":"/"},"upstream_care":{"max_in_flight":1000,"queue":10}"#
        }
        Care::Slow => r#","upstream_care":{"max_in_flight":1000,"queue":10,"slow_start":"1h"}"#,
    };
    let service = format!(r#"{{"match":[{{}}],"balance":{balance}{settings}}}"#);
    let mut table = applied(&Table::default(), Kind::Service, "web", &service, 1)?;
    if care == Care::Slow {
        views.retire(views.swap(table.clone()));
    }
    for n in 0..upstreams {
        let address = format!(r#"{{"address":"127.0.{}.{}:80"}}"#, n / 250, n % 250);
        table = applied(&table, Kind::Upstream, &format!("web/u{n}"), &address, 2)?;
    }
    views.retire(views.swap(table));
    if care == Care::ThirdDown {
        let later = Instant::now() + Duration::from_secs(3_600);
        let view = views.now();
        let all = view.pools().flat_map(|pool| pool.candidates()).step_by(3);
        all.for_each(|one| one.endpoint.health().failed(later));
    }
    Ok(views.reader())
}

fn applied(table: &Table, kind: Kind, key: &str, body: &str, revision: u64) -> io::Result<Table> {
    let op = Op {
        verb: Verb::Put,
        kind,
        key: key.into(),
        body: Some(Body::from_json(body)?),
        registration: None,
        before: None,
    };
    let applied = table.apply(&[op], Revision(revision));
    match applied.refused.first() {
        None => Ok(applied.table),
        Some(refusal) => Err(io::Error::other(format!("refused: {}", refusal.cause))),
    }
}

struct User<'a>(&'a str);

impl Headers for User<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        (name == "x-user").then_some(self.0)
    }
}

async fn admit(reader: &Reader, desk: &Desk, user: &str) -> io::Result<Admitted> {
    let meta = RequestMeta {
        client: [127, 0, 0, 1].into(),
        protocol: Protocol::Http,
        scheme: "http",
        method: "GET",
        host: "web.test",
        path: "/",
        uri: "/",
        headers: &User(user),
        fields: None,
        length: Some(0),
        account: None,
        credentials: None::<Credentials>,
    };
    let refused = |verdict| io::Error::other(format!("{verdict:?}"));
    let routed = reader.with(|view| route(view, &meta)).map_err(refused)?;
    let authorized = authorize(routed, &meta, desk).await.map_err(refused)?;
    limit(authorized, &meta, &(), Counted::default()).await.map_err(refused)
}
