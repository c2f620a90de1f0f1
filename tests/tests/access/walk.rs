//! Every route, every method and every role, and nobody.

use std::collections::BTreeSet;

use serde_json::json;
use vulcan_tests::api::Api;
use vulcan_tests::wire::Connection;
use vulcan_tests::world::World;

use crate::staff::{self, ADMIN, DEPLOYER, PROXY, READER};

const METHODS: [&str; 5] = ["GET", "PUT", "PATCH", "DELETE", "POST"];

/// Each path with its methods, and the roles beside admin that may: d, deployer; p, proxy; r, reader.
const ROUTES: &[(&str, &[(&str, &str)])] = &[
    ("/v1/services", &[("GET", "r")]),
    (
        "/v1/services/web",
        &[("GET", "dr"), ("PUT", ""), ("PATCH", ""), ("DELETE", "")],
    ),
    (
        "/v1/services/shop",
        &[("GET", "r"), ("PUT", ""), ("PATCH", ""), ("DELETE", "")],
    ),
    ("/v1/services/web/hold", &[("GET", "dr"), ("POST", "")]),
    ("/v1/services/web/resume", &[("POST", "")]),
    ("/v1/services/web/upstreams", &[("GET", "dr")]),
    ("/v1/services/shop/upstreams", &[("GET", "r")]),
    (
        "/v1/services/web/upstreams/127.0.0.1:1",
        &[("GET", "dr"), ("PUT", "d"), ("PATCH", "d"), ("DELETE", "d")],
    ),
    (
        "/v1/services/shop/upstreams/127.0.0.1:1",
        &[("GET", "r"), ("PUT", ""), ("PATCH", ""), ("DELETE", "")],
    ),
    ("/v1/upstreams?address=127.0.0.1:9", &[("GET", "r"), ("DELETE", "d")]),
    ("/v1/authorizers", &[("GET", "r")]),
    (
        "/v1/authorizers/main",
        &[("GET", "r"), ("PUT", ""), ("PATCH", ""), ("DELETE", "")],
    ),
    ("/v1/authorizers/main/revoke", &[("POST", "")]),
    ("/v1/limits", &[("GET", "r")]),
    (
        "/v1/limits/5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b",
        &[("GET", "r"), ("PUT", ""), ("PATCH", ""), ("DELETE", "")],
    ),
    (
        "/v1/limits/5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b/usage?key=",
        &[("GET", "r"), ("DELETE", "")],
    ),
    ("/v1/revisions", &[("GET", "r")]),
    ("/v1/revisions/1", &[("GET", "r")]),
    ("/v1/revisions/1/revert", &[("POST", "")]),
    ("/v1/apply", &[("POST", "")]),
    ("/v1/explain?url=http://web/", &[("GET", "r")]),
    ("/v1/watch", &[("GET", "r")]),
    ("/v1/traffic", &[("GET", "r")]),
    ("/metrics", &[("GET", "r")]),
    ("/v1/fleet", &[("GET", "r")]),
    ("/v1/fleet/nobody", &[("GET", "r"), ("DELETE", "")]),
    ("/v1/fleet/succeed", &[("POST", "")]),
    ("/v1/stream", &[("POST", "p")]),
    ("/v1/snapshot", &[("GET", "pr")]),
];

/// Of the paths above, whatever they are about.
fn open_to(path: &str, method: &str) -> Option<&'static str> {
    let (_, methods) = ROUTES.iter().find(|(known, _)| *known == path)?;
    methods
        .iter()
        .find(|(known, _)| *known == method)
        .map(|(_, roles)| *roles)
}

/// The status alone: some answers have no end.
async fn status(api: &Api, method: &str, path: &str) -> u16 {
    let address = api.url().trim_start_matches("http://").parse().unwrap();
    let mut connection = Connection::connect(address).await.unwrap();
    connection.ask(&api.request(method, path)).await.unwrap().status
}

