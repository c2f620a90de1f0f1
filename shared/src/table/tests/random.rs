//! Random histories: folding them step by step gives the table of the whole state, and routes as a sorted list would.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{delete, put, route_with, service, upstream};
use crate::change::{Commit, Epoch, Kind, ObjectKey, Op, OpId, Revision};
use crate::model::{HostPattern, Match, PathPattern, RecipientPattern, Service, host, path};
use crate::state::State;
use crate::table::{Headers, Query, Table};

const SEEDS: u64 = 60;
const REVISIONS: u64 = 60;

/// SplitMix64 (Steele, Lea, Flood 2014)
pub(in crate::table) struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    pub fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

const HOSTS: &[&str] = &["*", "a.org", "b.a.org", "*.org", "*.a.org", "*.b.a.org", "*.x"];
const PATHS: &[&str] = &[
    "/", "/a", "/a/", "/a/b", "/a/b/c", "/a//", "//", "/%61b", "/b", "/c", "/d", "/e", "/f", "/g", "/h",
];
const REGEXES: &[&str] = &["/.*", "/a|/b", "/a/.+", "(?i)/A/B", "/[a-z]"];

fn random_match(random: &mut Random) -> String {
    let mut members = Vec::new();
    let hosts: Vec<String> = (0..random.below(3))
        .map(|_| format!("{:?}", random.one(HOSTS)))
        .collect();
    members.push(format!(r#""hosts":[{}]"#, hosts.join(",")));
    match random.below(4) {
        0 => members.push(format!(r#""path_regex":{:?}"#, random.one(REGEXES))),
        1 => {}
        _ => members.push(format!(r#""path_prefix":{:?}"#, random.one(PATHS))),
    }
    if random.below(3) == 0 {
        members.push(format!(
            r#""methods":["{}","{}"]"#,
            random.one(&["GET", "PUT"]),
            random.one(&["GET", "POST"])
        ));
    }
    let headers: BTreeMap<&str, &str> = (0..random.below(3))
        .map(|_| (random.one(&["x-a", "x-b"]), random.one(&["1", "2"])))
        .collect();
    members.push(format!(r#""headers":{headers:?}"#));
    members.push(format!(r#""priority":{}"#, random.one(&["0", "0", "0", "1", "-1"])));
    format!("{{{}}}", members.join(","))
}

const RECIPIENTS: &[&str] = &[
    "*",
    "a.org",
    "*.org",
    "*.a.org",
    "b.a.org",
    "x@a.org",
    "y@a.org",
    "X@B.a.org",
];

fn random_service(random: &mut Random) -> String {
    let mut matches: Vec<String> = (0..random.below(4)).map(|_| random_match(random)).collect();
    if random.below(3) == 0 {
        let recipients: Vec<&str> = (0..=random.below(2)).map(|_| random.one(RECIPIENTS)).collect();
        matches.push(format!(r#"{{"recipients":{recipients:?}}}"#));
    }
    format!(r#"{{"match":[{}],"open":true}}"#, matches.join(","))
}

/// As `oracle`, for mail.
fn mail_oracle(table: &Table, recipient: &str) -> Option<String> {
    let lower = recipient.to_lowercase();
    let (_, domain) = lower.split_once('@')?;
    let rank = |pattern: &RecipientPattern| match pattern {
        RecipientPattern::Address(address) => (**address == *lower).then_some((0, Reverse(0))),
        RecipientPattern::Domain(name) => (**name == *domain).then_some((1, Reverse(0))),
        RecipientPattern::Subdomains(suffix) => domain
            .ends_with(&format!(".{suffix}"))
            .then_some((2, Reverse(suffix.len()))),
        RecipientPattern::Any => Some((3, Reverse(0))),
    };
    let entries = table.entries();
    let candidates = entries.flat_map(|entry| {
        let patterns = entry.service.matches.iter().flat_map(|matching| &matching.recipients);
        patterns.filter_map(|pattern| Some((rank(pattern)?, entry.service.name.to_string())))
    });
    candidates.min().map(|(_, name)| name)
}

/// Operations on distinct objects, of which the table refuses none but orphans.
fn random_ops(random: &mut Random, table: &Table, revision: Revision) -> Vec<Op> {
    let mut ops: BTreeMap<ObjectKey, Op> = BTreeMap::new();
    for _ in 0..=random.below(4) {
        let name = format!("s{}", random.below(12));
        let id = format!("{name}/127.0.0.1:{}", 1 + random.below(4));
        let op = match random.below(10) {
            0 => delete(Kind::Service, &name),
            1 | 2 => service(&name, &random_service(random)),
            3 => delete(Kind::Upstream, &id),
            4 => upstream(&id, r#"{"address":"127.0.0.1:9"}"#),
            5 => put(Kind::Hold, &name, "{}"),
            6 => delete(Kind::Hold, &name),
            _ => upstream(&id, "{}"),
        };
        ops.insert(op.object(), op);
    }
    loop {
        let chosen: Vec<Op> = ops.values().cloned().collect();
        let refused = table.apply(&chosen, revision).refused;
        let conflicts: Vec<ObjectKey> = refused
            .into_iter()
            .map(|refusal| refusal.object)
            .filter(|object| object.kind == Kind::Service)
            .collect();
        if conflicts.is_empty() {
            return chosen;
        }
        conflicts.iter().for_each(|object| drop(ops.remove(object)));
    }
}

fn commit(revision: Revision, ops: Vec<Op>) -> Commit {
    let op_id = OpId(uuid::Uuid::from_u128(revision.0.into()));
    Commit {
        revision,
        at_ms: 0,
        actor: "test".into(),
        op_id,
        ops,
    }
}

/// The rules of api.md, read off the page: every match that fits, sorted.
fn oracle(table: &Table, method: &str, raw_host: &str, raw_path: &str, headers: &dyn Headers) -> Option<String> {
    let (host, path) = (host::canonical(raw_host), path::normalise(raw_path).ok()?);
    let fits = |matching: &Match| {
        (matching.methods.is_empty() || matching.methods.iter().any(|named| named.as_str() == method))
            && matching
                .headers
                .iter()
                .all(|wanted| headers.header(&wanted.name) == Some(&*wanted.value))
            && match &matching.path {
                PathPattern::Any => true,
                PathPattern::Prefix(prefix) => prefix.matches(&path),
                PathPattern::Regex(regex) => regex.matches(&path),
            }
    };
    let host_rank = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(_) => (0, Reverse(0)),
        HostPattern::Wildcard(suffix) => (1, Reverse(suffix.len())),
        HostPattern::Any => (2, Reverse(0)),
    };
    let path_rank = |pattern: &PathPattern| match pattern {
        PathPattern::Regex(_) => (0, Reverse(0)),
        PathPattern::Prefix(prefix) => (1, Reverse(prefix.compared().len())),
        PathPattern::Any => (1, Reverse(0)),
    };
    let rank = |service: &Arc<Service>, matching: &Match| {
        let any = [HostPattern::Any];
        let hosts = if matching.hosts.is_empty() {
            &any[..]
        } else {
            &matching.hosts
        };
        let host = hosts
            .iter()
            .filter(|pattern| pattern.matches(&host))
            .map(host_rank)
            .min()?;
        let conditions = (Reverse(matching.headers.len()), matching.methods.is_empty());
        Some((
            host,
            Reverse(matching.priority),
            path_rank(&matching.path),
            conditions,
            service.name.to_string(),
        ))
    };
    let entries = table.entries();
    let candidates = entries.flat_map(|entry| {
        let of_http = entry.service.matches.iter().filter(|matching| !matching.is_for_mail());
        let fitting = of_http.filter(|matching| fits(matching));
        fitting.filter_map(|matching| rank(&entry.service, matching))
    });
    candidates.min().map(|(_, _, _, _, name)| name)
}

fn random_requests_agree(random: &mut Random, table: &Table, what: &str) {
    for _ in 0..40 {
        let host = random.one(&[
            "a.org",
            "b.a.org",
            "c.b.a.org",
            "A.ORG:80",
            "z.org.",
            "org",
            "y",
            "q.x",
            "",
        ]);
        let path = random.one(&[
            "/", "*", "/a", "/a/", "/a/b", "/A/b", "/a/b/c/d", "/a//", "//", "/ab", "/%61b", "/%62", "/z",
        ]);
        let method = random.one(&["GET", "PUT", "POST", "HEAD"]);
        let headers = [
            ("x-a", random.one(&["1", "2", "3"])),
            ("x-b", random.one(&["1", "2", "3"])),
        ];
        let headers = &headers[..random.below(3)];
        let expected = oracle(table, method, host, path, &headers);
        let found = route_with(table, method, host, path, &headers);
        assert_eq!(found, expected, "{what}: {method} {host} {path} {headers:?}");
        let explained = table.explain(&Query {
            host,
            path,
            method,
            headers: &headers,
        });
        let told = explained.winner().map(|winner| winner.service.to_string());
        assert_eq!(
            told, expected,
            "{what}: {method} {host} {path} {headers:?} is explained"
        );
    }
    for recipient in [
        "x@a.org",
        "z@A.ORG",
        "x@b.a.org",
        "z@b.a.org",
        "z@c.b.a.org",
        "z@c.org",
        "z@org",
    ] {
        let found = table.route_mail(recipient).map(|entry| entry.service.name.to_string());
        assert_eq!(found, mail_oracle(table, recipient), "{what}: {recipient}");
        let explained = table.explain_mail(recipient);
        let told = explained.winner().map(|winner| winner.service.to_string());
        assert_eq!(told, found, "{what}: {recipient} is explained");
    }
}

fn entries(table: &Table) -> BTreeMap<String, super::super::Entry> {
    table
        .entries()
        .map(|entry| (entry.service.name.to_string(), (**entry).clone()))
        .collect()
}

#[test]
fn step_by_step_is_the_whole_and_routes_like_a_sorted_list() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let mut state = State::empty(Epoch(uuid::Uuid::nil()));
        let mut table = Table::default();
        for number in 1..=REVISIONS {
            let revision = Revision(number);
            let ops = random_ops(&mut random, &table, revision);
            table = table.apply(&ops, revision).table;
            state.apply(&commit(revision, ops)).unwrap();
            if number % 6 == 0 {
                let what = format!("seed {seed}, revision {number}");
                let (whole, refused) = Table::of(&state);
                assert_eq!(entries(&table), entries(&whole), "{what}");
                assert_eq!(table.upstreams, whole.upstreams, "{what}");
                assert_eq!(table.holds, whole.holds, "{what}");
                assert_eq!(table.refused().cloned().collect::<Vec<_>>(), refused, "{what}");
                random_requests_agree(&mut random, &table, &what);
                random_requests_agree(&mut random, &whole, &what);
            }
        }
        let all: Vec<Op> = state
            .objects
            .keys()
            .map(|key| delete(key.kind.clone(), &key.key))
            .collect();
        let empty = table.apply(&all, Revision(REVISIONS + 1)).table;
        assert!(
            empty.hosts.is_empty()
                && empty.holds.is_empty()
                && empty.claims.is_empty()
                && empty.recipients.is_empty()
                && empty.entries().next().is_none(),
            "seed {seed}"
        );
        assert_eq!(
            (&empty.upstreams, empty.refused().count()),
            (&Default::default(), 0),
            "seed {seed}"
        );
    }
}
