//! However small a revision may be, each is valid by itself, and all of them together do what one would.

use super::*;
use crate::registry::apply::order::cut_at;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Services that hand hosts round, and authorizers among them.
fn random(dice: &mut Dice) -> Value {
    let mut hosts: Vec<u64> = (0..6).collect();
    let mut services = serde_json::Map::new();
    for n in 0..5 {
        if dice.roll(4) == 0 {
            continue;
        }
        let host = hosts.swap_remove(usize::try_from(dice.roll(hosts.len() as u64)).unwrap());
        let upstreams: serde_json::Map<String, Value> = (0..dice.roll(4))
            .map(|port| (format!("127.0.0.1:{}", 1 + port), json!({"weight": dice.roll(3)})))
            .collect();
        let mut service = json!({"match": [{"hosts": [format!("h{host}.test")]}], "upstreams": upstreams});
        if dice.roll(3) == 0 {
            service["authorizer"] = json!(format!("m{}", dice.roll(2)));
        }
        services.insert(format!("s{n}"), service);
    }
    let names: Vec<String> = services.keys().cloned().collect();
    let mut authorizers = serde_json::Map::new();
    for n in 0..2 {
        if let Some(name) = names.get(usize::try_from(dice.roll(5)).unwrap()) {
            authorizers.insert(format!("m{n}"), json!({ "service": name }));
        }
    }
    for service in services.values_mut() {
        let named = service["authorizer"].as_str().unwrap_or_default();
        if !authorizers.contains_key(named) {
            service.as_object_mut().unwrap().remove("authorizer");
        }
    }
    json!({"services": services, "authorizers": authorizers})
}

#[test]
fn each_revision_is_valid_by_itself() {
    let (mut cut, mut knots) = (0, 0);
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let (head, _) = apply(&empty(), &random(&mut dice), Rest::Goes);
        let wanted = wanted(&random(&mut dice), Rest::Goes);
        let change = wanted.change(&head).unwrap();
        let Ok(revisions) = cut_at(&head, &change.ops, 700, 700) else {
            knots += 1;
            continue;
        };
        cut += revisions.len();
        let mut now = head.clone();
        for keys in revisions {
            let decide = wanted.part(keys.clone());
            let Decision::Append(ops) = decide(&now) else {
                panic!("seed {seed}: {keys:?}: {:?}", decide(&now));
            };
            assert!(crate::changelog::size(&ops) <= 710, "seed {seed}");
            now = now.with(&ops, now.state.revision.next());
            assert_eq!(now.table.refused().count(), 0, "seed {seed}");
            // No reference dangles in between.
            let kept = Wanted::of(BTreeMap::new(), Rest::Stays);
            assert!(kept.change(&now).is_ok());
            for entry in now.table.entries() {
                let authorizer = entry.service.authorizer.as_ref();
                assert!(
                    authorizer.is_none_or(|name| now.table.authority(name).is_some()),
                    "seed {seed}"
                );
            }
            for authority in now.table.authorities() {
                assert!(
                    now.table.entry(authority.authorizer.service.as_str()).is_some(),
                    "seed {seed}"
                );
            }
        }
        assert!(wanted.change(&now).unwrap().ops.is_empty(), "seed {seed}");
    }
    assert!(
        cut > 1_000 && knots < 100,
        "{cut} revisions, {knots} that cannot be cut"
    );
}

#[test]
fn what_is_taken_away_comes_last_unless_its_place_is_needed() {
    let service = |host: &str, ids: &[&str]| {
        let upstreams: serde_json::Map<String, Value> = ids.iter().map(|id| ((*id).to_owned(), json!({}))).collect();
        json!({"match": [{"hosts": [host]}], "upstreams": upstreams})
    };
    let before = json!({"services": {"a": service("a.test", &["h:1"]), "old": service("o.test", &["h:2"]), "z": service("z.test", &[])}});
    let after = json!({"services": {"a": service("a.test", &["h:3"]), "new": service("o.test", &["h:4"])}});
    let (head, _) = apply(&empty(), &before, Rest::Stays);
    let change = wanted(&after, Rest::Goes).change(&head).unwrap();
    assert_eq!(change.revisions.len(), 1);
    let revisions = cut_at(&head, &change.ops, 260, 260).unwrap();
    let order: Vec<String> = revisions
        .iter()
        .flat_map(|keys| keys.iter().map(ToString::to_string))
        .collect();
    let expected = [
        "upstream/a/h:3",
        "upstream/old/h:2",
        "service/old",
        "service/new",
        "upstream/new/h:4",
        "upstream/a/h:1",
        "service/z",
    ];
    let place = |name: &str| order.iter().position(|key| key == name).unwrap();
    assert_eq!(order.len(), expected.len(), "{order:?}");
    assert!(place("upstream/a/h:3") < place("upstream/a/h:1"), "{order:?}");
    assert!(place("service/old") < place("service/new"), "{order:?}");
    assert!(place("upstream/old/h:2") < place("service/old"), "{order:?}");
    let with_its_own = |keys: &Arc<[ObjectKey]>| {
        keys.contains(&ObjectKey::service("new")) && keys.contains(&ObjectKey::upstream("new", "h:4"))
    };
    assert!(revisions.iter().any(with_its_own), "{revisions:?}");
}

#[test]
fn what_can_only_stand_together_and_is_too_much_is_told() {
    let ring = |by: usize| {
        let service = |n: usize| {
            (
                format!("s{n}"),
                json!({"match": [{"hosts": [format!("h{}.test", (n + by) % 20)]}]}),
            )
        };
        json!({"services": (0..20).map(service).collect::<serde_json::Map<_, _>>()})
    };
    let (head, _) = apply(&empty(), &ring(0), Rest::Stays);
    let change = wanted(&ring(1), Rest::Stays).change(&head).unwrap();
    assert_eq!(cut_at(&head, &change.ops, 500, 500).unwrap_err().kind, "too-large");
    assert_eq!(cut_at(&head, &change.ops, 500, 100_000).unwrap().len(), 1);
}
