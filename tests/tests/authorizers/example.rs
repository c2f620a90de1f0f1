//! `curl --user api:apikey` through Vulcan, and what the authorization server makes of it, in every style.

use serde_json::{Value, json};
use vulcan_tests::api::Api;
use vulcan_tests::authserver::basic;
use vulcan_tests::authserver::recorder::{Question, Recorder, Said};
use vulcan_tests::origin;
use vulcan_tests::wire::Request;
use vulcan_tests::world::World;

use crate::guard;
use crate::visit::{Upload, Visit};

/// The parameters as they are told; a query has texts only.
fn told(style: &str, method: &str, uri: &str, length: Value) -> Value {
    let length = match (style, length) {
        ("json", length) => length,
        (_, Value::Null) => "".into(),
        (_, length) => length.to_string().into(),
    };
    json!({"username": "api", "password": "apikey", "protocol": "HTTP", "method": method, "uri": uri, "length": length,
        "ip": "127.0.0.1"})
}

async fn hears_all_and_decides(style: &'static str) {
    let world = World::new();
    let up = world.up(&[]).await;
    let (one, two, elsewhere) = (
        origin::inside("one").await,
        origin::inside("two").await,
        origin::inside("elsewhere").await,
    );
    let unregistered = origin::inside("unregistered").await;
    let listed = format!("{unregistered},{two},{one}");
    let auth = Recorder::start(move |question| {
        let uri = question.told()["uri"].as_str().unwrap().to_owned();
        let upstream = match uri.split('?').nth(1) {
            Some("listed") => json!(listed),
            Some("service") => json!("other"),
            Some("unregistered") => json!(unregistered.to_string()),
            Some("empty") => json!(""),
            Some("null") => json!(null),
            _ => return Said::grant("user@example.com"),
        };
        let body = json!({"auth_token": "user@example.com", "upstream": upstream});
        Said::new("200 OK", "content-type: application/json\r\n", &body.to_string())
    })
    .await;
    let api = up.api();
    guard(&api, auth.address, json!({"style": style})).await;
    api.put("/v1/services/other", json!({"match": []})).await.live();
    api.register("other", "elsewhere", elsewhere).await.live();
    api.put("/v1/services/pair", json!({"match": []})).await.live();
    api.register("pair", "one", one).await.live();
    api.register("pair", "two", two).await.live();

    for (visit, length) in [
        (Visit::get("/reflect?a=b%20c&d"), json!(0)),
        (
            Visit {
                method: "POST",
                upload: Upload::Sized("hello"),
                ..Visit::get("/reflect?e")
            },
            json!(5),
        ),
        (
            Visit {
                method: "PUT",
                upload: Upload::Chunked("hello"),
                ..Visit::get("/reflect?f")
            },
            json!(null),
        ),
        (
            Visit {
                method: "DELETE",
                ..Visit::get("/reflect")
            },
            json!(0),
        ),
    ] {
        let (status, text) = visit.pay(up.http()).await;
        assert_eq!(status, 200, "{text}");
        assert!(text.contains("x-vulcan-auth-token: user@example.com\n"), "{text}");
        let asked = auth.last();
        assert_eq!(asked.told(), told(style, visit.method, visit.target, length));
        assert_eq!(asked.line.path(), "/authorize");
        assert_eq!(asked.line.method, if style == "json" { "POST" } else { "GET" });
    }
    for _ in 0..4 {
        let text = Visit::get("/reflect?listed").pay(up.http()).await.1;
        assert!(
            text.contains("x-origin: one") || text.contains("x-origin: two"),
            "{text}"
        );
    }
    for (target, expected) in [
        ("/reflect?service", "x-origin: elsewhere"),
        ("/reflect?empty", "x-origin: a"),
        ("/reflect?null", "x-origin: a"),
    ] {
        let (status, text) = Visit::get(target).pay(up.http()).await;
        assert!(status == 200 && text.contains(expected), "{target}: {text}");
    }
    let (status, text) = Visit::get("/reflect?unregistered").pay(up.http()).await;
    assert!(status == 503 && text.contains("urn:vulcan:no-upstream"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_json() {
    hears_all_and_decides("json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_a_query() {
    hears_all_and_decides("query").await;
}

fn forwarded(question: &Question) -> Said {
    match question.field("authorization").and_then(basic::decode).as_deref() {
        Some("api:apikey") => Said::new(
            "204 Fine",
            "x-user: api\r\nx-vulcan-auth-token: user@example.com\r\nset-cookie: inner=1\r\n",
            "",
        ),
        Some(_) => Said::new("403 Forbidden", "", "not you\n"),
        None if question.field("accept") == Some("text/html") => Said::new(
            "302 Found",
            "location: https://login.example/?to=x\r\nset-cookie: state=1\r\n",
            "",
        ),
        None if question.field("authorization") == Some("Bearer good") => {
            Said::new("200 OK", "x-user: robot\r\n", "ok")
        }
        None => Said::new(
            "401 Unauthorized",
            "www-authenticate: Bearer realm=\"x\"\r\n",
            "who are you?\n",
        ),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_the_request_itself() {
    let world = World::new();
    let up = world.up(&[]).await;
    let auth = Recorder::start(forwarded).await;
    let settings = json!({"style": "forward", "path": "/verify?v=1", "copy_headers": ["X-User"]});
    guard(&up.api(), auth.address, settings).await;

    let post = Visit {
        method: "POST",
        upload: Upload::Chunked("hello"),
        ..Visit::get("/reflect?a=b")
    };
    let (status, text) = post.pay(up.http()).await;
    assert_eq!(status, 200, "{text}");
    assert!(
        text.contains("x-user: api\n") && text.contains("x-vulcan-auth-token: user@example.com\n"),
        "{text}"
    );
    assert!(!text.contains("inner=1"), "a grant's cookie is for nobody: {text}");
    let asked = auth.last();
    assert_eq!(
        (&*asked.line.method, &*asked.line.target, asked.body.len()),
        ("GET", "/verify?v=1", 0)
    );
    let host = up.http().to_string();
    for (name, value) in [
        ("x-forwarded-method", "POST"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", &*host),
        ("x-forwarded-uri", "/reflect?a=b"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-original-uri", "/reflect?a=b"),
        ("authorization", "Basic YXBpOmFwaWtleQ=="),
    ] {
        assert_eq!(asked.field(name), Some(value), "{name}");
    }

    let send = async |fields: &[(&str, &str)]| {
        let request = fields
            .iter()
            .fold(Request::new("GET", "/reflect", "web"), |request, (name, value)| {
                request.with(name, value)
            });
        Api::new(up.http()).send(&request).await
    };
    let challenged = send(&[]).await.expect(401);
    assert_eq!(challenged.head.field("www-authenticate"), Some("Bearer realm=\"x\""));
    assert_eq!(challenged.text, "who are you?\n");
    let login = send(&[("accept", "text/html")]).await;
    // Which answer is remembered depends on what `vary` names: the first one without credentials, here.
    assert_eq!(login.status, 401, "`accept` is not named in `cache.vary`");
    let named = json!({"cache": {"vary": ["method", "uri", "credentials", "header:accept"]}});
    up.api().patch("/v1/authorizers/main", named).await.live();
    for _ in 0..2 {
        let login = send(&[("accept", "text/html")]).await.expect(302);
        assert_eq!(login.head.field("location"), Some("https://login.example/?to=x"));
        assert_eq!(login.head.field("set-cookie"), Some("state=1"));
    }
    assert_eq!(
        send(&[("authorization", &basic::encode(b"api:wrong"))])
            .await
            .expect(403)
            .text,
        "not you\n"
    );

    // What a client says of itself under these names arrives nowhere.
    let forged = [
        ("authorization", "Bearer good"),
        ("x-user", "root"),
        ("X_User", "root"),
        ("x-vulcan-auth-token", "root"),
        ("X_Vulcan_Auth_Token", "root"),
        ("x-forwarded-uri", "/open"),
    ];
    let passed = send(&forged).await.expect(200).text;
    assert!(
        passed.contains("x-user: robot\n") && !passed.contains("root"),
        "{passed}"
    );
    assert!(!passed.contains("x-vulcan-auth-token"), "it has none: {passed}");
    assert_eq!(auth.last().field("x-forwarded-uri"), Some("/reflect"));
    let head = Request::new("HEAD", "/reflect", "web");
    let refused = Api::new(up.http()).send(&head).await.expect(401);
    assert_eq!(refused.text, "", "no body to a HEAD");
}

/// What clients write into Basic credentials arrives as they mean it.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_arrive_as_they_are_meant() {
    let world = World::new();
    let up = world.up(&[]).await;
    let auth = Recorder::start(|_| Said::grant("t")).await;
    guard(&up.api(), auth.address, json!({})).await;
    let cases: [(&[u8], &str, &str); 7] = [
        (
            "jos\u{e9}:p\u{e4}ss \u{20ac}".as_bytes(),
            "jos\u{e9}",
            "p\u{e4}ss \u{20ac}",
        ),
        (b"jos\xe9:p\xe4ss", "jos\u{e9}", "p\u{e4}ss"),
        (b"user:a:b::c:", "user", "a:b::c:"),
        (b":only a password", "", "only a password"),
        (b"no password:", "no password", ""),
        (b":", "", ""),
        (b"\"quoted\\:\x01&=%", "\"quoted\\", "\u{1}&=%"),
    ];
    for style in ["json", "query"] {
        up.api()
            .patch("/v1/authorizers/main", json!({"style": style}))
            .await
            .live();
        for (both, username, password) in cases {
            let request = Request::new("GET", "/reflect", "web").with("authorization", &basic::encode(both));
            Api::new(up.http()).send(&request).await.expect(200);
            let told = auth.last().told();
            assert_eq!(
                (&told["username"], &told["password"]),
                (&json!(username), &json!(password)),
                "{style}"
            );
        }
    }
    let asked = auth.count();
    for other in ["Bearer abc", "Basic !", "Digest username=\"a\"", "Basic"] {
        let request = Request::new("GET", "/reflect", "web").with("authorization", other);
        let refused = Api::new(up.http()).send(&request).await.problem(401, "unauthorized");
        assert_eq!(
            refused.head.field("www-authenticate"),
            Some("Basic realm=\"vulcan\", charset=\"UTF-8\"")
        );
    }
    assert_eq!(auth.count(), asked, "nobody is asked about no credentials");
}
