//! What is kept of passwords and tokens: nothing, in logs however talkative, on disk, or in the history.

use std::path::Path;

use serde_json::json;
use vulcan_tests::api::Api;
use vulcan_tests::authserver::basic;
use vulcan_tests::authserver::recorder::{Question, Recorder, Said};
use vulcan_tests::eventually;
use vulcan_tests::wire::Request;
use vulcan_tests::world::World;

const PASSWORD: &str = "Tr0ub4dor-and-3";
const WRONG: &str = "c0rrect-h0rse-b4ttery";
const BEARER: &str = "eyJhbGciOiJub25lIn0-0p4que";
const COOKIE: &str = "s3ssion-c00kie-v4lue";
const TOKEN: &str = "t0ken-0f-the-grant";
const COPIED: &str = "c0pied-t0-the-upstream";
const HEARD: &str = "set-by-the-auth0rizer";

fn answer(question: &Question) -> Said {
    let shown = question.field("authorization");
    let shown = shown.map(|value| basic::decode(value).unwrap_or(value.to_owned()));
    let all = question.told().to_string() + &shown.unwrap_or_default();
    match all {
        all if all.contains("fail") => Said::new("500 Oh", "", TOKEN),
        all if all.contains("senseless") => Said::new("200 OK", "", TOKEN),
        all if all.contains(PASSWORD) || all.contains(BEARER) => {
            let fields = format!("x-vulcan-auth-token: {TOKEN}\r\nx-inner: {COPIED}\r\n");
            Said::new("200 OK", &fields, &json!({"auth_token": TOKEN}).to_string())
        }
        _ => Said::new("403 No", &format!("set-cookie: a={HEARD}\r\n"), "no\n"),
    }
}

/// Every file below, with what is in it.
fn files(below: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            // A file may be replaced while it is looked for.
            false => found.extend(std::fs::read(&path).map(|bytes| (path.display().to_string(), bytes))),
        }
    }
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_them_is_written_anywhere() {
    let world = World::new();
    let trace = ["--log", "trace"];
    let control = world.control_plane("control", &trace).await;
    let proxy = world.proxy("p1", &control.api().url(), &trace).await;
    let api = control.api();
    let auth = Recorder::start(answer).await;
    crate::guard(&api, auth.address, json!({})).await;

    for style in [
        json!({"style": "json"}),
        json!({"style": "query"}),
        json!({"style": "forward", "copy_headers": ["x-inner"]}),
    ] {
        api.patch("/v1/authorizers/main", style.clone()).await.live();
        for (user, password, path, expected) in [
            ("user", PASSWORD, "/reflect", 200),
            ("user", PASSWORD, "/reflect", 200),
            ("user", WRONG, "/reflect", 403),
            ("fail", PASSWORD, "/reflect", 503),
            (
                "senseless",
                PASSWORD,
                "/reflect",
                if style["style"] == "forward" { 200 } else { 503 },
            ),
        ] {
            let credentials = basic::encode(format!("{user}:{password}").as_bytes());
            let request = Request::new("GET", path, "web")
                .with("authorization", &credentials)
                .with("cookie", COOKIE);
            Api::new(proxy.http()).send(&request).await.expect(expected);
        }
        let bearer = Request::new("GET", "/reflect", "web").with("authorization", &format!("Bearer {BEARER}"));
        let expected = if style["style"] == "forward" { 200 } else { 401 };
        let passed = Api::new(proxy.http()).send(&bearer).await.expect(expected).text;
        assert_eq!(passed.contains(TOKEN), expected == 200, "{passed}");
    }
    // Where no upstream takes it, and where the authorizer is gone.
    api.delete("/v1/services/web/upstreams/a").await.live();
    let credentials = basic::encode(format!("user:{PASSWORD}").as_bytes());
    let request = Request::new("GET", "/reflect", "web").with("authorization", &credentials);
    Api::new(proxy.http()).send(&request).await.expect(503);
    api.delete("/v1/services/auth/upstreams/a").await.live();
    api.post("/v1/authorizers/main/revoke", json!({"auth_token": TOKEN}))
        .await
        .live();
    Api::new(proxy.http()).send(&request).await.expect(503);

    let told = [
        api.get("/v1/revisions?limit=1000").await.expect(200).text,
        api.get("/v1/snapshot").await.expect(200).text,
        api.get("/v1/fleet").await.expect(200).text,
        api.get("/v1/fleet/p1").await.expect(200).text,
        Api::new(proxy.status()).get("/metrics").await.text,
    ];
    let mut written: Vec<(String, Vec<u8>)> = told.map(|text| ("told".to_owned(), text.into_bytes())).into();
    eventually("the log is talkative", async || proxy.logged().contains("TRACE")).await;
    files(&world.path(""), &mut written);
    let logs = written.iter().filter(|(name, _)| name.ends_with(".log")).count();
    assert!(
        logs >= 2 && written.len() > 8,
        "what is written was not found: {}",
        written.len()
    );
    let mut secrets: Vec<String> = [PASSWORD, WRONG, BEARER, COOKIE, TOKEN, COPIED, HEARD]
        .map(str::to_owned)
        .into();
    // As they travel. The end of a group of three depends on what follows.
    for both in [
        format!("user:{PASSWORD}"),
        format!("user:{WRONG}"),
        format!("fail:{PASSWORD}"),
    ] {
        let encoded = basic::encode(both.as_bytes());
        secrets.push(encoded["Basic ".len()..].trim_end_matches('=').to_owned());
    }
    for (name, bytes) in &written {
        for secret in &secrets {
            assert!(!holds(bytes, secret), "{secret} in {name}");
        }
    }
    // The search finds what is there.
    assert!(
        written.iter().any(|(_, bytes)| holds(bytes, "authorizer")),
        "nothing is found at all"
    );
}

/// What a core of the process would hold: a token as long as it is remembered, a password only while it is needed.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_password_stays_in_memory() {
    let world = World::new();
    let up = world.up(&["--workers", "1"]).await;
    let auth = Recorder::start(answer).await;
    crate::guard(&up.api(), auth.address, json!({})).await;
    let ask = async |user: &str, password: &str| {
        let credentials = basic::encode(format!("{user}:{password}").as_bytes());
        let request = Request::new("GET", "/bytes?n=9", "web").with("authorization", &credentials);
        Api::new(up.http()).send(&request).await.status
    };
    for style in ["json", "query"] {
        up.api()
            .patch("/v1/authorizers/main", json!({"style": style}))
            .await
            .live();
        assert_eq!(ask("user", PASSWORD).await, 200);
        match up.remembers(TOKEN) {
            None => return eprintln!("not run: the kernel lets nobody look into a process"),
            Some(is_found) => assert!(is_found, "the search finds nothing"),
        }
        let encoded = basic::encode(format!("user:{PASSWORD}").as_bytes());
        let forms = [PASSWORD.to_owned(), PASSWORD.replace('-', "%2D"), encoded];
        let mut others = 0;
        // Buffers of sockets and parsers are others' next.
        eventually("it is overwritten", async || {
            others += 1;
            assert_eq!(ask("other", &format!("{BEARER}-{others}")).await, 200);
            forms.iter().all(|form| up.remembers(form) == Some(false))
        })
        .await;
    }
}
