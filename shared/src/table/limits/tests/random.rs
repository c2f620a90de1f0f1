//! Random histories of limits: step by step as from the whole state, and found as by looking at each of them.

use std::collections::BTreeMap;

use super::{Asked, found, gone, limit};
use crate::change::{Commit, Epoch, ObjectKey, Op, OpId, Revision};
use crate::state::State;
use crate::table::Table;
use crate::table::tests::random::Random;

const SEEDS: u64 = 8;
const REVISIONS: u64 = 48;
const LIMITS: usize = 120;

const TOKENS: &[&str] = &[
    "",
    ".*",
    "a",
    "ab",
    "abc",
    "abd$",
    "abc$",
    "^abcd$",
    "a|b",
    "(a|ab|abcd)$",
    "(?i)AB",
    "[ab]c",
    ".+",
    ".*c$",
    "[a-z]+$",
    "a.*d",
    "b+",
    "é",
];
const PATHS: &[&str] = &[".*", "/", "/a", "/a/b", "/a$", ".*b$", "/(a|b)", "(?i)/A"];
const METHODS: &[&str] = &[".*", "get", "GET|PUT", "p"];

fn members(random: &mut Random) -> String {
    let mut members = format!(r#","auth_token":"{}""#, random.one(TOKENS));
    if random.below(2) == 0 {
        members += &format!(r#","path":"{}""#, random.one(PATHS));
    }
    if random.below(3) == 0 {
        members += &format!(r#","method":"{}""#, random.one(METHODS));
    }
    if random.below(4) == 0 {
        members += &format!(r#","data_size":{}"#, random.below(3));
    }
    if random.below(3) == 0 {
        members += &format!(r#","service":"{}""#, random.one(&["web", "other"]));
    }
    members
}

fn random_ops(random: &mut Random) -> Vec<Op> {
    let mut ops: BTreeMap<ObjectKey, Op> = BTreeMap::new();
    for _ in 0..=random.below(8) {
        let n = random.below(LIMITS);
        let op = match random.below(4) {
            0 => gone(n),
            _ => limit(n, &members(random)),
        };
        ops.insert(op.object(), op);
    }
    ops.into_values().collect()
}

/// Every limit, looked at by itself.
fn plainly(table: &Table, asked: &Asked<'_>) -> Vec<usize> {
    let all = table.limits.by_id.values().map(|in_force| &in_force.limit);
    let taken = all.filter(|limit| {
        limit
            .service
            .as_ref()
            .is_none_or(|service| service.as_str() == asked.service)
            && limit.auth_token.matches(asked.auth_token)
            && limit.protocol.matches(asked.protocol)
            && limit.method.matches(asked.method)
            && limit.path.matches(asked.path)
            && asked.length.is_none_or(|length| length >= limit.data_size)
    });
    let mut numbers: Vec<usize> = taken.map(|limit| limit.id.to_string()[24..].parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

fn random_requests_agree(random: &mut Random, table: &Table, what: &str) {
    for _ in 0..40 {
        let asked = Asked {
            service: random.one(&["web", "other", "none"]),
            auth_token: random.one(&[
                "", "a", "ab", "abc", "abcd", "abd", "AB", "bc", "bbb", "axd", "é", "zzz",
            ]),
            protocol: "HTTP",
            method: random.one(&["GET", "PUT", "POST", "HEAD"]),
            path: random.one(&["/", "/a", "/a/b", "/b", "/A", "*"]),
            length: [None, Some(0), Some(1), Some(2)][random.below(4)],
        };
        assert_eq!(found(table, asked), plainly(table, &asked), "{what}: {asked:?}");
        if let Some(certain) = table.limits_of_token(asked.service, asked.auth_token) {
            let found = table.limits(&asked);
            assert_eq!(certain, found, "{what}: {asked:?}");
        }
    }
}

#[test]
fn step_by_step_is_the_whole_and_nothing_is_missed() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let mut state = State::empty(Epoch(uuid::Uuid::nil()));
        let mut table = Table::default();
        for number in 1..=REVISIONS {
            let revision = Revision(number);
            let ops = random_ops(&mut random);
            let applied = table.apply(&ops, revision);
            assert_eq!(applied.refused, []);
            // The table before it stays what it was.
            let before = plainly(&table, &super::ASKED);
            assert_eq!(found(&table, super::ASKED), before);
            table = applied.table;
            let commit = Commit {
                revision,
                at_ms: 0,
                actor: "test".into(),
                op_id: OpId(uuid::Uuid::nil()),
                ops,
            };
            state.apply(&commit).unwrap();
            if number % 8 == 0 {
                let what = format!("seed {seed}, revision {number}");
                let (whole, refused) = Table::of(&state);
                assert_eq!((refused, &table.limits.by_id), (vec![], &whole.limits.by_id), "{what}");
                table.warm();
                random_requests_agree(&mut random, &table, &what);
                random_requests_agree(&mut random, &whole, &what);
            }
        }
        let all: Vec<Op> = (0..LIMITS).map(gone).collect();
        let empty = table.apply(&all, Revision(REVISIONS + 1)).table;
        assert!(empty.limits.is_empty(), "seed {seed}");
    }
}
