//! Which upstream takes a request, and how many it takes, seen from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::json;
use tokio::task::JoinSet;
use vulcan_tests::api::Api;
use vulcan_tests::eventually;
use vulcan_tests::node::Node;
use vulcan_tests::origin::Origin;
use vulcan_tests::wire::{Connection, Head, Request};
use vulcan_tests::world::World;

/// One request on a connection of its own.
async fn ask(proxy: SocketAddr, service: &str, target: &str, user: Option<&str>) -> Head {
    let mut connection = Connection::connect(proxy).await.unwrap();
    let request = Request::new("GET", target, service);
    let request = match user {
        Some(user) => request.with("x-user", user),
        None => request,
    };
    connection.exchange(&request).await.unwrap().0
}

/// Many at a time, on a connection each.
async fn ask_all(count: usize, proxy: SocketAddr, service: &'static str, target: &'static str) -> Vec<Head> {
    let mut requests = JoinSet::new();
    for _ in 0..count {
        requests.spawn(async move { ask(proxy, service, target, Some("busy")).await });
    }
    requests.join_all().await
}

fn origin_of(head: &Head) -> String {
    assert_eq!(head.status, 200);
    head.field("x-origin").unwrap().to_owned()
}

async fn origins(world: &World, api: &Api, service: &str, ids: &[&str]) -> Vec<Origin> {
    let mut origins = Vec::new();
    for id in ids {
        let origin = world.origin(id).await;
        api.register(service, id, origin.address).await;
        origins.push(origin);
    }
    origins
}

/// Whom each of sixty users meets, through every proxy the same.
async fn met(fleet: &[Node], service: &str) -> BTreeMap<String, String> {
    let mut met = BTreeMap::new();
    for user in (0..60).map(|n| format!("user-{n}")) {
        let mut origins = BTreeSet::new();
        for proxy in fleet.iter().flat_map(|proxy| [proxy.http(); 2]) {
            let head = ask(proxy, service, "/bytes?n=10", Some(&user)).await;
            origins.insert(origin_of(&head));
        }
        assert_eq!(origins.len(), 1, "{user} meets {origins:?}");
        met.insert(user, origins.pop_first().unwrap());
    }
    met
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_stays_with_an_upstream_until_it_goes_or_has_too_much() {
    let world = World::new();
    let (control, fleet) = world.fleet(2, &[]).await;
    let api = control.api();
    let balance = json!({"consistent_hash": {"header": "x-user"}});
    api.service("web", json!({"balance": balance})).await;
    let _origins = origins(&world, &api, "web", &["a", "b", "c", "d"]).await;
    let before = met(&fleet, "web").await;
    let used: BTreeSet<&String> = before.values().collect();
    assert_eq!(used.len(), 4, "each has some of the users");

    api.delete("/v1/services/web/upstreams/b").await.live();
    let after = met(&fleet, "web").await;
    for (user, origin) in &before {
        let moved = after[user] != *origin;
        assert_eq!(moved, origin == "b", "{user}: {origin}, then {}", after[user]);
    }
    let taken: BTreeSet<&String> = before
        .keys()
        .filter(|user| before[*user] == "b")
        .map(|user| &after[user])
        .collect();
    assert!(taken.len() > 1, "those of one that went are shared among the others");

    // Sixteen at a time are more than one may have of them.
    let busy = ask_all(16, fleet[0].http(), "web", "/bytes?n=10&head=1500").await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for head in &busy {
        *counts.entry(origin_of(head)).or_default() += 1;
    }
    let most = *counts.values().max().unwrap();
    assert!(counts.len() == 3 && most < 10, "{counts:?}");
    assert_eq!(met(&fleet, "web").await, after, "and once it is over all is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_may_not_have_at_a_time_waits_or_is_refused() {
    let world = World::new();
    let (control, fleet) = world.fleet(1, &[]).await;
    let api = control.api();
    let proxy = fleet[0].http();
    let care = json!({"max_in_flight": 2, "queue": 3, "queue_for": "60s"});
    api.service("web", json!({"upstream_care": care})).await;
    let mut only = origins(&world, &api, "web", &["only"]).await.remove(0);

    let heads = ask_all(9, proxy, "web", "/bytes?n=10&head=1500").await;
    let refused: Vec<&Head> = heads.iter().filter(|head| head.status == 503).collect();
    let answered = heads.iter().filter(|head| head.status == 200).count();
    assert_eq!(
        (answered, refused.len()),
        (5, 4),
        "two, three that waited, and the rest"
    );
    assert!(refused.iter().all(|head| head.field("retry-after").is_some()));
    let count = only.count().await;
    assert_eq!((count.in_flight_most, count.received), (2, 5));

    // Whoever has waited for long enough is refused as well, and asks nobody.
    api.patch("/v1/services/web", json!({"upstream_care": {"queue_for": "100ms"}}))
        .await
        .live();
    let long = tokio::spawn(ask_all(2, proxy, "web", "/bytes?n=10&head=5000"));
    eventually("both are in flight", async || only.count().await.in_flight == 2).await;
    let head = ask(proxy, "web", "/bytes?n=10", None).await;
    assert_eq!((head.status, head.field("retry-after").is_some()), (503, true));
    assert_eq!(
        long.await.unwrap().iter().map(|head| head.status).collect::<Vec<_>>(),
        [200, 200]
    );
    assert_eq!(only.count().await.received, 7);
}

/// How many of so many requests the upstream takes.
async fn share(proxy: SocketAddr, service: &str, upstream: &str, requests: usize) -> usize {
    let mut taken = 0;
    for _ in 0..requests {
        taken += usize::from(origin_of(&ask(proxy, service, "/bytes?n=10", None).await) == upstream);
    }
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_came_live_begins_with_a_tenth_and_gets_its_share() {
    let world = World::new();
    let (control, mut fleet) = world.fleet(1, &[]).await;
    let api = control.api();
    let slow_start = |time: &str| json!({"upstream_care": {"slow_start": time}});
    api.service("web", slow_start("24h")).await;
    let _old = origins(&world, &api, "web", &["old"]).await;
    // What a proxy finds when it starts is not new.
    fleet[0].restart().await;
    let proxy = fleet[0].http();
    let _new = origins(&world, &api, "web", &["new"]).await;
    for balance in ["random", "round_robin", "least_request"] {
        api.patch("/v1/services/web", json!({"balance": balance})).await.live();
        let early = share(proxy, "web", "new", 330).await;
        assert!((10..60).contains(&early), "{balance}: {early} of 330, an eleventh");
    }
    api.patch("/v1/services/web", slow_start("1ms")).await.live();
    let late = share(proxy, "web", "new", 330).await;
    assert!((110..220).contains(&late), "{late} of 330, a half");
}
