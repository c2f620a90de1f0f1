//! Two hundred deployments under constant load, side by side as services of one fleet of real processes: no request
//! fails, and none reaches an origin that was unregistered.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use vulcan_tests::deploy::{Deployed, Deployment};
use vulcan_tests::load::{Ledger, Load, Outages, SHAPES, Shape, Target};
use vulcan_tests::node::Node;
use vulcan_tests::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    /// One deployment every 600 ms; the longest request takes 2 s, so several drain at once.
    Hasty,
    /// Longer between two than the longest request.
    Calm,
    /// No request is ever tried twice.
    Once,
    /// Two come and two go at the same moment.
    Pairs,
    /// The next origin takes over host and port.
    SameAddress,
    /// The id is registered again, elsewhere, while its last registration drains.
    SameId,
    /// Killed without unregistering: the load must notice, or it proves nothing.
    Blind,
    /// Killed when no proxy picks it any more, with its requests in flight: the load must notice that, too.
    Undrained,
}

use Variant::{Blind, Calm, Hasty, Once, Pairs, SameAddress, SameId, Undrained};

/// With the number of deployments.
const VARIANTS: [(Variant, u32); 8] = [
    (Hasty, 60),
    (Calm, 12),
    (Once, 24),
    (Pairs, 48),
    (SameAddress, 28),
    (SameId, 28),
    (Blind, 3),
    (Undrained, 3),
];

const LONGEST: Duration = Duration::from_secs(2);

impl Variant {
    fn settings(self) -> Value {
        match self {
            Once => json!({"retries": {"attempts": 0}}),
            _ => json!({}),
        }
    }

    fn service(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_fails_in_two_hundred_deployments() {
    let world = Arc::new(World::new());
    let (control, mut fleet) = world.fleet(3, &[]).await;
    let proxies: Vec<SocketAddr> = fleet.iter().map(Node::http).collect();
    let outages = Arc::new(Outages::default());
    let mut services = JoinSet::new();
    for (variant, count) in VARIANTS {
        let (world, api, proxies, outages) = (world.clone(), control.api(), proxies.clone(), outages.clone());
        services.spawn(async move {
            let deployment = Deployment::create(&world, &api, &variant.service(), variant.settings()).await;
            let live = deployment.deploy_all(3).await;
            let target = Target {
                service: deployment.service.clone(),
                proxies,
                hurry: false,
            };
            let load = Load::start(&target, &SHAPES, outages);
            tokio::time::sleep(LONGEST).await;
            let deployment = Arc::new(deployment);
            let last = deploy(variant, count, &deployment, live, &load.ledger).await;
            let ledger = load.stop().await;
            drop(last);
            (variant, deployment.finished(), ledger)
        });
    }
    let crash = crash(&mut fleet[2], &outages);
    let (outcomes, ()) = tokio::join!(services.join_all(), crash);

    let reports: Vec<String> = outcomes.iter().map(|(_, _, ledger)| ledger.report()).collect();
    let all = reports.join("\n");
    println!("{all}");
    let deployments: u32 = outcomes.iter().map(|(_, finished, _)| finished).sum();
    assert_eq!(deployments, 200, "deployments");
    for (variant, _, ledger) in &outcomes {
        match variant {
            Blind | Undrained => assert!(ledger.failed() > 0, "the load does not notice a kill:\n{all}"),
            _ => ledger.assert_clean(&SHAPES),
        }
    }
    let members = control.api().get("/v1/fleet").await.expect(200);
    for member in members.body["items"].as_array().unwrap() {
        assert_eq!(
            (&member["state"], &member["lag"]),
            (&json!("present"), &json!(0)),
            "{}",
            members.text
        );
        assert_eq!(member["draining"], json!([]), "{}", members.text);
    }
}

/// Kills the proxy and starts it at once, twice, in the middle of it all.
async fn crash(proxy: &mut Node, outages: &Outages) {
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(12)).await;
        outages.begin(2);
        proxy.restart().await;
        outages.end(2);
    }
}

