//! Those without a token that is known.

use serde_json::json;
use vulcan_tests::wire::Connection;
use vulcan_tests::world::World;

use crate::staff::{self, ADMIN, READER};

#[tokio::test]
async fn guessing_is_slowed_and_who_is_at_work_goes_on() {
    let world = World::new();
    let control = staff::control_plane(&world, &[]).await;
    let ops = staff::with(&control, ADMIN);
    ops.get("/v1/fleet").await.expect(200);
    let mut statuses = Vec::new();
    for guess in 0..40 {
        let reply = staff::with(&control, &format!("guess-{guess}")).get("/v1/fleet").await;
        if reply.status == 429 {
            let seconds: u64 = reply.head.field("retry-after").unwrap().parse().unwrap();
            assert!((1..=6).contains(&seconds), "{seconds}");
            assert_eq!(reply.body["type"], "urn:vulcan:too-many-requests");
        }
        statuses.push(reply.status);
    }
    assert_eq!(statuses[..10], [401; 10]);
    // A slow machine pays off one now and then.
    let slowed = statuses.iter().filter(|status| **status == 429).count();
    assert!(slowed >= 20, "{statuses:?}");
    ops.get("/v1/fleet").await.expect(200);
    // What was refused before is no guess, and without a token there is nothing to guess.
    staff::with(&control, "guess-0")
        .get("/v1/fleet")
        .await
        .problem(401, "unauthenticated");
    control.api().get("/v1/fleet").await.problem(401, "unauthenticated");
    control.api().get("/healthz").await.expect(200);
    let logged = control.logged();
    assert_eq!(logged.matches("somebody is turned away").count(), 1, "{logged}");
    assert!(!logged.contains("guess-"), "{logged}");
    staff::assert_discreet(&control);
}

/// What an answer repeats of its question is never taken for a page: by nobody, whatever becomes of the request.
#[tokio::test]
async fn no_browser_guesses_what_an_answer_is() {
    let world = World::new();
    let control = staff::control_plane(&world, &[]).await;
    let ops = staff::with(&control, ADMIN);
    let answers = [
        (200, ops.get("/v1/fleet").await),
        (422, ops.get("/v1/services/%3Cscript%3E").await),
        (404, ops.get("/%3Cscript%3E").await),
        (405, ops.delete("/v1/fleet").await),
        (401, control.api().get("/v1/fleet").await),
        (200, control.api().get("/").await),
        (200, control.api().get("/healthz").await),
    ];
    for (status, reply) in answers {
        assert_eq!(reply.status, status);
        assert_eq!(reply.head.field("x-content-type-options"), Some("nosniff"), "{status}");
    }
}

#[tokio::test]
async fn tokens_are_read_again_and_a_broken_file_changes_nothing() {
    let world = World::new();
    let control = staff::control_plane(&world, &[]).await;
    staff::write(&world.path(""), "the-word-of-tomorrow");
    let new = staff::with(&control, "the-word-of-tomorrow");
    vulcan_tests::eventually("the new token is known", async || {
        new.get("/v1/fleet").await.status == 200
    })
    .await;
    staff::with(&control, ADMIN)
        .get("/v1/fleet")
        .await
        .problem(401, "unauthenticated");
    std::fs::write(world.path("tokens.toml"), "[[token]]\nname = 1\n").unwrap();
    vulcan_tests::eventually("the broken file is alarmed about", async || {
        control.logged().contains("the tokens stay as they were")
    })
    .await;
    new.get("/v1/fleet").await.expect(200);
    assert!(!control.logged().contains("tomorrow"));
}

/// Whoever watches, or is a proxy, does so as long as its token is there.
#[tokio::test]
async fn what_is_open_ends_with_its_token() {
    let world = World::new();
    let control = staff::control_plane(&world, &[]).await;
    let token = staff::token_file(&world, ADMIN);
    let proxy = world.proxy("p1", &control.api().url(), &["--token-file", &token]).await;
    let mut gone = staff::with(&control, ADMIN).follow("/v1/watch").await;
    let mut kept = staff::with(&control, READER).follow("/v1/watch").await;
    kept.next_with("beat").await;
    staff::write(&world.path(""), "the-word-of-tomorrow");
    while gone.next().await.is_some() {}
    vulcan_tests::eventually("the proxy is refused", async || {
        proxy.logged().contains("refuses this proxy: 401")
    })
    .await;
    kept.next_with("beat").await;
}

/// An answer comes before a long body has, and is not lost by it.
#[tokio::test]
async fn a_refusal_is_read_whatever_is_still_being_sent() {
    let world = World::new();
    let control = staff::control_plane(&world, &[]).await;
    let body = format!("\"{}\"", "x".repeat(8 << 20));
    for (token, path, status) in [
        (ADMIN, "/v1/services/web", 413),
        (READER, "/v1/services/web", 403),
        (ADMIN, "/v1/nothing", 404),
        (ADMIN, "/v1/services", 405),
        ("wrong", "/v1/services/web", 401),
    ] {
        let api = staff::with(&control, token);
        let mut connection = Connection::connect(control.admin()).await.unwrap();
        let request = api.with_json("PUT", path, &body);
        let (head, _) = connection.exchange(&request).await.unwrap();
        assert_eq!(head.status, status, "{token} {path}");
        // And the connection goes on.
        let again = connection.exchange(&api.request("GET", "/healthz")).await;
        assert_eq!(again.unwrap().0.status, 200);
    }
    let ops = staff::with(&control, ADMIN);
    ops.put("/v1/services/web", json!({"match": []})).await.live();
}
