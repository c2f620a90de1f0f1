//! What it costs to route a request and to find that its client may use the service, without any edge around it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use dataplane::authorizer::{Desk, Memory};
use dataplane::http::basic;
use dataplane::pipeline::{Authorizers, Credentials, Protocol, RequestMeta, authorize, route};
use dataplane::upstream::pool::Pool;
use dataplane::view::{Reader, Views};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use shared::change::{Body, Kind, Op, Revision, Verb};
use shared::table::Table;
use tokio::task::LocalSet;

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
    views.retire(views.swap(table(answers()?)?));
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

/// `00000n:password` and its like: fifteen characters, so that nothing has to be padded.
fn credentials(n: usize) -> io::Result<HeaderMap> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let plain = format!("{n:06}:password");
    let encoded = plain.as_bytes().chunks_exact(3).flat_map(|three| {
        let bits = three.iter().fold(0, |bits: usize, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| DIGITS[bits >> shift & 63])
    });
    let value: Vec<u8> = b"Basic ".iter().copied().chain(encoded).collect();
    let value = HeaderValue::from_bytes(&value).map_err(io::Error::other)?;
    Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
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

/// An authorization server that lets everybody in.
fn answers() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream?));
        }
    });
    Ok(address)
}

/// A question is small, and the next comes after the answer: what is read ends with it.
fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut read = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes)? {
            0 => return Ok(()),
            n => read.extend_from_slice(&bytes[..n]),
        }
        if read.ends_with(b"}") {
            read.clear();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\n{\"auth_token\":\"token\"}")?;
        }
    }
}
