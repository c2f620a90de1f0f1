//! A heartbeat that reaches any control plane counts at all, also when one of them is gone.

use std::time::Duration;

use serde_json::json;
use vulcan_tests::beating::{Beating, expired, registration};
use vulcan_tests::cassandra::Cassandra;
use vulcan_tests::eventually;
use vulcan_tests::world::World;

use super::control_planes;

const SERVICES: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_heard_by_any_stays_and_the_silent_go_once() {
    let world = World::new();
    let mut planes = control_planes(&world, &Cassandra::shared().store(), 2).await;
    let (a, b) = (planes[0].api(), planes[1].api());
    let body = registration("127.0.0.1:9", "3s");
    // Of so many services each control plane owns some.
    let mut beating = Vec::new();
    for n in 0..SERVICES {
        a.service(&format!("s{n}"), json!({})).await;
        for id in ["stays", "goes"] {
            let path = format!("/v1/services/s{n}/upstreams/{id}");
            a.put(&path, body.clone()).await.live();
            let through = if n % 2 == 0 { [a.clone()] } else { [b.clone()] };
            beating.push(Beating::start(&through, &path, &body));
        }
    }
    // Longer than a ttl, and than a control plane looks around.
    beating[0].more(14).await;
    assert_eq!(expired(&a).await, [""; 0]);
    let mut stays: Vec<Beating> = Vec::new();
    let mut goes = Vec::new();
    for (n, one) in beating.into_iter().enumerate() {
        if n % 2 == 0 { &mut stays } else { &mut goes }.push(one);
    }
    drop(goes);
    let gone: Vec<String> = (0..SERVICES).map(|n| format!("s{n}/goes")).collect();
    eventually("the silent ones are unregistered", async || {
        let mut all = expired(&b).await;
        all.sort_unstable();
        all == gone
    })
    .await;
    for one in &stays {
        one.more(2).await;
        assert!(
            one.answers().iter().all(|(status, _)| *status == 200),
            "{:?}",
            one.answers()
        );
    }

    // One is killed: what only the other hears is remembered there until it owns it, and nobody goes meanwhile.
    planes[0].kill();
    drop(stays);
    let mut stays = Vec::new();
    for n in 0..SERVICES {
        let path = format!("/v1/services/s{n}/upstreams/stays");
        stays.push(Beating::start(std::slice::from_ref(&b), &path, &body));
    }
    tokio::time::sleep(Duration::from_secs(25)).await;
    for one in &stays {
        assert!(one.answers().len() > 20, "{}", one.answers().len());
        assert!(
            one.answers().iter().all(|(status, _)| *status == 200),
            "{:?}",
            one.answers()
        );
    }
    assert_eq!(expired(&b).await.len(), SERVICES);
    // What it owns alone now it unregisters alone.
    drop(stays.pop());
    let last = format!("s{}/stays", SERVICES - 1);
    eventually("the last one is unregistered", async || {
        expired(&b).await.last() == Some(&last)
    })
    .await;
}