/// Returns the origins that are left, alive.
async fn deploy(
    variant: Variant,
    count: u32,
    to: &Arc<Deployment>,
    mut live: VecDeque<Deployed>,
    ledger: &Arc<Ledger>,
) -> VecDeque<Deployed> {
    match variant {
        Hasty => {
            let mut retiring = JoinSet::new();
            for _ in 0..count {
                live.push_back(to.deploy().await);
                let (to, ledger, old) = (to.clone(), ledger.clone(), live.pop_front().unwrap());
                retiring.spawn(async move { to.retire(old, &ledger).await });
                tokio::time::sleep(Duration::from_millis(600)).await;
            }
            retiring.join_all().await;
        }
        Calm | Once => {
            let gap = if variant == Calm {
                LONGEST + Duration::from_millis(500)
            } else {
                Duration::from_millis(100)
            };
            for _ in 0..count {
                live.push_back(to.deploy().await);
                to.retire(live.pop_front().unwrap(), ledger).await;
                tokio::time::sleep(gap).await;
            }
        }
        Pairs => {
            for _ in 0..count / 2 {
                let (one, two) = tokio::join!(to.deploy(), to.deploy());
                live.extend([one, two]);
                let (one, two) = (live.pop_front().unwrap(), live.pop_front().unwrap());
                tokio::join!(to.retire(one, ledger), to.retire(two, ledger));
            }
        }
        SameAddress => {
            for round in 0..count {
                let old = live.pop_front().unwrap();
                let (id, address) = (old.id.clone(), old.origin.address);
                to.retire(old, ledger).await;
                // The id stays with the address or changes with the origin, in turn.
                let origin = to.start_at(address).await;
                let id = if round % 2 == 0 { id } else { origin.id.clone() };
                live.push_back(to.register(&id, origin).await);
            }
        }
        SameId => {
            for round in 0..count {
                let new = same_id(to, live.pop_front().unwrap(), round, ledger).await;
                live.push_back(new);
            }
        }
        Blind | Undrained => {
            for _ in 0..count {
                live.push_back(to.deploy().await);
                let mut old = live.pop_front().unwrap();
                let delete = format!("{}?wait=applied", to.upstream(&old.id));
                if variant == Undrained {
                    to.api.delete(&delete).await.live();
                }
                old.origin.kill();
                tokio::time::sleep(LONGEST).await;
                to.api.delete(&delete).await.live();
            }
        }
    }
    live
}

/// Moves an id to a new origin, by turns: DELETE, and PUT while that drains; or one PUT of the new address.
async fn same_id(to: &Deployment, old: Deployed, round: u32, ledger: &Ledger) -> Deployed {
    let new = to.start().await;
    let path = to.upstream(&old.id);
    let address = json!({"address": new.address.to_string()});
    if round % 2 == 1 {
        let put = to.api.with_json("PUT", &path, &address.to_string());
        to.retire_by(&put, old.origin, ledger).await;
        return Deployed {
            id: old.id,
            origin: new,
        };
    }
    let id = old.id.clone();
    let again = async {
        to.absent(&id).await;
        to.register(&id, new).await
    };
    let ((), new) = tokio::join!(to.retire(old, ledger), again);
    new
}

/// Nothing long is in flight, so deployments follow each other as fast as they can: many hand-overs, each under load.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_fails_in_a_storm_of_deployments() {
    let shapes = [Shape::Short, Shape::Fresh, Shape::Post];
    let world = Arc::new(World::new());
    let (control, fleet) = world.fleet(2, &[]).await;
    let api = control.api();
    let deployment = Deployment::create(&world, &api, "storm", json!({"retries": {"attempts": 0}})).await;
    let mut live = deployment.deploy_all(2).await;
    let proxies = fleet.iter().map(Node::http).collect();
    let target = Target {
        service: "storm".to_owned(),
        proxies,
        hurry: true,
    };
    let load = Load::start(&target, &shapes, Arc::default());
    for round in 0..60 {
        let old = live.pop_front().unwrap();
        if round % 3 == 2 {
            let new = deployment.start().await;
            let put = json!({"address": new.address.to_string()}).to_string();
            let put = api.with_json("PUT", &deployment.upstream(&old.id), &put);
            deployment.retire_by(&put, old.origin, &load.ledger).await;
            live.push_back(Deployed {
                id: old.id,
                origin: new,
            });
            continue;
        }
        live.push_back(deployment.deploy().await);
        let delete = match round % 3 {
            0 => api.request("DELETE", &deployment.upstream(&old.id)),
            _ => api.request("DELETE", &format!("/v1/upstreams?address={}", old.origin.address)),
        };
        deployment.retire_by(&delete, old.origin, &load.ledger).await;
    }
    let ledger = load.stop().await;
    println!("{}", ledger.report());
    ledger.assert_clean(&shapes);
}
