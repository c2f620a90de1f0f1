//! Stories of how an authorizer is asked: as other proxies would, at which upstream of its service, and what a client's own
//! fields have to do with it.

use shared::change::Kind;

use super::authorizing::{Scene, closing, get};
use super::stage::*;

const FINE: &str = "HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n";

#[test]
fn a_client_cannot_speak_for_a_proxy_or_ask_for_another_form_of_the_answer() {
    story(async || {
        let scene = Scene::new(r#","style":"forward""#).await;
        let mut client = scene.stage.client().await;
        client
            .send(concat!(
                "GET /a?b HTTP/1.1\r\nHost: app.example\r\nX-Original-URI: /open\r\nX_Original_Url: /open\r\n",
                "X-Original-Method: OPTIONS\r\nX-Real-IP: 10.0.0.1\r\nX_Forwarded_Uri: /open\r\nAccept-Encoding: gzip\r\n",
                "If-None-Match: \"a\"\r\nIf-Modified-Since: Wed, 25 Nov 2026 00:00:00 GMT\r\nRange: bytes=0-1\r\n\r\n"
            ))
            .await;
        let mut auth = scene.auth.accept().await;
        let head = auth.head().await;
        for (name, value) in [
            ("x-original-method", "GET"),
            ("x-original-uri", "/a?b"),
            ("x-original-url", "http://app.example/a?b"),
            ("x-real-ip", "127.0.0.1"),
        ] {
            assert_eq!(field(&head, name), Some(value), "{name}");
        }
        let head = head.to_ascii_lowercase();
        for gone in ["/open", "options", "10.0.0.1", "gzip", "if-", "range", "x_"] {
            assert!(!head.contains(gone), "{gone}: {head}");
        }
        auth.send("HTTP/1.1 204 Fine\r\n\r\n").await;
        let (mut upstream, head) = {
            let mut upstream = scene.origin.accept().await;
            let head = upstream.head().await;
            (upstream, head)
        };
        assert_eq!(field(&head, "if-none-match"), Some("\"a\""), "the upstream's to heed");
        upstream.send(FINE).await;
        assert_eq!(client.message().await.status(), "204");
    });
}

#[test]
fn a_refusal_is_handed_on_with_all_that_belongs_to_it() {
    story(async || {
        let scene = Scene::new(r#","style":"forward""#).await;
        let login = concat!(
            "HTTP/1.1 401 No\r\nContent-Type: text/html\r\nContent-Encoding: br\r\nWWW-Authenticate: Bearer\r\n",
            "WWW-Authenticate: Basic realm=\"x\"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Inner: 1\r\n",
            "Content-Length: 3\r\n\r\nno!"
        );
        let told = scene.told_by("GET / HTTP/1.1\r\nHost: a\r\n\r\n", login).await;
        assert_eq!((told.status(), &*told.body), ("401", "no!"));
        let head = told.head.to_ascii_lowercase();
        for kept in [
            "www-authenticate: bearer\r\n",
            "www-authenticate: basic realm=\"x\"\r\n",
            "set-cookie: a=1\r\n",
            "set-cookie: b=2\r\n",
            "content-encoding: br\r\n",
        ] {
            assert!(head.contains(kept), "{kept}: {head}");
        }
        assert!(!head.contains("x-inner"), "{head}");
        let not_asked_for = "HTTP/1.1 304 Same\r\n\r\n";
        let told = scene.told_by("GET / HTTP/1.1\r\nHost: a\r\n\r\n", not_asked_for).await;
        told.is_problem(503, "authorizer-unavailable");
    });
}

#[test]
fn who_is_asked_again_is_asked_about_what_the_client_says() {
    story(async || {
        let scene = Scene::new(r#","style":"forward","copy_headers":["authorization","x-user"]"#).await;
        let care =
            r#"{"match":[{}],"authorizer":"main","upstream_care":{"max_in_flight":1,"queue":1,"queue_for":"20s"}}"#;
        scene.stage.put(Kind::Service, "web", care);
        let grant = "HTTP/1.1 204 Fine\r\nAuthorization: Bearer inner\r\nX-User: bob\r\n\r\n";
        let mut first = scene.stage.client().await;
        first.send(&get("/first", "")).await;
        scene.auth.answers(&closing(grant)).await;
        let mut busy = scene.origin.accept().await;
        busy.head().await;

        let mut second = scene.stage.client().await;
        second.send(&get("/second", "X-User: eve\r\n")).await;
        scene.auth.answers(&closing(grant)).await;
        scene.stage.waits(1).await;
        scene.revoke("{}");
        busy.send(FINE).await;

        let mut auth = scene.auth.accept().await;
        let asked = auth.head().await;
        assert_eq!(field(&asked, "authorization"), Some("Basic YXBpOmFwaWtleQ=="));
        assert_eq!(field(&asked, "x-user"), Some("eve"));
        auth.send("HTTP/1.1 204 Fine\r\nAuthorization: Bearer other\r\nX-User: ann\r\n\r\n")
            .await;
        let mut upstream = scene.origin.accept().await;
        let head = upstream.head().await;
        assert_eq!(field(&head, "authorization"), Some("Bearer other"));
        assert_eq!(field(&head, "x-user"), Some("ann"));
        upstream.send(FINE).await;
        assert_eq!(second.message().await.status(), "204");
    });
}

#[test]
fn trailers_do_not_bring_what_the_head_may_not() {
    story(async || {
        let scene = Scene::new(r#","style":"forward","copy_headers":["x-user"]"#).await;
        let mut client = scene.stage.client().await;
        let trailed = "Transfer-Encoding: chunked\r\nTrailer: X-User, X-Sum\r\n";
        let request = get("/", trailed).replacen("GET", "POST", 1);
        client
            .send(&format!(
                "{request}2\r\nhi\r\n0\r\nX-User: eve\r\nX_User: eve\r\nX-Sum: 7\r\n\r\n"
            ))
            .await;
        scene
            .auth
            .answers(&closing("HTTP/1.1 204 Fine\r\nX-User: bob\r\n\r\n"))
            .await;
        let mut upstream = scene.origin.accept().await;
        let (head, body) = (upstream.head().await, upstream.until("\r\n\r\n").await);
        assert_eq!(field(&head, "x-user"), Some("bob"));
        let body = body.to_ascii_lowercase();
        assert!(body.contains("x-sum: 7") && !body.contains("eve"), "{body}");
        upstream.send(FINE).await;
        assert_eq!(client.message().await.status(), "204");
    });
}

#[test]
fn who_gives_no_answer_is_not_the_next_to_be_asked() {
    story(async || {
        let scene = Scene::new(r#","cache":{"ttl":"0s"}"#).await;
        let other = Origin::new().await;
        scene
            .stage
            .put(Kind::Upstream, &format!("auth/{}", other.address()), "{}");
        let main = r#"{"service":"auth","timeout":"50ms","cache":{"ttl":"0s"}}"#;
        scene.stage.put(Kind::Authorizer, "main", main);
        let mut client = scene.stage.client().await;
        client.send(&get("/", "")).await;
        // Whichever it is, it stands still.
        let (mut hanging, its, well) = tokio::select! {
            hanging = scene.auth.accept() => (hanging, scene.auth.address(), other.address()),
            hanging = other.accept() => (hanging, other.address(), scene.auth.address()),
        };
        hanging.head().await;
        client.message().await.is_problem(503, "authorizer-unavailable");
        let view = scene.stage.views.now();
        let auth = view.pool(&"auth".try_into().unwrap()).unwrap();
        let has_failed = |id: &str| auth.endpoint(&id.try_into().unwrap()).unwrap().health().has_failed();
        assert!(has_failed(&its) && !has_failed(&well));
    });
}

#[test]
fn questions_wait_where_the_authorizers_service_lets_them() {
    story(async || {
        let scene = Scene::new("").await;
        let care = r#"{"match":[],"upstream_care":{"max_in_flight":1,"queue":1,"queue_for":"20s"}}"#;
        scene.stage.put(Kind::Service, "auth", care);
        let mut first = scene.stage.client().await;
        first.send(&get("/first", "")).await;
        let mut busy = scene.auth.accept().await;
        busy.head().await;
        let mut second = scene.stage.client().await;
        second.send(&get("/second", "")).await;
        others().await;
        let third = scene.told(&get("/third", "")).await;
        third.is_problem(503, "authorizer-unavailable");
        let no = closing("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
        busy.send(&no).await;
        assert_eq!(first.message().await.status(), "403");
        scene.auth.answers(&no).await;
        assert_eq!(second.message().await.status(), "403");
    });
}
