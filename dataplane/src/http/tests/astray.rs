//! Stories of requests that the authorizer sends to addresses which nobody has registered.

use shared::change::Kind;

use super::authorizing::{Scene, closing, get};
use super::stage::*;

const ANY: &str = r#","upstreams":"any""#;
const FINE: &str = "HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n";

fn to(upstreams: &[&str]) -> String {
    let body = format!(r#"{{"auth_token": "api", "upstream": "{}"}}"#, upstreams.join(","));
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The request arrives at this origin once the authorizer has named those.
async fn goes(scene: &Scene, path: &str, named: &[&str], origin: &Origin) {
    let mut client = scene.stage.client().await;
    client.send(&get(path, "")).await;
    scene.auth.answers(&closing(&to(named))).await;
    let mut upstream = origin.accept().await;
    let head = upstream.head().await;
    assert_eq!(field(&head, "x-vulcan-auth-token"), Some("api"));
    upstream.send(FINE).await;
    assert_eq!(client.message().await.status(), "204");
}

#[test]
fn an_unregistered_address_takes_requests_only_where_it_may() {
    story(async || {
        let (scene, stray) = (Scene::new(ANY).await, Origin::new().await);
        let address = stray.address();
        goes(&scene, "/a", &[&address], &stray).await;
        let strays = scene.stage.views.now().strays().clone();
        let web = "web".try_into().unwrap();
        assert!(strays.known(&web, &address.as_str().try_into().unwrap()).is_some());
        assert_eq!(strays.busy(&web), []);

        scene
            .stage
            .put(Kind::Authorizer, "main", r#"{"service":"auth","timeout":"20s"}"#);
        let told = scene.told_by(&get("/a", ""), &to(&[&address])).await;
        told.is_problem(503, "no-upstream");
        stray.is_left_alone().await;
    });
}

#[test]
fn what_is_registered_goes_first_and_what_drains_stays_so() {
    story(async || {
        let (scene, stray) = (Scene::new(ANY).await, Origin::new().await);
        let (registered, unregistered) = (scene.origin.address(), stray.address());
        for path in ["/a", "/b", "/c"] {
            goes(&scene, path, &[&unregistered, &registered], &scene.origin).await;
        }
        let draining = format!(r#"{{"address":"{registered}","state":"draining"}}"#);
        scene.stage.put(Kind::Upstream, "web/a", &draining);
        goes(&scene, "/d", &[&registered, &unregistered], &stray).await;
        let told = scene.told_by(&get("/e", ""), &to(&[&registered])).await;
        told.is_problem(503, "no-upstream");
        scene.origin.is_left_alone().await;
    });
}

#[test]
fn one_that_takes_no_connection_is_passed_over() {
    story(async || {
        let (scene, stray) = (Scene::new(ANY).await, Origin::new().await);
        let dead = Origin::new().await.address();
        for path in ["/a", "/b", "/c", "/d"] {
            goes(&scene, path, &[&dead, &stray.address()], &stray).await;
        }
        scene.stage.put(
            Kind::Service,
            "web",
            r#"{"match":[{}],"authorizer":"main","retries":{"attempts":0}}"#,
        );
        let told = scene.told_by(&get("/e", ""), &to(&[&dead])).await;
        assert!(["502", "503"].contains(&told.status()), "{}", told.head);
        for none in ["0.0.0.0:80", "224.0.0.1:80", "[::]:1"] {
            let told = scene.told_by(&get(&format!("/{none}"), ""), &to(&[none])).await;
            told.is_problem(503, "no-upstream");
        }
    });
}

#[test]
fn the_services_own_limits_hold_there() {
    story(async || {
        let (scene, stray) = (Scene::new(ANY).await, Origin::new().await);
        let care = r#"{"match":[{}],"authorizer":"main","upstream_care":{"max_in_flight":1}}"#;
        scene.stage.put(Kind::Service, "web", care);
        let mut first = scene.stage.client().await;
        first.send(&get("/", "")).await;
        scene.auth.answers(&closing(&to(&[&stray.address()]))).await;
        let mut upstream = stray.accept().await;
        upstream.head().await;
        let web = "web".try_into().unwrap();
        assert_eq!(scene.stage.views.now().strays().busy(&web)[0].in_flight, 1);
        scene.told(&get("/", "")).await.is_problem(503, "no-upstream");
        upstream.send(FINE).await;
        assert_eq!(first.message().await.status(), "204");
        let mut second = scene.stage.client().await;
        second.send(&get("/", "")).await;
        stray.answers(FINE).await;
        assert_eq!(second.message().await.status(), "204");
    });
}

#[test]
fn a_hold_counts_them_and_holds_them() {
    story(async || {
        let (scene, stray) = (Scene::new(ANY).await, Origin::new().await);
        let (mut first, mut second) = (scene.stage.client().await, scene.stage.client().await);
        first.send(&get("/", "")).await;
        scene.auth.answers(&closing(&to(&[&stray.address()]))).await;
        let mut upstream = stray.accept().await;
        upstream.head().await;
        scene.stage.put(Kind::Hold, "web", "{}");
        assert_eq!(scene.stage.views.held()[0].busy[0].in_flight, 1);
        second.send(&get("/", "")).await;
        scene.stage.held(1).await;
        upstream.send(FINE).await;
        assert_eq!(first.message().await.status(), "204");
        assert_eq!(scene.stage.views.held()[0].busy, []);
        stray.is_left_alone().await;
        scene.stage.delete(Kind::Hold, "web");
        stray.answers(FINE).await;
        assert_eq!(second.message().await.status(), "204");
    });
}
