//! Writers, control planes that are killed and stand still, three nodes of Cassandra of which one does, and a network that
//! loses answers and delivers late: whatever any writer was told is true.
//!
//! `VULCAN_TEST_WRITES` says how many writes are made, `VULCAN_TEST_SEED` which chances are taken.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod faults;
mod reading;
mod writers;

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use vulcan_tests::cassandra::Cassandra;
use vulcan_tests::cassandra::link::Link;
use vulcan_tests::history::{Attempt, Entry, Rule, Tally, Told, Verdict, judge};
use vulcan_tests::node::Node;
use vulcan_tests::world::World;

use faults::Faults;
use writers::{ACTORS, Field};

const WRITES: u64 = 10_000;

/// More writes are made, if no outcome was unknown in one of both ways: so many rounds at most, each a quarter of the first.
const ROUNDS_MAX: usize = 5;

const PLANES: usize = 3;

fn number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| {
        value.parse().unwrap_or_else(|_| panic!("{name} is a number"))
    })
}

fn file(world: &World, name: &str, text: &str) -> String {
    let path = world.path(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The file of tokens: one for each actor.
fn tokens(world: &World) -> String {
    let mut text = String::new();
    for (name, sha256) in ACTORS {
        writeln!(
            text,
            "[[token]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\nrole = \"admin\""
        )
        .unwrap();
    }
    file(world, "tokens.toml", &text)
}

/// Control planes, each with its own way to every node.
async fn planes(world: &World, cassandra: &Cassandra, keyspace: &str, seed: u64) -> (Vec<Link>, Vec<Node>) {
    let tokens = tokens(world);
    let peers = file(world, "peer-token", &format!("token-of-{}\n", ACTORS[0].0));
    let links: Vec<Link> = (0..PLANES as u64)
        .map(|plane| Link::around(&cassandra.contacts, seed + plane))
        .collect();
    let plane = |(index, link): (usize, &Link)| {
        let store = format!("cassandra://{}/{keyspace}", link.contacts);
        let flags = ["--tokens", &tokens, "--peer-token-file", &peers];
        world.control_plane_on(&format!("plane-{index}"), &store, &flags)
    };
    let mut nodes: Vec<Node> = links.iter().enumerate().map(plane).collect();
    for node in &mut nodes {
        node.ready().await;
    }
    (links, nodes)
}

fn is_blind(tally: &Tally) -> bool {
    tally.unknown_and_there == 0 || tally.unknown_and_absent == 0
}

#[track_caller]
fn acquit(verdict: &Verdict, how: &str) {
    let violations: Vec<String> = verdict
        .violations
        .iter()
        .map(|violation| format!("{:?}: {}", violation.rule, violation.detail))
        .collect();
    assert!(violations.is_empty(), "{how}:\n{}", violations.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_writers_were_told_is_true() {
    let (writes, seed) = (number("VULCAN_TEST_WRITES", WRITES), number("VULCAN_TEST_SEED", 1));
    let cassandra = Arc::new(Cassandra::start(3, &[]));
    let keyspace = vulcan_tests::cassandra::keyspace();
    let world = World::new();
    let (links, nodes) = planes(&world, &cassandra, &keyspace, seed).await;
    let field = Arc::new(Field::new(nodes.iter().map(Node::admin).collect()));
    let mut faults = Faults::new(links, nodes, cassandra.clone(), seed);

    for round in 0..ROUNDS_MAX {
        let begun = Instant::now();
        faults.begin();
        let count = if round == 0 { writes } else { writes.div_ceil(4) };
        writers::run(&field, count, seed + 100 * round as u64).await;
        faults.end().await;
        let attempts = field.attempts();
        let apis = field.apis();
        let log = reading::log(&apis[0]).await;
        let verdict = judge(&attempts, &log);
        println!(
            "{} writes, {} revisions, {:.0?}, {}; {}",
            attempts.len(),
            log.len(),
            begun.elapsed(),
            faults.counts(),
            verdict.tally
        );
        acquit(&verdict, "the log of a control plane");
        let rows = reading::rows(&cassandra.contacts, &keyspace).await;
        assert_eq!(rows.len(), log.len());
        assert_eq!(rows, log, "a control plane shows what the table holds");
        let standing = verdict.fold.standing();
        reading::tables_hold(&cassandra.contacts, &keyspace, &standing).await;
        for api in &apis {
            reading::shows(api, &standing).await;
        }
        if !is_blind(&verdict.tally) {
            faults.were_there();
            doctored(&attempts, &log);
            return;
        }
    }
    panic!("no outcome was unknown, or all of them went one way");
}

/// The judge would have found it.
fn doctored(attempts: &[Attempt], log: &[Entry]) {
    let finds = |rule: Rule, what: &str, attempts: &[Attempt], log: &[Entry]| {
        let violations = judge(attempts, log).violations;
        assert!(
            violations.iter().any(|violation| violation.rule == rule),
            "{what}: {rule:?} is not found"
        );
    };
    let in_the_middle = |revision: u64| revision > 2 && revision < log.len() as u64;
    let told = attempts.iter().position(|attempt| {
        matches!(attempt.told, Told::Committed { revision } if in_the_middle(revision)
            && log[revision as usize - 1].ops.iter().any(|op| op.body.is_some() && op.body == attempt.body))
    });
    let told = told.expect("a put was committed");
    let Told::Committed { revision } = attempts[told].told else {
        unreachable!("it was looked for");
    };
    let index = usize::try_from(revision).unwrap() - 1;

    let mut lost = log.to_vec();
    lost[index].ops.retain(|op| op.object() != attempts[told].object);
    finds(Rule::Lost, "a write that was told is gone", attempts, &lost);
    let mut gap = log.to_vec();
    gap.remove(index);
    finds(Rule::Gap, "a revision is gone", attempts, &gap);
    let mut twice = log.to_vec();
    twice[index].op_id = log[0].op_id.clone();
    finds(Rule::AppendedTwice, "an operation id is there twice", attempts, &twice);
    let mut denied = attempts.to_vec();
    denied[told].told = Told::NotCommitted;
    finds(Rule::Denied, "a write that was denied is there", &denied, log);
    let mut made_up = attempts.to_vec();
    made_up.remove(told);
    finds(Rule::MadeUp, "nobody made a write", &made_up, log);
    let mut before = log.to_vec();
    for op in &mut before[index].ops {
        op.before = op.before.take().xor(Some(vulcan_tests::history::Standing {
            body: json!({}),
            revision: 1,
            registration: None,
        }));
    }
    finds(Rule::WrongBefore, "what stood is told wrongly", attempts, &before);
}
