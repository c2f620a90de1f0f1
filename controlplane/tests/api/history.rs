use http_body_util::BodyExt;
use net::ndjson::Lines;
use serde_json::{Value, json};

use crate::plane::Plane;

#[tokio::test]
async fn revisions_say_what_was_replaced() {
    let plane = Plane::start().await;
    plane.with("web", &["127.0.0.1:1"]).await;
    plane.delete("/v1/services/web/upstreams/127.0.0.1:1").await.expect(200);
    let items = plane.get("/v1/revisions?since=2").await.expect(200).json["items"].clone();
    let item = &items[0];
    assert_eq!(items.as_array().unwrap().len(), 1);
    assert_eq!((&item["revision"], &item["actor"]), (&json!(3), &json!("local")));
    let at = item["at"].as_str().unwrap();
    assert!(at.len() == 24 && at.ends_with('Z') && at.as_bytes()[10] == b'T', "{at}");
    let op = json!({"verb": "delete", "kind": "upstream", "key": "web/127.0.0.1:1",
        "before": {"body": {}, "revision": 2, "registration": 2}});
    assert_eq!(item["ops"], json!([op]));

    let op_id = item["op_id"].as_str().unwrap();
    let found = plane
        .get(&format!("/v1/revisions?op_id={op_id}"))
        .await
        .expect(200)
        .json;
    assert_eq!(found["items"], items);
    let none = plane
        .get(&format!("/v1/revisions?op_id={}", uuid::Uuid::nil()))
        .await
        .expect(200)
        .json;
    assert_eq!(none, json!({"items": [], "next": null}));
}

/// The next line that says more than that time passes; beats in between must not go back.
async fn next(body: &mut hyper::body::Incoming, lines: &mut Lines, beat: &mut u64) -> Value {
    loop {
        while let Some(line) = lines.next_line().unwrap() {
            let value: Value = serde_json::from_slice(&line).unwrap();
            match value["beat"].as_u64() {
                Some(head) => {
                    assert!(head >= *beat, "{head} after {beat}");
                    *beat = head;
                }
                None => return value,
            }
        }
        let frame = body.frame().await.expect("the watch goes on").unwrap();
        lines.push(&frame.into_data().unwrap());
    }
}

#[tokio::test]
async fn a_watch_tells_the_past_then_the_present() {
    let plane = Plane::start().await;
    plane.with("web", &["127.0.0.1:1"]).await;
    let mut body = plane.response("GET", "/v1/watch?since=1", "", b"").await.into_body();
    let (mut lines, mut beat) = (Lines::new(1 << 20), 0);
    let second = next(&mut body, &mut lines, &mut beat).await;
    let listed = plane.get("/v1/revisions?since=1").await.json;
    assert_eq!(second, listed["items"][0]);
    for n in 2..30 {
        plane
            .put(&format!("/v1/services/web/upstreams/127.0.0.1:{n}"), "")
            .await
            .expect(200);
        assert_eq!(next(&mut body, &mut lines, &mut beat).await["revision"], n + 1);
    }
    plane.stop().await;
    while let Some(frame) = body.frame().await {
        frame.expect("a watch ends in good order");
    }
}

#[tokio::test]
async fn a_store_goes_on_under_another_name_when_told_its_own() {
    let plane = Plane::start().await;
    plane.with("web", &[]).await;
    let epoch = async || {
        plane.get("/v1/fleet").await.expect(200).json["epoch"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let succeed = async |epoch: &str| {
        let body = json!({ "epoch": epoch }).to_string();
        plane
            .send("POST", "/v1/fleet/succeed", "content-type: application/json", &body)
            .await
            .expect(200)
            .revision()
    };
    let own = epoch().await;
    let other = "01234567-89ab-4def-8123-456789abcdef";
    assert_eq!((succeed(other).await, epoch().await), (2, own.clone()));
    assert_eq!(succeed(other).await, 2, "it may already");
    assert_eq!(succeed(&own).await, 3);
    let fresh = epoch().await;
    assert_ne!(fresh, own);
    assert_eq!(succeed(&own).await, 3, "it goes by another name already");
    let plane = plane.restart().await;
    assert_eq!(plane.get("/v1/fleet").await.json["epoch"], json!(fresh));
}
