//! A Cassandra that asks for a password, over TLS, and with the settings that old clusters have.

use std::path::Path;

use vulcan_tests::cassandra::Cassandra;
use vulcan_tests::eventually;
use vulcan_tests::world::World;

#[tokio::test]
async fn a_password_and_tls_are_enough_to_get_in() {
    let cassandra = Cassandra::start(1, &["--auth", "--tls", "--paxos", "v1"]);
    let ca = cassandra.directory.as_deref().unwrap().join("ca.pem");
    let world = World::new();
    let secret = |name: &str, text: &str| {
        let path = world.path(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (right, wrong) = (secret("right", "cassandra\n"), secret("wrong", "guess"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let start = |name: &str, password: &str, ca: &str| {
        let flags = [
            "--cassandra-user",
            "cassandra",
            "--cassandra-password-file",
            password,
            "--cassandra-ca",
            ca,
        ];
        world.control_plane_on(name, &cassandra.store(), &flags)
    };

    let mut control = start("right", &right, &text(&ca));
    control.ready().await;
    control
        .api()
        .put("/v1/services/web", serde_json::json!({"match": []}))
        .await
        .live();
    eventually("it warns of the node's setting", async || {
        control.logged().contains("paxos_variant is v1")
    })
    .await;
    assert!(!control.logged().contains("guess") && !control.logged().contains(&right));

    let stranger = start("stranger", &wrong, &text(&ca));
    eventually("it says that the password is wrong", async || {
        let logged = stranger.logged();
        logged.contains("waiting for Cassandra") && logged.contains("incorrect")
    })
    .await;
    assert!(!stranger.logged().contains("guess"));

    let mut nobody = start("nobody", &right, &right);
    assert_eq!(nobody.exit().await, Some(1));
    assert!(
        nobody.logged().contains("no certificate authority in"),
        "{}",
        nobody.logged()
    );
}
