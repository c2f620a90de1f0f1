//! Stories with an authorizer: `main`, which asks the internal service `auth`.

use serde_json::Value;
use shared::change::Kind;

use super::stage::*;

const FIELDS: &str = r#","authorizer":"main""#;
const TOKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{\"auth_token\": \"api\"}";
pub const FAILED: &str = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n";

/// By api:apikey, and what goes before its end.
pub fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YXBpOmFwaWtleQ==\r\n{fields}\r\n")
}

pub struct Scene {
    pub stage: Stage,
    pub auth: Origin,
    pub origin: Origin,
}

impl Scene {
    /// `main` with these further fields.
    pub async fn new(fields: &str) -> Scene {
        Scene::of(FIELDS, fields).await
    }

    /// With these fields of the service.
    pub async fn of(service: &'static str, fields: &str) -> Scene {
        let (stage, auth) = (Stage::with(service).await, Origin::new().await);
        let origin = stage.origin("a").await;
        stage.put(Kind::Service, "auth", r#"{"match":[],"retries":{"attempts":0}}"#);
        stage.put(Kind::Upstream, &format!("auth/{}", auth.address()), "{}");
        stage.put(
            Kind::Authorizer,
            "main",
            &format!(r#"{{"service":"auth","timeout":"20s"{fields}}}"#),
        );
        Scene { stage, auth, origin }
    }

    pub fn revoke(&self, body: &str) {
        self.stage.put(Kind::Revocation, "main", body);
    }

    /// One client's request, let in: the head that the origin saw.
    pub async fn passes(&self, request: &str) -> String {
        let mut client = self.stage.client().await;
        let (mut upstream, head) = client.asks(request, &self.origin).await;
        upstream.send("HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n").await;
        assert_eq!(client.message().await.status(), "204");
        head
    }

    /// As `passes`, once the authorizer has answered that.
    pub async fn passes_by(&self, request: &str, answer: &str) -> String {
        let mut client = self.stage.client().await;
        client.send(request).await;
        self.auth.answers(&closing(answer)).await;
        let mut upstream = self.origin.accept().await;
        let head = upstream.head().await;
        upstream.send("HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n").await;
        assert_eq!(client.message().await.status(), "204");
        head
    }

    /// What a client is told whose authorizer answers that.
    pub async fn told_by(&self, request: &str, answer: &str) -> Message {
        let mut client = self.stage.client().await;
        client.send(request).await;
        let _auth = self.auth.answers(&closing(answer)).await;
        client.message().await
    }

    pub async fn told(&self, request: &str) -> Message {
        let mut client = self.stage.client().await;
        client.send(request).await;
        client.message().await
    }
}

/// The next call comes on a connection of its own.
pub fn closing(answer: &str) -> String {
    answer.replacen("\r\n", "\r\nConnection: close\r\n", 1)
}

#[test]
fn the_authorizer_hears_all_and_its_token_goes_on() {
    story(async || {
        let scene = Scene::new("").await;
        let mut client = scene.stage.client().await;
        let body = "PUT /a?b=c HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YXBpOmFwaWtleQ==\r\n\
                    X-Vulcan-Auth-Token: forged\r\nX_Vulcan_Auth_Token: forged\r\nContent-Length: 2\r\n\r\nhi";
        client.send(body).await;
        let mut auth = scene.auth.accept().await;
        let asked = auth.message().await;
        assert!(asked.head.starts_with("POST /authorize HTTP/1.1\r\n"), "{}", asked.head);
        assert_eq!(asked.field("host"), Some(&*scene.auth.address()));
        assert_eq!(asked.field("content-type"), Some("application/json"));
        let told: Value = serde_json::from_str(&asked.body).unwrap();
        let expected = serde_json::json!({
            "username": "api", "password": "apikey", "protocol": "HTTP", "method": "PUT", "uri": "/a?b=c", "length": 2,
            "ip": "127.0.0.1",
        });
        assert_eq!(told, expected);
        auth.send(TOKEN).await;
        let mut upstream = scene.origin.accept().await;
        let head = upstream.head().await;
        assert_eq!(field(&head, "x-vulcan-auth-token"), Some("api"));
        assert_eq!(field(&head, "authorization"), Some("Basic YXBpOmFwaWtleQ=="));
        assert!(!head.contains("forged"), "{head}");
        upstream.send(OK).await;
        client.message().await;
    });
}

#[test]
fn who_shows_no_credentials_is_asked_for_them() {
    story(async || {
        let scene = Scene::new(r#","realm":"The API""#).await;
        let mut client = scene.stage.client().await;
        for credentials in ["", "Authorization: Bearer abc\r\n", "Authorization: Basic !\r\n"] {
            client
                .send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{credentials}\r\n"))
                .await;
            let answer = client.message().await;
            answer.is_problem(401, "unauthorized");
            let challenge = answer.field("www-authenticate");
            assert_eq!(challenge, Some("Basic realm=\"The API\", charset=\"UTF-8\""));
        }
        scene.auth.is_left_alone().await;
    });
}

#[test]
fn answers_are_remembered_for_those_who_ask_the_same() {
    story(async || {
        let scene = Scene::new("").await;
        scene.passes_by(&get("/", ""), TOKEN).await;
        let head = scene.passes(&get("/", "")).await;
        assert_eq!(field(&head, "x-vulcan-auth-token"), Some("api"));
        scene.passes_by(&get("/other", ""), TOKEN).await;

        let no = "HTTP/1.1 403 No\r\nContent-Type: text/plain\r\nX-Inner: 1\r\nContent-Length: 3\r\n\r\nno!";
        let first = scene.told_by(&get("/no", ""), no).await;
        for answer in [first, scene.told(&get("/no", "")).await] {
            assert_eq!((answer.status(), &*answer.body), ("403", "no!"));
            assert_eq!(
                (answer.field("content-type"), answer.field("x-inner")),
                (Some("text/plain"), None)
            );
        }
        let other = "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YXBpOm90aGVy\r\n\r\n";
        assert_eq!(scene.told_by(other, no).await.status(), "403", "another password");
    });
}

#[test]
fn what_is_no_answer_lets_nobody_in_and_is_not_remembered() {
    story(async || {
        let scene = Scene::new("").await;
        let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n{}", " ".repeat(70000));
        for answer in [
            FAILED,
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "HTTP/1.1 429 Later\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{\"auth_token\": \"not a\\nvalue\"}",
            &long,
        ] {
            let told = scene.told_by(&get("/", ""), answer).await;
            told.is_problem(503, "authorizer-unavailable");
            assert_eq!(told.field("retry-after"), Some("1"));
        }
        scene.passes_by(&get("/", ""), TOKEN).await;
    });
}

#[test]
fn an_authorizer_that_is_away_is_not_waited_for() {
    story(async || {
        let scene = Scene::new("").await;
        scene
            .stage
            .put(Kind::Authorizer, "main", r#"{"service":"auth","timeout":"20ms"}"#);
        let mut client = scene.stage.client().await;
        client.send(&get("/", "")).await;
        let _hanging = scene.auth.accept().await;
        client.message().await.is_problem(503, "authorizer-unavailable");
        scene
            .stage
            .put(Kind::Authorizer, "main", r#"{"service":"none","on_failure":"allow"}"#);
        let head = scene.passes(&get("/", "")).await;
        assert_eq!(field(&head, "x-vulcan-auth-token"), None);
        scene.stage.put(Kind::Authorizer, "main", r#"{"service":"none"}"#);
        scene
            .told(&get("/", ""))
            .await
            .is_problem(503, "authorizer-unavailable");
    });
}

#[test]
fn one_call_is_for_all_and_outlives_who_began_it() {
    story(async || {
        let scene = Scene::new("").await;
        let mut first = scene.stage.client().await;
        first.send(&get("/", "")).await;
        let mut auth = scene.auth.accept().await;
        auth.head().await;
        let mut others = Vec::new();
        for _ in 0..20 {
            let mut client = scene.stage.client().await;
            client.send(&get("/", "")).await;
            others.push(client);
        }
        drop(first);
        scene.auth.is_left_alone().await;
        auth.send(TOKEN).await;
        for _ in &others {
            scene
                .origin
                .answers("HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n")
                .await;
        }
        for client in &mut others {
            assert_eq!(client.message().await.status(), "204");
        }
        scene.auth.is_left_alone().await;
    });
}

#[test]
fn a_call_in_flight_at_a_revocation_lets_nobody_in() {
    story(async || {
        let scene = Scene::new("").await;
        let mut client = scene.stage.client().await;
        client.send(&get("/", "")).await;
        let mut before = scene.auth.accept().await;
        before.message().await;
        scene.revoke(r#"{"username":"api"}"#);

        // Whoever comes now does not wait for that call.
        let mut late = scene.stage.client().await;
        late.send(&get("/", "")).await;
        let mut after = scene.auth.accept().await;
        after.message().await;

        // Nor does its answer help the one who began it.
        before.send(TOKEN).await;
        scene.origin.is_left_alone().await;
        after.send("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").await;
        for client in [&mut client, &mut late] {
            assert_eq!(client.message().await.status(), "403");
        }
        scene.origin.is_left_alone().await;
    });
}

#[test]
fn a_revocation_is_for_whom_it_names() {
    story(async || {
        let scene = Scene::new("").await;
        scene.passes_by(&get("/", ""), TOKEN).await;
        scene.revoke(r#"{"username":"other"}"#);
        scene.passes(&get("/", "")).await;
        for revocation in [
            r#"{"username":"api"}"#.to_owned(),
            "{}".to_owned(),
            format!(r#"{{"auth_token_hash":"{}"}}"#, shared::model::TokenHash::of("api")),
        ] {
            scene.revoke(&revocation);
            scene.passes_by(&get("/", ""), TOKEN).await;
            scene.passes(&get("/", "")).await;
        }
        scene.stage.start_over();
        scene.passes_by(&get("/", ""), TOKEN).await;
    });
}

#[test]
fn a_grant_says_where_to() {
    story(async || {
        let scene = Scene::new("").await;
        let other = scene.stage.origin("b").await;
        let to = |upstream: &str| {
            let body = format!(r#"{{"auth_token": "api", "upstream": "{upstream}"}}"#);
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        let listed = to(&format!("127.0.0.1:1, {}", other.address()));
        for _ in 0..3 {
            let mut client = scene.stage.client().await;
            client.send(&get("/", "")).await;
            scene.auth.answers(&closing(&listed)).await;
            let mut upstream = other.accept().await;
            upstream.head().await;
            upstream.send("HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n").await;
            assert_eq!(client.message().await.status(), "204");
            scene.revoke("{}");
        }
        scene
            .told_by(&get("/x", ""), &to("127.0.0.1:1"))
            .await
            .is_problem(503, "no-upstream");
        scene
            .told_by(&get("/y", ""), &to("nobody"))
            .await
            .is_problem(503, "no-upstream");

        scene.stage.put(Kind::Service, "named", r#"{"match":[]}"#);
        let named = Origin::new().await;
        scene
            .stage
            .put(Kind::Upstream, &format!("named/{}", named.address()), "{}");
        let mut client = scene.stage.client().await;
        client.send(&get("/z", "")).await;
        scene.auth.answers(&closing(&to("named"))).await;
        named.answers(OK).await;
        assert_eq!(client.message().await.status(), "200");
    });
}

#[test]
fn a_stale_answer_is_better_than_none() {
    story(async || {
        let scene = Scene::new(r#","cache":{"ttl":"1ms","stale":"1h"}"#).await;
        scene.passes_by(&get("/", ""), TOKEN).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        scene.passes_by(&get("/", ""), FAILED).await;
        // The next ones do not even ask.
        scene.passes(&get("/", "")).await;
        scene.revoke("{}");
        let told = scene.told_by(&get("/", ""), FAILED).await;
        told.is_problem(503, "authorizer-unavailable");
    });
}

#[test]
fn a_query_is_asked_as_of_old() {
    story(async || {
        let scene = Scene::new(r#","style":"query","path":"/check?v=1""#).await;
        let mut client = scene.stage.client().await;
        client
            .send("GET /a?b HTTP/1.1\r\nHost: a\r\nAuthorization: Basic 5Dpww6Q=\r\n\r\n")
            .await;
        let mut auth = scene.auth.accept().await;
        let head = auth.head().await;
        let line = head.lines().next().unwrap();
        assert_eq!(
            line,
            concat!(
                "GET /check?v=1&username=%C3%A4&password=p%C3%83%C2%A4&protocol=HTTP&method=GET&uri=%2Fa%3Fb&length=0",
                "&ip=127%2E0%2E0%2E1 HTTP/1.1"
            )
        );
        auth.send(TOKEN).await;
        scene.origin.answers(OK).await;
        assert_eq!(client.message().await.status(), "200");
    });
}

#[test]
fn a_request_is_forwarded_as_proxies_do() {
    story(async || {
        let scene = Scene::new(r#","style":"forward","path":"/auth","copy_headers":["X-User","X-Group"]"#).await;
        let mut client = scene.stage.client().await;
        client
            .send(concat!(
                "POST /a?b HTTP/1.1\r\nHost: app.example\r\nAuthorization: Bearer abc\r\nCookie: c=1\r\nX-User: forged\r\n",
                "X_Group: forged\r\nX-Forwarded-Uri: /other\r\nX-Vulcan-Auth-Token: forged\r\nConnection: X-Hop\r\n",
                "X-Hop: 1\r\nContent-Length: 2\r\n\r\nhi"
            ))
            .await;
        let mut auth = scene.auth.accept().await;
        let head = auth.head().await;
        assert!(head.starts_with("GET /auth HTTP/1.1\r\n"), "{head}");
        for (name, value) in [
            ("x-forwarded-method", "POST"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "app.example"),
            ("x-forwarded-uri", "/a?b"),
            ("x-forwarded-for", "127.0.0.1"),
            ("authorization", "Bearer abc"),
            ("cookie", "c=1"),
        ] {
            assert_eq!(field(&head, name), Some(value), "{name}");
        }
        for gone in ["x-hop", "content-length", "x-vulcan-auth-token"] {
            assert_eq!(field(&head, gone), None, "{gone}");
        }
        auth.send("HTTP/1.1 204 Fine\r\nX-User: bob\r\nX-Other: 1\r\nX-Vulcan-Auth-Token: t\r\n\r\n")
            .await;
        let mut upstream = scene.origin.accept().await;
        let head = upstream.head().await;
        assert_eq!(field(&head, "x-user"), Some("bob"));
        assert_eq!(field(&head, "x-vulcan-auth-token"), Some("t"));
        assert!(!head.contains("forged") && !head.contains("x-other"), "{head}");
        upstream.send(OK).await;
        assert_eq!(client.message().await.status(), "200");
    });
}

#[test]
fn where_a_forwarded_request_is_sent_is_said_to_one_client_alone() {
    story(async || {
        let scene = Scene::new(r#","style":"forward""#).await;
        let login = "HTTP/1.1 302 Found\r\nLocation: /login\r\nSet-Cookie: state=1\r\nContent-Length: 0\r\n\r\n";
        let anonymous = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for _ in 0..2 {
            let told = scene.told_by(anonymous, login).await;
            assert_eq!((told.status(), told.field("location")), ("302", Some("/login")));
            assert_eq!(told.field("set-cookie"), Some("state=1"));
        }
    });
}

#[test]
fn a_call_waits_for_a_held_authorizer_within_its_time() {
    story(async || {
        let scene = Scene::new("").await;
        scene.stage.put(Kind::Hold, "auth", "{}");
        let mut client = scene.stage.client().await;
        client.send(&get("/", "")).await;
        scene.stage.held(1).await;
        scene.auth.is_left_alone().await;
        scene.stage.delete(Kind::Hold, "auth");
        scene.auth.answers(&closing(TOKEN)).await;
        scene.origin.answers(OK).await;
        assert_eq!(client.message().await.status(), "200");

        let hurried = r#"{"service":"auth","timeout":"20ms"}"#;
        scene.stage.put(Kind::Authorizer, "main", hurried);
        scene.stage.put(Kind::Hold, "auth", "{}");
        let told = scene.told(&get("/", "")).await;
        told.is_problem(503, "authorizer-unavailable");
        scene.stage.held(0).await;
    });
}

#[test]
fn where_a_grant_points_may_be_held_as_well() {
    story(async || {
        let scene = Scene::new("").await;
        scene.stage.put(Kind::Service, "named", r#"{"match":[]}"#);
        let named = Origin::new().await;
        let key = format!("named/{}", named.address());
        scene.stage.put(Kind::Upstream, &key, "{}");
        for upstream in ["named".to_owned(), named.address()] {
            scene.stage.put(Kind::Hold, "named", "{}");
            let mut client = scene.stage.client().await;
            client.send(&get(&format!("/{upstream}"), "")).await;
            let grant = format!(r#"{{"auth_token": "api", "upstream": "{upstream}"}}"#);
            let grant = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{grant}", grant.len());
            scene.auth.answers(&closing(&grant)).await;
            scene.stage.held(1).await;
            scene.stage.delete(Kind::Hold, "named");
            named.answers(&closing(OK)).await;
            assert_eq!(client.message().await.status(), "200");
        }
    });
}

#[test]
fn who_was_revoked_while_it_waited_is_asked_again() {
    story(async || {
        let scene = Scene::new("").await;
        scene.passes_by(&get("/", ""), TOKEN).await;
        scene.stage.put(Kind::Hold, "web", "{}");
        let mut client = scene.stage.client().await;
        client.send(&get("/", "")).await;
        scene.stage.held(1).await;
        scene.revoke("{}");
        scene.stage.delete(Kind::Hold, "web");
        let refusal = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";
        scene.auth.answers(&closing(refusal)).await;
        assert_eq!(client.message().await.status(), "403");
        scene.origin.is_left_alone().await;
    });
}
