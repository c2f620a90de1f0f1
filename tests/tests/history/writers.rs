//! Those who write, and keep a record of what they are told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use vulcan_tests::api::{Api, Reply};
use vulcan_tests::dice::Dice;
use vulcan_tests::history::{Attempt, Told, Verb};

/// Names with the SHA-256 of their tokens, which are `token-of-NAME`. Two writers are one actor: their writes can share a
/// revision.
pub const ACTORS: [(&str, &str); 4] = [
    (
        "ann",
        "a3656c50c59b9dd17e7b7539929effb20169a63d77b0453e14162984b611c5f8",
    ),
    (
        "bob",
        "800480042268218663feef3ea54d81ed3f976c98c38d5fd7afbe22810ec16334",
    ),
    (
        "eve",
        "d826c06120cbe0bc3704ae39afb49739b78f5de49bdf0fa4464a78e0e13ecb95",
    ),
    (
        "joe",
        "9138b7a0006f4d156620138887566674e5d89e2b37cc148900d15a7b20f80c92",
    ),
];

const WRITERS: usize = 8;
const SERVICES: usize = 6;
const UPSTREAMS: usize = 4;

/// Longer than a write may take, and shorter than some stand still.
const PATIENCE: Duration = Duration::from_millis(4_500);

/// Chances in a hundred.
const ELSEWHERE: u64 = 1;
const CONDITIONAL: u64 = 15;

/// What all writers share.
pub struct Field {
    planes: Vec<SocketAddr>,
    epoch: Instant,
    /// Writes still to be made, and made so far.
    wanted: AtomicU64,
    made: AtomicU64,
    /// Where an object was when somebody was told last.
    revisions: Mutex<HashMap<String, u64>>,
    record: Mutex<Vec<Attempt>>,
}

/// A write to be made.
struct Wish {
    object: String,
    verb: Verb,
    body: Option<Value>,
    if_match: Option<u64>,
}

impl Field {
    pub fn new(planes: Vec<SocketAddr>) -> Field {
        Field {
            planes,
            epoch: Instant::now(),
            wanted: AtomicU64::new(0),
            made: AtomicU64::new(0),
            revisions: Mutex::default(),
            record: Mutex::default(),
        }
    }

    pub fn attempts(&self) -> Vec<Attempt> {
        self.record.lock().unwrap().clone()
    }

    pub fn apis(&self) -> Vec<Api> {
        self.planes.iter().map(|plane| api(*plane, ACTORS[0].0)).collect()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap()
    }

    /// The number of the next write, no other's.
    fn next(&self) -> Option<u64> {
        let less = |wanted: u64| wanted.checked_sub(1);
        self.wanted.fetch_update(SeqCst, SeqCst, less).ok()?;
        Some(self.made.fetch_add(1, SeqCst))
    }

    fn wish(&self, number: u64, dice: &mut Dice) -> Wish {
        let service = dice.index(SERVICES);
        let upstream = format!("upstream/s{service}/u{}", dice.index(UPSTREAMS));
        let service = format!("service/s{service}");
        let host = format!("m{number}.test");
        let (object, verb, body) = match dice.below(100) {
            0..15 => (service, Verb::Put, Some(json!({"match": [{"hosts": [host]}]}))),
            15..70 => (upstream, Verb::Put, Some(json!({"address": format!("{host}:80")}))),
            70..96 => (upstream, Verb::Delete, None),
            _ => (service, Verb::Delete, None),
        };
        let conditional = dice.percent(CONDITIONAL);
        let known = self.revisions.lock().unwrap().get(&object).copied();
        let if_match = known.filter(|_| conditional);
        Wish {
            object,
            verb,
            body,
            if_match,
        }
    }
}

fn api(plane: SocketAddr, actor: &str) -> Api {
    Api::new(plane).with_token(&format!("token-of-{actor}"))
}

/// Makes `count` more writes.
pub async fn run(field: &Arc<Field>, count: u64, seed: u64) {
    field.wanted.store(count, SeqCst);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let dice = Dice::new(seed.wrapping_mul(1_000) + writer as u64);
        writers.spawn(write(field.clone(), writer, dice));
    }
    writers.join_all().await;
}

/// Stays with a control plane that answers, and tries another one now and then.
async fn write(field: Arc<Field>, writer: usize, mut dice: Dice) {
    let actor = ACTORS[writer % ACTORS.len()].0;
    let mut plane = writer % field.planes.len();
    while let Some(number) = field.next() {
        let wish = field.wish(number, &mut dice);
        if dice.percent(ELSEWHERE) {
            plane = dice.index(field.planes.len());
        }
        let (begun, told) = loop {
            let begun = field.now();
            match ask(&api(field.planes[plane], actor), &wish).await {
                Some(told) => break (begun, told),
                // It does not run: nothing was asked.
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            plane = (plane + 1) % field.planes.len();
        };
        let ended = field.now();
        match &told {
            Told::Committed { revision } => {
                field.revisions.lock().unwrap().insert(wish.object.clone(), *revision);
            }
            Told::OtherRevision | Told::NoService => {}
            Told::NotCommitted | Told::Unknown { .. } | Told::Nothing => plane = (plane + 1) % field.planes.len(),
        }
        let Wish {
            object,
            verb,
            body,
            if_match,
        } = wish;
        field.record.lock().unwrap().push(Attempt {
            actor: actor.to_owned(),
            object,
            verb,
            body,
            if_match,
            begun,
            ended,
            told,
        });
    }
}

/// None: it cannot have been heard.
async fn ask(api: &Api, wish: &Wish) -> Option<Told> {
    let path = match wish.object.split('/').collect::<Vec<_>>()[..] {
        ["service", name] => format!("/v1/services/{name}?wait=none"),
        [_, service, id] => format!("/v1/services/{service}/upstreams/{id}?wait=none"),
        _ => unreachable!("{}", wish.object),
    };
    let mut request = match &wish.body {
        Some(body) => api.with_json("PUT", &path, &body.to_string()),
        None => api.request("DELETE", &path),
    };
    if let Some(revision) = wish.if_match {
        request = request.with("if-match", &format!("\"{revision}\""));
    }
    match tokio::time::timeout(PATIENCE, api.try_send(&request)).await {
        Ok(Ok(reply)) => Some(told(&reply)),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => None,
        Ok(Err(_)) | Err(_) => Some(Told::Nothing),
    }
}

fn told(reply: &Reply) -> Told {
    let committed = &reply.body["committed"];
    match reply.status {
        202 if *committed == true => Told::Committed {
            revision: reply.revision(),
        },
        429 | 503 if *committed == false => Told::NotCommitted,
        503 if *committed == "unknown" => {
            let op_id = reply.body["op_id"].as_str().expect("the id that history finds it by");
            let op_id = op_id.to_owned();
            Told::Unknown { op_id }
        }
        412 => Told::OtherRevision,
        404 => Told::NoService,
        _ => panic!("{} {}", reply.status, reply.text),
    }
}
