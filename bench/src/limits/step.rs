//! What the step of the pipeline adds to a request, from the look at the table to the token: with tokens at hand, as a
//! request has them that does not wait.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::limiter::{Desk, Limiter};
use dataplane::pipeline::{Counted, Limits, Protocol, RequestMeta, authorize, limit, route};
use dataplane::view::{Reader, Views};
use shared::change::{Epoch, Revision};
use shared::quota::{Down, Label, ProxyId, SHARDS, Said, Told, Up};
use shared::table::Table;
use tokio::task::LocalSet;
use uuid::Uuid;

use super::{op, processor_time};
use crate::report::{Table as Report, against};

const REQUESTS: usize = 1_000_000;
/// Of what one limit adds.
const GOAL: Duration = Duration::from_nanos(500);
/// More than are asked for.
const TOKENS: u64 = 1 << 31;

pub fn report() -> io::Result<Report> {
    let mut report = Report::new([
        "limits that match",
        "accounts",
        "request ns",
        "limiting ns",
        "goal ns",
        "",
    ]);
    let without = measure(0, 1)?;
    for (limits, accounts) in [(1, 1), (1, 1_000), (1, 100_000), (3, 1_000)] {
        let with = measure(limits, accounts)?;
        let added = with.saturating_sub(without);
        let ns = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e9);
        let goal = |text: String| if limits == 1 { text } else { String::new() };
        report.row([
            limits.to_string(),
            accounts.to_string(),
            ns(with),
            ns(added),
            goal(ns(GOAL)),
            goal(against(added.as_secs_f64(), GOAL.as_secs_f64())),
        ]);
    }
    Ok(report)
}

/// Of a request that is routed, let in and counted.
fn measure(limits: usize, accounts: u32) -> io::Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let views = Views::new(1);
        let (owner, id) = (
            Uuid::from_u128(1),
            ProxyId {
                instance: Uuid::from_u128(2),
                boot: 1,
            },
        );
        let limiter = views.limiter().clone();
        limiter.begin(id, 1 << 18);
        let table = table(limits)?;
        views.retire(views.swap(table.clone()));
        limiter.follow(&table, Revision(1), Epoch(owner));
        limiter.welcome(Vec::new());
        let granting = tokio::task::spawn_local(grant(limiter, owner, id));
        // It introduces itself.
        tokio::task::yield_now().await;
        let (reader, desk) = (views.reader(), Desk::new(&views));
        for client in 0..accounts {
            pass(&reader, &desk, client).await?;
        }
        let began = processor_time();
        for n in 0..REQUESTS as u32 {
            // In an order that no cache foresees.
            pass(&reader, &desk, n.wrapping_mul(7_919) % accounts).await?;
        }
        let took = (processor_time() - began) / REQUESTS as u32;
        granting.abort();
        Ok(took)
    })
}

/// An owner that never runs out.
async fn grant(limiter: Arc<Limiter>, owner: Uuid, id: ProxyId) {
    let began = Instant::now();
    let mut number = 0;
    let mut say = |heard: u64, items: Vec<Told>| {
        number += 1;
        let now = began.elapsed().as_nanos() as u64;
        limiter.hear(Down {
            from: owner,
            to: id,
            number,
            heard,
            heard_at: Label::from_nanos(now),
            now: Label::from_nanos(now),
            items,
        });
    };
    say(
        0,
        vec![Told::Beat {
            shards: (0..SHARDS).map(|shard| (shard, 1)).collect(),
        }],
    );
    let mut next = 0;
    loop {
        for Up { number, items, .. } in limiter.said().await {
            let wants = items.iter().filter_map(|said| match said {
                Said::Want(want) => Some(want.account),
                _ => None,
            });
            let grants = wants.map(|account| {
                next += 1;
                Told::Grant {
                    id: next,
                    account,
                    epoch: 1,
                    revision: Revision(1),
                    tokens: TOKENS,
                    bucket: (0, 1),
                    expires_in: Duration::from_secs(3_600),
                }
            });
            say(number, grants.collect());
        }
    }
}

async fn pass(reader: &Reader, desk: &impl Limits, client: u32) -> io::Result<()> {
    let meta = RequestMeta {
        client: Ipv4Addr::from_bits(0x0a00_0000 | client).into(),
        protocol: Protocol::Http,
        scheme: "http",
        method: "GET",
        host: "web.test",
        path: "/v2/things/17",
        uri: "/v2/things/17?a=b",
        headers: &(),
        fields: None,
        length: Some(0),
        credentials: None,
    };
    let refused = |verdict| io::Error::other(format!("{client}: {verdict:?}"));
    let routed = reader.with(|view| route(view, &meta)).map_err(refused)?;
    let authorized = authorize(routed, &meta, &()).await.map_err(refused)?;
    let admitted = limit(authorized, &meta, desk, Counted::default()).await;
    std::hint::black_box(admitted.map_err(refused)?);
    Ok(())
}

fn table(limits: usize) -> io::Result<Table> {
    let mut ops = (0..limits)
        .map(|n| op(n, r#""threshold":1000000000000,"period":2678400,"key":"client_ip""#))
        .collect::<io::Result<Vec<_>>>()?;
    ops.push(shared::change::Op {
        kind: shared::change::Kind::Service,
        key: "web".into(),
        body: Some(shared::change::Body::from_json(
            r#"{"match":[{"hosts":["web.test"]}]}"#,
        )?),
        ..op(0, r#""threshold":1"#)?
    });
    Ok(Table::default().apply(&ops, Revision(1)).table)
}
