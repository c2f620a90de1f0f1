//! What the step of the pipeline adds to a request, from the look at the table to the token: with tokens at hand, as a
//! request has them that does not wait.

use std::cell::Cell;
use std::hint::black_box;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::authorizer::{self, Memory};
use dataplane::http::basic;
use dataplane::limiter::{self, Identity, Limiter};
use dataplane::pipeline::{Counted, Protocol, RequestMeta, authorize, limit, route};
use dataplane::upstream::inflight::count_as_worker;
use dataplane::upstream::pool::Pool;
use dataplane::view::{Reader, Views};
use http::HeaderMap;
use shared::change::{Epoch, Kind, Op, Revision};
use shared::quota::slots::{Decision, Need, Slots};
use shared::quota::{AccountId, Down, Label, ProxyId, SHARDS, Said, Told, Up};
use shared::table::{self, Table};
use shared::time::Time;
use tokio::task::{JoinHandle, LocalSet};
use uuid::Uuid;

use super::{limit_of, put, whole};
use crate::authserver::{self, credentials};
use crate::process::own_time;
use crate::report::{Table as Report, against};

const REQUESTS: usize = 1_000_000;
const SLICE: usize = 5_000;
/// Of a decision about one limit whose tokens are named.
const GOAL: Duration = Duration::from_nanos(200);
/// More than are asked for.
const TOKENS: u64 = 1 << 31;

/// So many accounts are decided about without asking, as many as by default.
const ACCOUNTS: usize = 1 << 17;
const ALLOWANCE: u32 = 1 << 24;

const WITH_LIMITS: Revision = Revision(2);

/// As a proxy reads it.
fn clock() -> Time {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicRaw);
    Time::from_nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// Limits, and the tokens of the requests that count for them.
struct Scene {
    name: String,
    limits: Vec<String>,
    token: Arc<dyn Fn(usize) -> String + Send + Sync>,
    tokens: usize,
    has_goal: bool,
}

#[derive(Default)]
struct Measured {
    /// What limits add to a request.
    added: Duration,
    /// Parts of it, each by itself.
    look_up: Duration,
    name: Duration,
    take: Duration,
}

/// `many` limits, `run` of them with patterns that must be run, where some have.
pub fn report(many: usize, run: usize) -> io::Result<Report> {
    let mut report = Report::new([
        "limits",
        "active tokens",
        "limiting ns",
        "goal ns",
        "",
        "of it the look-up",
        "naming an account anew",
        "the token",
    ]);
    for scene in scenes(many, run) {
        let measured = scene.measure()?;
        let ns = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e9);
        let added = measured.added;
        let goal = |text: String| if scene.has_goal { text } else { String::new() };
        report.row([
            scene.name,
            scene.tokens.to_string(),
            ns(added),
            goal(ns(GOAL)),
            goal(against(added.as_secs_f64(), GOAL.as_secs_f64())),
            ns(measured.look_up),
            ns(measured.name),
            ns(measured.take),
        ]);
    }
    Ok(report)
}

