//! What the step of the pipeline adds to a request, from the look at the table to the token: with tokens at hand, as a
//! request has them that does not wait.

use std::cell::Cell;
use std::hint::black_box;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::authorizer::{Answer, Asked, Grant};
use dataplane::limiter::{Desk, Identity, Limiter};
use dataplane::pipeline::{
    Authorizers, Counted, Given, Limits, Protocol, RequestMeta, Verdict, authorize, limit, route,
};
use dataplane::view::{Reader, Views};
use http::HeaderValue;
use shared::change::{Body, Epoch, Kind, Op, Revision, Verb};
use shared::quota::slots::{Decision, Need, Slots};
use shared::quota::{AccountId, Down, Label, ProxyId, SHARDS, Said, Told, Up};
use shared::table::{self, Table};
use shared::time::Time;
use tokio::task::LocalSet;
use uuid::Uuid;

use crate::process::own_time;
use crate::report::{Table as Report, against};

const REQUESTS: usize = 1_000_000;
/// Of a decision about one limit whose tokens are named.
const GOAL: Duration = Duration::from_nanos(200);
/// More than are asked for.
const TOKENS: u64 = 1 << 31;

/// So many accounts are decided about without asking, as many as by default.
const ACCOUNTS: usize = 1 << 17;
const ALLOWANCE: u32 = 1 << 24;

/// As a proxy reads it.
fn clock() -> Time {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicRaw);
    Time::from_nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// Limits, and the tokens of the requests that count for them.
struct Scene {
    name: String,
    limits: Vec<String>,
    token: Box<dyn Fn(usize) -> String>,
    tokens: usize,
    has_goal: bool,
}

#[derive(Default)]
struct Measured {
    request: Duration,
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
        let without = scene.measure(&[])?;
        let with = scene.measure(&scene.limits)?;
        let ns = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e9);
        let added = with.request.saturating_sub(without.request);
        let goal = |text: String| if scene.has_goal { text } else { String::new() };
        report.row([
            scene.name,
            scene.tokens.to_string(),
            ns(added),
            goal(ns(GOAL)),
            goal(against(added.as_secs_f64(), GOAL.as_secs_f64())),
            ns(with.look_up),
            ns(with.name),
            ns(with.take),
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
            token: Box::new(user),
            tokens,
            has_goal: true,
        });
    }
    scenes.push(Scene {
        name: "3 of any token".into(),
        limits: (0..3).map(|_| any()).collect(),
        token: Box::new(user),
        tokens: 1_000,
        has_goal: false,
    });
    for tokens in [1, 10_000, 100_000] {
        scenes.push(Scene {
            name: format!("{many} of a token each, and one of all others"),
            limits: (0..many - 1).map(named).chain([others()]).collect(),
            token: Box::new(user_or_guest(many - 1)),
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
            token: Box::new(user_or_guest(many - run - 1)),
            tokens,
            has_goal: false,
        });
    }
    scenes
}

impl Scene {
    /// Requests that are routed, let in and counted.
    fn measure(&self, limits: &[String]) -> io::Result<Measured> {
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
            limiter.begin(Identity {
                id,
                accounts: ACCOUNTS,
                is_marked: true,
            });
            let mut table = table(limits)?;
            table.warm();
            views.retire(views.swap(table.clone()));
            limiter.follow(&table, Revision(1), Epoch(owner));
            limiter.welcome(Vec::new());
            let granting = tokio::task::spawn_local(grant(limiter.clone(), owner, id));
            // It introduces itself.
            tokio::task::yield_now().await;
            let (reader, desk) = (views.reader(), Desk::new(&views));
            let users = Users::new((0..self.tokens).map(&self.token))?;
            for turn in 0..self.tokens {
                users.next.set(turn);
                pass(&reader, &desk, &users).await?;
            }
            let mut measured = Measured::default();
            let began = own_time();
            for turn in 0..REQUESTS {
                users.next.set(self.turn(turn));
                pass(&reader, &desk, &users).await?;
            }
            measured.request = (own_time() - began) / REQUESTS as u32;
            if !limits.is_empty() {
                self.parts(&table, &mut measured)?;
            }
            granting.abort();
            Ok(measured)
        })
    }

    /// In an order that no cache foresees.
    fn turn(&self, n: usize) -> usize {
        n * 7_919 % self.tokens
    }

    /// What the step does one after the other for each request, one for all requests after the other.
    fn parts(&self, table: &Table, measured: &mut Measured) -> io::Result<()> {
        let tokens: Vec<String> = (0..self.tokens).map(&self.token).collect();
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

/// Says of one request after the other whose it is.
struct Users {
    answers: Vec<Arc<Answer>>,
    next: Cell<usize>,
}

impl Users {
    fn new(tokens: impl Iterator<Item = String>) -> io::Result<Users> {
        let answer = |token: String| {
            let auth_token = Some(HeaderValue::from_str(&token).map_err(io::Error::other)?);
            Ok(Arc::new(Answer::Granted(Grant {
                auth_token,
                ..Grant::default()
            })))
        };
        Ok(Users {
            answers: tokens.map(answer).collect::<io::Result<_>>()?,
            next: Cell::new(0),
        })
    }
}

impl Authorizers for Users {
    async fn ask(&self, asked: &Asked, _: &RequestMeta<'_>) -> Result<Given, Verdict> {
        Ok(Given {
            answer: self.answers[self.next.get()].clone(),
            stamp: asked.stamp(),
        })
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

async fn pass(reader: &Reader, desk: &impl Limits, users: &Users) -> io::Result<()> {
    let meta = RequestMeta {
        client: Ipv4Addr::LOCALHOST.into(),
        protocol: Protocol::Http,
        scheme: "http",
        method: "GET",
        host: "web.test",
        path: "/v2/things/17",
        uri: "/v2/things/17?a=b",
        headers: &(),
        fields: None,
        length: Some(0),
        account: None,
        credentials: None,
    };
    let refused = |verdict| io::Error::other(format!("{verdict:?}"));
    let routed = reader.with(|view| route(view, &meta)).map_err(refused)?;
    let authorized = authorize(routed, &meta, users).await.map_err(refused)?;
    let admitted = limit(authorized, &meta, desk, Counted::default()).await;
    black_box(admitted.map_err(refused)?);
    Ok(())
}

fn table(limits: &[String]) -> io::Result<Table> {
    let op = |kind, key: String, body: &str| {
        Ok::<_, io::Error>(Op {
            verb: Verb::Put,
            kind,
            key: key.into(),
            body: Some(Body::from_json(body)?),
            registration: None,
            before: None,
        })
    };
    let service = r#"{"match":[{"hosts":["web.test"]}],"authorizer":"main"}"#;
    let mut ops: Vec<Op> = vec![
        op(Kind::Service, "auth".into(), r#"{"match":[]}"#)?,
        op(
            Kind::Authorizer,
            "main".into(),
            r#"{"service":"auth","style":"forward"}"#,
        )?,
        op(Kind::Service, "web".into(), service)?,
    ];
    for (n, members) in limits.iter().enumerate() {
        let body = format!(r#"{{{members},"threshold":1000000000000,"period":2678400}}"#);
        ops.push(op(Kind::Limit, format!("00000000-0000-4000-8000-{n:012}"), &body)?);
    }
    let applied = Table::default().apply(&ops, Revision(1));
    match applied.refused.first() {
        None => Ok(applied.table),
        Some(refusal) => Err(io::Error::other(refusal.to_string())),
    }
}
