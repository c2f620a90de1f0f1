//! What is remembered, for whom, and for how long; with the time in hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderValue};
use shared::change::Kind;
use shared::model::TokenHash;

use super::answer::Understood;
use super::memory::{Joining, Known, Landing, Limits};
use super::shard::Outcome;
use super::{Answer, Asked, Grant, Memory, Reply};
use crate::fixture::{Registry, meta};
use crate::pipeline::{Credentials, RequestMeta};
use crate::view::Views;

mod revoked;

const SECOND: Duration = Duration::from_secs(1);

struct World {
    views: Arc<Views>,
    registry: Registry,
    memory: Arc<Memory>,
}

impl World {
    /// With an authorizer `main` of these fields.
    fn new(fields: &str, limits: Limits) -> World {
        let mut world = World {
            views: Views::new(1),
            registry: Registry::default(),
            memory: Arc::new(Memory::new(limits)),
        };
        world.put(Kind::Authorizer, &format!(r#"{{"service":"auth"{fields}}}"#));
        world
    }

    fn put(&mut self, kind: Kind, body: &str) {
        self.registry.put(kind, "main", body);
        self.registry.deploy(&self.views);
    }

    fn asked(&self) -> Asked {
        self.views.now().asked(&"main".try_into().unwrap()).unwrap()
    }

    fn begin(&self, meta: &RequestMeta<'_>) -> Option<Landing> {
        let asked = self.asked();
        match self.memory.join(self.memory.key(&asked, meta), asked.stamp()) {
            Joining::Begun(landing) => Some(landing),
            Joining::Waits(_) | Joining::Full => None,
        }
    }

    fn look(&self, meta: &RequestMeta<'_>, now: Instant) -> Known {
        let asked = self.asked();
        let key = self.memory.key(&asked, meta);
        self.memory.look(key, &asked, now, self.views.limiter())
    }

    fn remember(&self, meta: &RequestMeta<'_>, ttl: Duration, now: Instant) {
        let username = meta.credentials.as_ref().unwrap().username.as_str().into();
        self.begin(meta).unwrap().said(granted(ttl), username, 60 * SECOND, now);
    }

    fn knows(&self, meta: &RequestMeta<'_>, now: Instant) -> bool {
        !matches!(self.look(meta, now), Known::Nothing)
    }
}

fn granted(ttl: Duration) -> Understood {
    Understood {
        answer: Answer::Granted(Grant::default()),
        token: TokenHash::of("token"),
        ttl,
        is_private: false,
    }
}

fn by<'a>(username: &str, password: &str) -> RequestMeta<'a> {
    RequestMeta {
        credentials: Some(Credentials {
            username: username.into(),
            password: password.into(),
        }),
        ..meta("/")
    }
}

#[test]
fn an_answer_is_fresh_then_ending_for_one_then_stale_then_gone() {
    let world = World::new("", Limits::default());
    let now = Instant::now();
    world.remember(&by("a", "b"), 100 * SECOND, now);
    let known = |after: Duration| match world.look(&by("a", "b"), now + after) {
        Known::Fresh(_) => "fresh",
        Known::Ending(_) => "ending",
        Known::Stale(_) => "stale",
        Known::Nothing => "nothing",
    };
    // By up to a tenth it is shorter than it was to be.
    assert_eq!([known(Duration::ZERO), known(80 * SECOND)], ["fresh", "fresh"]);
    let ending = (81..91)
        .map(|after| known(after * SECOND))
        .find(|known| *known == "ending");
    assert_eq!(ending, Some("ending"), "somebody has to see to it");
    assert_eq!(known(89 * SECOND), "fresh", "and only one");
    assert_eq!(
        [known(101 * SECOND), known(149 * SECOND), known(161 * SECOND)],
        ["stale", "stale", "nothing"]
    );
}

#[test]
fn after_a_failure_a_stale_answer_is_used_unasked_for_a_moment() {
    let world = World::new("", Limits::default());
    let now = Instant::now();
    world.remember(&by("a", "b"), SECOND, now);
    let later = now + 10 * SECOND;
    let Known::Stale(entry) = world.look(&by("a", "b"), later) else {
        panic!()
    };
    entry.spare(later);
    assert!(matches!(world.look(&by("a", "b"), later), Known::Fresh(_)));
    assert!(matches!(world.look(&by("a", "b"), later + 2 * SECOND), Known::Stale(_)));
}

#[test]
fn requests_share_an_answer_if_they_agree_in_what_it_depends_on() {
    let key = |world: &World, meta: &RequestMeta<'_>| world.memory.key(&world.asked(), meta);
    let world = World::new("", Limits::default());
    let first = key(&world, &by("a", "b"));
    assert_eq!(first, key(&world, &by("a", "b")));
    let others = [
        by("ab", ""),
        by("", "ab"),
        RequestMeta {
            uri: "/?",
            ..by("a", "b")
        },
        RequestMeta {
            method: "PUT",
            ..by("a", "b")
        },
        RequestMeta {
            length: Some(0),
            ..by("a", "b")
        },
        RequestMeta {
            client: [10, 0, 0, 1].into(),
            ..by("a", "b")
        },
    ];
    for other in &others {
        assert_ne!(first, key(&world, other));
    }
    assert_eq!(
        first,
        key(
            &world,
            &RequestMeta {
                host: "other",
                ..by("a", "b")
            }
        )
    );

    let narrow = World::new(r#","cache":{"vary":["username","header:x-key"]}"#, Limits::default());
    let mut fields = HeaderMap::new();
    let plain = key(&narrow, &by("a", "b"));
    assert_eq!(
        plain,
        key(
            &narrow,
            &RequestMeta {
                uri: "/other",
                ..by("a", "c")
            }
        )
    );
    fields.insert("x-key", HeaderValue::from_static("1"));
    assert_ne!(
        plain,
        key(
            &narrow,
            &RequestMeta {
                fields: Some(&fields),
                ..by("a", "b")
            }
        )
    );

    // A value of the one field is none of the other.
    let forward = World::new(r#","style":"forward""#, Limits::default());
    let with = |name| {
        let fields = HeaderMap::from_iter([(name, HeaderValue::from_static("x"))]);
        key(
            &forward,
            &RequestMeta {
                fields: Some(&fields),
                ..meta("/")
            },
        )
    };
    assert_ne!(with(AUTHORIZATION), with(COOKIE));
}

#[test]
fn another_authorizer_and_another_whole_table_know_nothing() {
    let mut world = World::new("", Limits::default());
    let now = Instant::now();
    world.remember(&by("a", "b"), 60 * SECOND, now);
    world.put(Kind::Authorizer, r#"{"service":"auth","realm":"x"}"#);
    assert!(!world.knows(&by("a", "b"), now));
    world.remember(&by("a", "b"), 60 * SECOND, now);
    assert!(world.knows(&by("a", "b"), now));
    world.views.retire(world.views.swap(world.registry.table()));
    assert!(!world.knows(&by("a", "b"), now));
}

#[test]
fn a_call_from_before_a_revocation_is_not_joined_after_it_and_its_answer_is_held_against_it() {
    let mut world = World::new("", Limits::default());
    let now = Instant::now();
    let (bob, eve) = (
        world.begin(&by("bob", "x")).unwrap(),
        world.begin(&by("eve", "x")).unwrap(),
    );
    assert!(world.begin(&by("bob", "x")).is_none(), "it is joined");
    world.put(Kind::Revocation, r#"{"username":"bob"}"#);
    let after = world.begin(&by("bob", "x")).unwrap();
    bob.said(granted(60 * SECOND), "bob".into(), SECOND, now);
    eve.said(granted(60 * SECOND), "eve".into(), SECOND, now);
    assert!(!world.knows(&by("bob", "x"), now) && world.knows(&by("eve", "x"), now));
    assert!(
        world.begin(&by("bob", "x")).is_none(),
        "the earlier one's end leaves the later one where it is"
    );
    after.said(granted(60 * SECOND), "bob".into(), SECOND, now);
    assert!(world.knows(&by("bob", "x"), now));
}

#[test]
fn who_waits_is_told_however_a_call_ends() {
    let world = World::new("", Limits::default());
    let ended = |end: fn(Landing)| {
        let landing = world.begin(&by("a", "b")).unwrap();
        let mut outcome = landing.outcome();
        end(landing);
        let told = outcome
            .wait_for(Option::is_some)
            .now_or_never()
            .unwrap()
            .unwrap()
            .clone();
        told.unwrap()
    };
    assert!(matches!(ended(drop), Outcome::Lost));
    assert!(matches!(ended(Landing::failed), Outcome::Failed));
    let said = ended(|landing| landing.said(granted(Duration::ZERO), "a".into(), SECOND, Instant::now()));
    assert!(matches!(said, Outcome::Said { .. }));
    assert!(!world.knows(&by("a", "b"), Instant::now()), "for no time at all");
    assert_eq!(world.memory.size(), (0, 0));
}

#[test]
fn it_is_bounded_in_entries_and_in_bytes() {
    let limits = Limits {
        entries: 640,
        bytes: 64 * 20_000,
    };
    let world = World::new("", limits);
    let now = Instant::now();
    for n in 0..10_000 {
        world.remember(&by(&n.to_string(), "b"), 60 * SECOND, now);
        let used = world.look(&by("0", "b"), now);
        assert!(!matches!(used, Known::Nothing), "what is used stays: {n}");
    }
    let (entries, bytes) = world.memory.size();
    assert!(entries <= 640 && entries > 500, "{entries}");
    assert!(bytes <= limits.bytes, "{bytes}");
    for n in 0..1_000 {
        let reply = Reply {
            status: http::StatusCode::FORBIDDEN,
            headers: Vec::new(),
            body: Bytes::from(vec![b'x'; 5_000]),
        };
        let refused = Understood {
            answer: Answer::Refused(reply.into()),
            ..granted(60 * SECOND)
        };
        let landing = world.begin(&by(&n.to_string(), "c")).unwrap();
        landing.said(refused, "a".into(), SECOND, now);
        assert!(world.memory.size().1 <= limits.bytes);
    }
}
