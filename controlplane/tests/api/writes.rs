use futures_util::future::join_all;
use serde_json::json;

use crate::plane::Plane;

#[tokio::test]
async fn a_write_answers_with_the_fleet() {
    let plane = Plane::start().await;
    let reply = plane.put("/v1/services/web", r#"{"match": []}"#).await.expect(200);
    assert_eq!(reply.headers["content-type"], "application/json");
    let mut answer = reply.json;
    assert!(answer["wait"]["took_ms"].take().is_u64());
    let fleet = json!({"members": 0, "reached": 0, "lagging": [], "refused": [], "warming": [], "draining": [],
        "detached": []});
    let expected = json!({"revision": 1, "committed": true, "wait": {"for": "applied", "reached": true, "took_ms": null},
        "fleet": fleet, "also_in": []});
    assert_eq!(answer, expected);

    let unwaited = plane
        .put("/v1/services/web/upstreams/127.0.0.1:1?wait=none", "")
        .await
        .expect(202)
        .json;
    assert_eq!(
        (&unwaited["revision"], &unwaited["committed"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(unwaited["wait"]["for"], "none");
    for goal in ["applied", "healthy", "drained"] {
        let path = format!("/v1/services/web/upstreams/127.0.0.1:1?wait={goal}&timeout=10m");
        let reply = plane.put(&path, "").await.expect(200).json;
        assert_eq!((&reply["revision"], &reply["wait"]["for"]), (&json!(2), &json!(goal)));
    }
}

#[tokio::test]
async fn a_checked_upstream_is_waited_for_until_it_is_healthy() {
    let plane = Plane::start().await;
    let checked = r#"{"match": [], "health_check": {"path": "/up"}}"#;
    let service = plane.put("/v1/services/web", checked).await.expect(200).json;
    assert_eq!(service["wait"]["for"], "applied");
    let shown = plane.get("/v1/services/web").await.expect(200).json;
    assert_eq!(shown["health_check"]["interval"], "5s");
    let upstream = "/v1/services/web/upstreams/a";
    for (body, goal) in [
        (r#"{"address": "127.0.0.1:1"}"#, "healthy"),
        (r#"{"address": "127.0.0.1:1"}"#, "healthy"),
        (r#"{"address": "127.0.0.1:1", "weight": 2}"#, "healthy"),
        // A registration ended with it.
        (r#"{"address": "127.0.0.1:2"}"#, "drained"),
        (r#"{"address": "127.0.0.1:2", "state": "draining"}"#, "drained"),
        (
            r#"{"address": "127.0.0.1:2", "state": "draining", "weight": 2}"#,
            "drained",
        ),
    ] {
        let reply = plane.put(upstream, body).await.expect(200).json;
        assert_eq!(reply["wait"]["for"], goal, "{body}");
    }
    let list = plane
        .get("/v1/services/web/upstreams?status=true")
        .await
        .expect(200)
        .json;
    assert_eq!(list["items"][0]["status"], json!([]), "no proxy is there");
    let plain = plane
        .get("/v1/services/web/upstreams?status=false")
        .await
        .expect(200)
        .json;
    assert!(plain["items"][0].get("status").is_none());
    let wrong = plane
        .get("/v1/services/web/upstreams?status=1")
        .await
        .expect_problem(422, "invalid");
    assert_eq!(wrong.json["errors"][0]["field"], "status");
    plane.put("/v1/services/web", r#"{"match": []}"#).await.expect(200);
    let unchecked = plane
        .put("/v1/services/web/upstreams/127.0.0.1:3", "")
        .await
        .expect(200);
    assert_eq!(unchecked.json["wait"]["for"], "applied");
}

#[tokio::test]
async fn writes_of_many_share_revisions_and_keep_their_own_results() {
    let plane = Plane::start().await;
    plane.with("web", &[]).await;
    let paths: Vec<String> = (1..=200)
        .map(|n| format!("/v1/services/web/upstreams/127.0.0.1:{n}"))
        .collect();
    let refused = "/v1/services/absent/upstreams/127.0.0.1:1".to_owned();
    let (replies, refused) = tokio::join!(
        join_all(paths.iter().map(|path| plane.put(path, ""))),
        join_all((0..20).map(|_| plane.put(&refused, "")))
    );
    refused
        .into_iter()
        .for_each(|reply| drop(reply.expect_problem(404, "not-found")));
    let head = plane.head().await;
    assert!((2..=201).contains(&head), "{head}");
    let history = plane.get("/v1/revisions?limit=1000").await.expect(200).json;
    for (path, reply) in paths.iter().zip(replies) {
        let revision = reply.expect(200).revision();
        let id = path.rsplit('/').next().unwrap();
        let commit = &history["items"][usize::try_from(revision).unwrap() - 1];
        let key = json!(format!("web/{id}"));
        assert_eq!(commit["revision"], revision);
        assert!(
            commit["ops"].as_array().unwrap().iter().any(|op| op["key"] == key),
            "{id} is not in {revision}"
        );
    }
    let ops: usize = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["ops"].as_array().unwrap().len())
        .sum();
    assert_eq!(ops, 201, "each is there once");
}

#[tokio::test]
async fn writes_to_one_object_are_one_after_another() {
    let plane = Plane::start().await;
    plane.with("web", &["127.0.0.1:1"]).await;
    let bodies: Vec<String> = (2..=40).map(|weight| json!({ "weight": weight }).to_string()).collect();
    let path = "/v1/services/web/upstreams/127.0.0.1:1";
    let replies = join_all(bodies.iter().map(|body| plane.put(path, body))).await;
    let mut revisions: Vec<u64> = replies.into_iter().map(|reply| reply.expect(200).revision()).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (3..=41).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_service_too_large_for_a_revision_is_refused_whole() {
    let plane = Plane::start().await;
    plane.with("web", &[]).await;
    let prefix = "x".repeat(120);
    let paths: Vec<String> = (1..=5_000)
        .map(|n| format!("/v1/services/web/upstreams/{prefix}{n}"))
        .collect();
    for some in paths.chunks(250) {
        let body = |n: usize| format!(r#"{{"address": "127.0.0.1:{}"}}"#, n + 1);
        let bodies: Vec<String> = (0..some.len()).map(body).collect();
        let writes = some.iter().zip(&bodies).map(|(path, body)| plane.put(path, body));
        join_all(writes)
            .await
            .into_iter()
            .for_each(|reply| drop(reply.expect(200)));
    }
    let head = plane.head().await;
    plane.delete("/v1/services/web").await.expect_problem(413, "too-large");
    assert_eq!(plane.head().await, head);
    plane.get("/v1/services/web").await.expect(200);
}