fn scenes(many: usize, run: usize) -> Vec<Scene> {
    let any = || r#""key":"auth_token""#.to_owned();
    let named = |n| format!(r#""auth_token":"^user-{n}@example\\.com$""#);
    let customer = |n| format!(r#""auth_token":".*@customer-{n}\\.example$""#);
    let user = |n: usize| format!("user-{n}@example.com");
    // So many of them have limits of their own.
    let user_or_guest = |users: usize| {
        move |n: usize| match n < users {
            true => user(n),
            false => format!("guest-{n}@example.com"),
        }
    };
    // One takes all others: so each token has one limit.
    let others = || r#""auth_token":"^guest-""#.to_owned();
    let mut scenes = Vec::new();
    for tokens in [1, 1_000, 100_000] {
        scenes.push(Scene {
            name: "1 of any token".into(),
            limits: vec![any()],
            token: Arc::new(user),
            tokens,
            has_goal: true,
        });
    }
    scenes.push(Scene {
        name: "3 of any token".into(),
        limits: (0..3).map(|_| any()).collect(),
        token: Arc::new(user),
        tokens: 1_000,
        has_goal: false,
    });
    for tokens in [1, 10_000, 100_000] {
        scenes.push(Scene {
            name: format!("{many} of a token each, and one of all others"),
            limits: (0..many - 1).map(named).chain([others()]).collect(),
            token: Arc::new(user_or_guest(many - 1)),
            tokens,
            has_goal: true,
        });
    }
    for tokens in [1, 100_000] {
        scenes.push(Scene {
            name: format!("{many}, {run} of them `.*@customer-N\\.example$`"),
            limits: (0..many - run - 1)
                .map(named)
                .chain([others()])
                .chain((0..run).map(customer))
                .collect(),
            token: Arc::new(user_or_guest(many - run - 1)),
            tokens,
            has_goal: false,
        });
    }
    scenes
}

impl Scene {
    /// Requests that are routed, let in by what an authorizer said before, and counted: without limits and with them, some of
    /// these and some of those in turns, since what else the machine does changes meanwhile.
    fn measure(&self) -> io::Result<Measured> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async {
            let token = self.token.clone();
            let services = services(authserver::start(move |user| (*token)(user))?)?;
            let roomy = authorizer::Limits {
                entries: 2 * ACCOUNTS,
                bytes: 1 << 28,
            };
            let memory = Arc::new(Memory::new(roomy));
            let open = whole(Table::default().apply(&services, Revision(1)))?;
            let mut limited = whole(open.apply(&limits(&self.limits)?, WITH_LIMITS))?;
            limited.warm();
            // Requests run on workers, which count in cells of their own.
            count_as_worker(0);
            let (free, counted) = (Worker::new(&open, &memory), Worker::new(&limited, &memory));
            let granting = counted.grant(&limited).await;
            let users: Vec<HeaderMap> = (0..self.tokens).map(credentials).collect::<io::Result<_>>()?;
            for user in &users {
                free.pass(user).await?;
                counted.pass(user).await?;
            }
            let mut took = [Duration::ZERO; 2];
            for slice in 0..2 * REQUESTS / SLICE {
                let worker = [&free, &counted][slice % 2];
                let began = own_time();
                for turn in slice * SLICE..(slice + 1) * SLICE {
                    worker.pass(&users[self.turn(turn)]).await?;
                }
                took[slice % 2] += own_time() - began;
            }
            granting.abort();
            let [without, with] = took;
            let mut measured = Measured {
                added: with.saturating_sub(without) / REQUESTS as u32,
                ..Measured::default()
            };
            self.parts(&limited, &mut measured)?;
            Ok(measured)
        })
    }

    /// In an order that no cache foresees.
    fn turn(&self, n: usize) -> usize {
        n * 7_919 % self.tokens
    }

    /// What the step does one after the other for each request, one for all requests after the other.
    fn parts(&self, table: &Table, measured: &mut Measured) -> io::Result<()> {
        let tokens: Vec<String> = (0..self.tokens).map(|n| (self.token)(n)).collect();
        fn asked(token: &str) -> table::Asked<'_> {
            table::Asked {
                service: "web",
                auth_token: token,
                protocol: "HTTP",
                method: "GET",
                path: "/v2/things/17",
                length: Some(0),
            }
        }
        let limit = |token: &str| table.limits(&asked(token)).first().map(|of| of.limit.id.0);
        let limits: Option<Vec<Uuid>> = tokens.iter().map(|token| limit(token)).collect();
        let limits = limits.ok_or_else(|| io::Error::other(format!("{}: a token has no limit", self.name)))?;
        let account = |n: usize| AccountId::of(limits[n], tokens[n].as_bytes());
        let needs: Vec<[Need; 1]> = (0..self.tokens)
            .map(|n| {
                [Need {
                    key: account(n).key,
                    cost: 1,
                }]
            })
            .collect();
        let mean = |work: &dyn Fn(usize)| {
            let began = own_time();
            (0..REQUESTS).for_each(|n| work(self.turn(n)));
            (own_time() - began) / REQUESTS as u32
        };
        measured.look_up = mean(&|n| drop(black_box(table.limits(black_box(&asked(&tokens[n]))))));
        measured.name = mean(&|n| {
            black_box(account(black_box(n)));
        });
        let slots = Slots::new(2 * ACCOUNTS);
        for [need] in &needs {
            slots.open(need.key, ALLOWANCE, Time::from_nanos(u64::MAX), 0);
        }
        let refused = Cell::new(0);
        measured.take = mean(&|n| {
            if !matches!(slots.decide(black_box(&needs[n]), clock), Decision::Admitted { .. }) {
                refused.set(refused.get() + 1);
            }
        });
        // Accounts that share a place with too many others put each other out, few of them where half of it is free.
        match refused.get() {
            few if few <= REQUESTS / 100 => Ok(()),
            n => Err(io::Error::other(format!("{}: {n} were not admitted", self.name))),
        }
    }
}

