use net::announce::Announce;
use tokio_util::sync::CancellationToken;

use crate::plane::{Plane, config};

// printf secret | sha256sum
const TOKENS: &str = r#"
[[token]]
name = "ci"
sha256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
role = "admin"
"#;

#[tokio::test]
async fn without_tokens_pages_from_elsewhere_are_refused() {
    let plane = Plane::start().await;
    for headers in [
        "host: example.com",
        "host: 10.0.0.1:8182",
        "origin: http://localhost:3000",
        "origin: null",
        "host: localhost.example.com",
    ] {
        for path in ["/v1/services", "/v1/nothing", "/v1/snapshot"] {
            plane
                .send("GET", path, headers, "")
                .await
                .expect_problem(403, "forbidden");
        }
    }
    for headers in [
        "host: localhost:1",
        "host: LOCALHOST",
        "host: 127.0.0.1",
        "host: [::1]:8182",
    ] {
        plane.send("GET", "/v1/services", headers, "").await.expect(200);
    }
}

#[tokio::test]
async fn with_tokens_everything_asks_for_one_and_history_names_it() {
    let plane = Plane::start_with_tokens(TOKENS).await;
    for headers in [
        "",
        "authorization: Bearer wrong",
        "authorization: Basic c2VjcmV0",
        "authorization: Bearer ",
        "authorization: Bearer secret\nauthorization: Bearer secret",
    ] {
        for (method, path) in [
            ("GET", "/v1/services"),
            ("PUT", "/v1/services/web"),
            ("DELETE", "/v1/services/web"),
            ("GET", "/v1/services/web/upstreams"),
            ("GET", "/v1/upstreams"),
            ("GET", "/v1/revisions"),
            ("GET", "/v1/revisions/1"),
            ("GET", "/v1/watch"),
            ("GET", "/v1/fleet"),
            ("GET", "/v1/traffic"),
            ("GET", "/metrics"),
            ("DELETE", "/v1/fleet/x"),
            ("POST", "/v1/fleet/succeed"),
            ("POST", "/v1/stream"),
            ("GET", "/v1/snapshot"),
            ("GET", "/v1/nothing"),
        ] {
            let reply = plane.send(method, path, headers, "").await;
            let reply = reply.expect_problem(401, "unauthenticated");
            assert!(reply.headers.contains_key("www-authenticate"));
        }
    }
    // From anywhere: a token is not lent by a browser.
    let headers = "authorization: bearer secret\nhost: control.example.com\norigin: http://example.com\n\
                   content-type: application/json";
    plane
        .send("PUT", "/v1/services/web", headers, r#"{"match": []}"#)
        .await
        .expect(200);
    let history = plane.send("GET", "/v1/revisions", headers, "").await.expect(200);
    assert_eq!(history.json["items"][0]["actor"], "ci");
}

#[tokio::test]
async fn without_tokens_only_loopback_is_listened_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), None);
    config.admin = "0.0.0.0:0".parse().unwrap();
    let error = controlplane::run(config, Announce::to(std::io::sink()), CancellationToken::new()).await;
    assert!(matches!(error, Err(controlplane::Error::Config(_))), "{error:?}");
}
