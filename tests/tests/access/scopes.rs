//! A deployer and what is not its own.

use serde_json::json;
use vulcan_tests::world::World;

use crate::staff::{self, ADMIN, DEPLOYER, READER};

#[tokio::test]
async fn a_deployer_deploys_its_services_and_history_names_it() {
    let world = World::new();
    let control = staff::control_plane(&world, &[]).await;
    let (ops, deployer) = (staff::with(&control, ADMIN), staff::with(&control, DEPLOYER));
    for service in ["web", "mail-in"] {
        ops.put(&format!("/v1/services/{service}"), json!({"match": []}))
            .await
            .live();
        let upstream = format!("/v1/services/{service}/upstreams/127.0.0.1:3000");
        let registered = deployer.put_bare(&upstream).await.live();
        let history = ops.get(&format!("/v1/revisions/{}", registered.revision())).await;
        assert_eq!(history.expect(200).body["actor"], "deploy");
        deployer.patch(&upstream, json!({"weight": 5})).await.live();
        assert_eq!(deployer.get(&upstream).await.expect(200).body["weight"], 5);
    }
    let gone = deployer.delete("/v1/upstreams?address=127.0.0.1:3000").await.live();
    assert_eq!(gone.body["also_in"], json!([]));
    let refused = deployer.delete("/v1/services/web").await.problem(403, "forbidden");
    assert_eq!(
        refused.body["detail"],
        "DELETE /v1/services/{service} is for the role admin; this token is that of a deployer of web, mail-*"
    );
    let reader = staff::with(&control, READER);
    let refused = reader.put_bare("/v1/services/web/upstreams/127.0.0.1:3000").await;
    let refused = refused.problem(403, "forbidden");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("for deployers of the service") && detail.ends_with("a reader"));
}

/// Of what it may not touch it learns neither whether it is there nor what else is at an address.
#[tokio::test]
async fn what_is_not_a_deployers_is_as_if_it_were_not_there() {
    let world = World::new();
    let control = staff::control_plane(&world, &[]).await;
    let (ops, deployer) = (staff::with(&control, ADMIN), staff::with(&control, DEPLOYER));
    for service in ["web", "secret-shop"] {
        ops.put(&format!("/v1/services/{service}"), json!({"match": []}))
            .await
            .live();
        ops.put_bare(&format!("/v1/services/{service}/upstreams/127.0.0.1:3000"))
            .await
            .live();
    }
    for rest in ["", "/upstreams", "/upstreams/127.0.0.1:3000", "/hold"] {
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            let mut answers = Vec::new();
            for service in ["secret-shop", "secret-sho%70", "nothing"] {
                let path = format!("/v1/services/{service}{rest}");
                let reply = deployer.send(&deployer.request(method, &path)).await;
                answers.push(reply.problem(403, "forbidden").text);
            }
            assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
        }
    }
    let refused = deployer.delete("/v1/upstreams?address=127.0.0.1:3000").await;
    let refused = refused.problem(403, "forbidden");
    assert!(!refused.text.contains("secret"), "{}", refused.text);
    assert_eq!(refused.body["committed"], false);
    ops.get("/v1/services/web/upstreams/127.0.0.1:3000").await.expect(200);
    // That the address still gets traffic has to be said.
    let removed = deployer
        .delete("/v1/services/web/upstreams/127.0.0.1:3000")
        .await
        .live();
    assert_eq!(removed.body["also_in"], json!(["*"]));
    let refused = deployer.delete("/v1/upstreams?address=127.0.0.1:3000").await;
    refused.problem(403, "forbidden");
    deployer.delete("/v1/upstreams?address=127.0.0.1:3001").await.live();
    let removed = ops.delete("/v1/upstreams?address=127.0.0.1:3000").await.live();
    assert_eq!(removed.body["also_in"], json!([]));
}
