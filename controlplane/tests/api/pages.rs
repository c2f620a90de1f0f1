use serde_json::Value;

use crate::plane::Plane;

/// Follows a list to its end; `member` names its items.
async fn follow(plane: &Plane, path: &str, parameter: &str, limit: usize, member: &str) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let joint = if path.contains('?') { '&' } else { '?' };
        let page = plane
            .get(&format!("{path}{joint}limit={limit}{cursor}"))
            .await
            .expect(200)
            .json;
        pages.push(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item[member].clone())
                .collect(),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&{parameter}={next}"),
            None => return pages,
        }
    }
}

#[tokio::test]
async fn lists_come_in_pages_in_the_order_of_their_keys() {
    let plane = Plane::start().await;
    let names = ["a", "b", "b-1", "b.1", "b0", "c", "d"];
    for name in names.iter().rev() {
        plane.with(name, &[]).await;
    }
    let pages = follow(&plane, "/v1/services", "cursor", 3, "name").await;
    let sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
    assert_eq!(
        (pages.concat(), sizes),
        (names.map(Value::from).to_vec(), vec![3, 3, 1])
    );
    let whole = follow(&plane, "/v1/services", "cursor", 7, "name").await;
    assert_eq!(whole.len(), 1, "no empty page at the end");
}

#[tokio::test]
async fn a_cursor_outlives_its_key_and_leads_nowhere_else() {
    let plane = Plane::start().await;
    for name in ["a", "b", "c"] {
        plane.with(name, &["127.0.0.1:1", "127.0.0.1:2"]).await;
    }
    let next = async |path: &str| {
        let page = plane.get(path).await.expect(200).json;
        page["next"].as_str().unwrap().to_owned()
    };
    let services = next("/v1/services?limit=2").await;
    plane.delete("/v1/services/b").await.expect(200);
    let rest = plane
        .get(&format!("/v1/services?cursor={services}"))
        .await
        .expect(200)
        .json;
    assert_eq!(
        (&rest["items"][0]["name"], &rest["next"]),
        (&Value::from("c"), &Value::Null)
    );
    let upstreams = next("/v1/services/a/upstreams?limit=1").await;
    plane
        .get(&format!("/v1/services/a/upstreams?cursor={upstreams}"))
        .await
        .expect(200);
    for other in [
        format!("/v1/services/c/upstreams?cursor={upstreams}"),
        format!("/v1/services?cursor={upstreams}"),
        format!("/v1/fleet?cursor={services}"),
    ] {
        let reply = plane.get(&other).await.expect_problem(422, "invalid");
        assert_eq!(reply.fields(), ["cursor"], "{other}");
    }
}

#[tokio::test]
async fn upstreams_of_one_service_are_listed_and_no_others() {
    let plane = Plane::start().await;
    plane.with("b", &["[::1]:1", "127.0.0.1:1", "127.0.0.1:2"]).await;
    plane.with("b-1", &["127.0.0.1:1"]).await;
    plane.with("a", &["127.0.0.1:1"]).await;
    let pages = follow(&plane, "/v1/services/b/upstreams", "cursor", 1, "id").await;
    assert_eq!(
        pages.concat(),
        ["127.0.0.1:1", "127.0.0.1:2", "[::1]:1"].map(Value::from)
    );
    let pages = follow(&plane, "/v1/upstreams?address=127.0.0.1:1", "cursor", 1, "service").await;
    assert_eq!(pages.concat(), ["a", "b-1", "b"].map(Value::from));
}

#[tokio::test]
async fn revisions_go_on_after_the_last_one_shown() {
    let plane = Plane::start().await;
    plane.with("web", &["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]).await;
    let pages = follow(&plane, "/v1/revisions", "since", 3, "revision").await;
    assert_eq!(
        pages,
        [vec![1, 2, 3], vec![4]].map(|page| page.into_iter().map(Value::from).collect::<Vec<_>>())
    );
}