/// Decides by its own table, and by what all remember.
struct Worker {
    views: Arc<Views>,
    reader: Reader,
    authorizers: authorizer::Desk,
    limits: limiter::Desk,
}

impl Worker {
    fn new(table: &Table, memory: &Arc<Memory>) -> Worker {
        let views = Views::new(1);
        views.retire(views.swap(table.clone()));
        Worker {
            reader: views.reader(),
            authorizers: authorizer::Desk::new(views.reader(), Pool::new(), memory.clone()),
            limits: limiter::Desk::new(&views),
            views,
        }
    }

    /// From now on it is given what it asks for.
    async fn grant(&self, table: &Table) -> JoinHandle<()> {
        let (owner, instance) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (limiter, id) = (self.views.limiter().clone(), ProxyId { instance, boot: 1 });
        limiter.begin(Identity {
            id,
            accounts: ACCOUNTS,
            is_marked: true,
        });
        limiter.follow(table, WITH_LIMITS, Epoch(owner));
        limiter.welcome(Vec::new());
        let granting = tokio::task::spawn_local(grant(limiter, owner, id));
        // It introduces itself.
        tokio::task::yield_now().await;
        granting
    }

    /// As an edge does it.
    async fn pass(&self, fields: &HeaderMap) -> io::Result<()> {
        let mut meta = RequestMeta {
            client: Ipv4Addr::LOCALHOST.into(),
            protocol: Protocol::Http,
            scheme: "http",
            method: "GET",
            host: "web.test",
            path: "/v2/things/17",
            uri: "/v2/things/17?a=b",
            headers: &(),
            fields: Some(fields),
            length: Some(0),
            account: None,
            credentials: None,
        };
        let refused = |verdict| io::Error::other(format!("{verdict:?}"));
        let routed = self.reader.with(|view| route(view, &meta)).map_err(refused)?;
        meta.credentials = basic::credentials(fields);
        let authorized = authorize(routed, &meta, &self.authorizers).await.map_err(refused)?;
        let admitted = limit(authorized, &meta, &self.limits, Counted::default()).await;
        black_box(admitted.map_err(refused)?);
        Ok(())
    }
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
                    revision: WITH_LIMITS,
                    tokens: TOKENS,
                    bucket: (0, 1),
                    not_before_in: Duration::ZERO,
                    expires_in: Duration::from_secs(3_600),
                }
            });
            say(number, grants.collect());
        }
    }
}

/// One that is open to those whom its authorizer lets in, and that authorizer.
fn services(answers: SocketAddr) -> io::Result<Vec<Op>> {
    let authorizer = r#"{"service":"auth","timeout":"10s","cache":{"ttl":"1h"}}"#;
    let service = r#"{"match":[{"hosts":["web.test"]}],"authorizer":"main"}"#;
    Ok(vec![
        put(Kind::Service, "auth".into(), r#"{"match":[]}"#)?,
        put(Kind::Upstream, format!("auth/{answers}"), "{}")?,
        put(Kind::Authorizer, "main".into(), authorizer)?,
        put(Kind::Service, "web".into(), service)?,
    ])
}

fn limits(bodies: &[String]) -> io::Result<Vec<Op>> {
    let endless = |(n, members): (usize, &String)| {
        let members = format!(r#"{members},"threshold":1000000000000,"period":2678400"#);
        limit_of(n, &members)
    };
    bodies.iter().enumerate().map(endless).collect()
}