#[tokio::test]
async fn every_route_and_method_is_open_to_the_roles_that_it_is_for() {
    let world = World::new();
    let control = staff::control_plane(&world, &[]).await;
    let ops = staff::with(&control, ADMIN);
    for service in ["web", "shop"] {
        ops.put(&format!("/v1/services/{service}"), json!({"match": []}))
            .await
            .live();
    }
    let staff = [(DEPLOYER, 'd'), (PROXY, 'p'), (READER, 'r')];
    let mut wrong = Vec::new();
    let mut asked = BTreeSet::new();
    for (path, _) in ROUTES {
        for method in METHODS {
            let open = open_to(path, method);
            let nobody = status(&control.api(), method, path).await;
            if nobody != 401 {
                wrong.push(format!("nobody: {method} {path}: {nobody}"));
            }
            for (token, letter) in staff {
                let may = open.is_some_and(|roles| roles.contains(letter));
                let status = status(&staff::with(&control, token), method, path).await;
                asked.insert((may, status == 403));
                if status == 401 || (status == 403) == may {
                    wrong.push(format!("{token}: {method} {path}: {status}"));
                }
            }
            let status = status(&ops, method, path).await;
            // Whatever it is that an administrator lacks, it is no permission.
            if matches!(status, 401 | 403) || (status == 405) != open.is_none() {
                wrong.push(format!("admin: {method} {path}: {status}"));
            }
            // The walk deletes some of it.
            ops.put("/v1/services/web", json!({"match": []})).await.live();
            ops.put("/v1/services/shop", json!({"match": []})).await.live();
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(asked, BTreeSet::from([(true, false), (false, true)]));
    staff::assert_discreet(&control);
}

#[tokio::test]
async fn what_is_open_to_all_and_what_is_open_to_nobody() {
    let world = World::new();
    let control = staff::control_plane(&world, &[]).await;
    for path in [
        "/healthz",
        "/readyz",
        "/",
        "/dashboard/app.js",
        "/docs",
        "/openapi.json",
    ] {
        control.api().get(path).await.expect(200);
        assert_eq!(status(&control.api(), "POST", path).await, 401);
        assert_eq!(status(&staff::with(&control, ADMIN), "POST", path).await, 405);
    }
    let peers = [
        ("POST", "/v1/peers"),
        ("GET", "/v1/peers/upstreams/p1"),
        ("POST", "/v1/peers/limits"),
        ("GET", "/v1/peers/limits/x/y"),
    ];
    for (method, path) in peers {
        for token in [ADMIN, PROXY] {
            let reply = staff::with(&control, token);
            let reply = reply.send(&reply.request(method, path)).await;
            assert_eq!(reply.head.field("www-authenticate"), Some("Bearer realm=\"vulcan\""));
            reply.problem(401, "unauthenticated");
        }
    }
    for token in staff::ALL {
        let reply = staff::with(&control, token).get("/v1/nothing").await;
        reply.problem(404, "not-found");
    }
    control.api().get("/v1/nothing").await.problem(401, "unauthenticated");
}

/// A proxy does its work with its own token, and a reader cannot do it.
#[tokio::test]
async fn a_proxy_needs_no_more_than_its_role() {
    let world = World::new();
    let control = staff::control_plane(&world, &[]).await;
    let url = control.api().url();
    let ops = staff::with(&control, ADMIN);
    ops.put("/v1/services/web", json!({"match": [{"hosts": ["web"]}]}))
        .await
        .live();
    let proxy = world
        .proxy("p1", &url, &["--token-file", &staff::token_file(&world, PROXY)])
        .await;
    let reply = ops.put("/v1/services/web", json!({"match": [{"hosts": ["w"]}]})).await;
    assert_eq!(reply.live().body["fleet"]["reached"], 1);
    let reader = staff::token_file(&world, READER);
    let reader = world.proxy_launched("p2", &url, &["--token-file", &reader]);
    vulcan_tests::eventually("the reader is refused", async || {
        reader.logged().contains("refuses this proxy: 403")
    })
    .await;
    for node in [&control, &proxy, &reader] {
        staff::assert_discreet(node);
    }
}
