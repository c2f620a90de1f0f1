//! The admin port over TLS: people, proxies, certificates that change, and those who are not believed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use vulcan_tests::authority::{Authority, Issued};
use vulcan_tests::node::Node;
use vulcan_tests::wire::Request;
use vulcan_tests::world::World;
use vulcan_tests::{binary, eventually};

use crate::staff::{self, ADMIN, PROXY};

const HERE: [&str; 2] = ["localhost", "127.0.0.1"];

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

fn shown(issued: &Issued) -> [&str; 4] {
    [
        "--admin-tls-cert",
        text(&issued.chain),
        "--admin-tls-key",
        text(&issued.key),
    ]
}

/// A control plane whose certificate is of `authority`, in `control.pem`.
async fn control_plane(world: &World, authority: &Authority, extra: &[&str]) -> Node {
    let issued = authority.issue(&world.path(""), "control", &HERE);
    let arguments: Vec<&str> = shown(&issued).into_iter().chain(extra.iter().copied()).collect();
    staff::control_plane(world, &arguments).await
}

fn url(node: &Node) -> String {
    format!("https://{}", node.admin())
}

/// One request on a connection of its own, as an administrator's.
async fn ask(
    to: SocketAddr,
    trust: Arc<ClientConfig>,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> std::io::Result<(u16, Value)> {
    let mut request = Request::new(method, path, "localhost")
        .with("authorization", &format!("Bearer {ADMIN}"))
        .with("connection", "close");
    if let Some(body) = body {
        request = request.with("content-type", "application/json").body(body.to_string());
    }
    let exchange = async {
        let stream = TcpStream::connect(to).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(trust).connect(name, stream).await?;
        stream.write_all(&request.encode()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8(answer).unwrap())
    };
    let answer = tokio::time::timeout(Duration::from_secs(60), exchange).await.unwrap();
    answer.map(|answer: String| {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    })
}

/// Exit status and stderr of a command for people.
fn vulcan(arguments: &[&str]) -> (i32, String) {
    let output = binary::vulcan().args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn a_fleet_over_tls_and_commands_that_know_its_authority() {
    let world = World::new();
    let authority = Authority::create(&world.path(""), "ours");
    let control = control_plane(&world, &authority, &[]).await;
    let (url, ca, token) = (url(&control), text(&authority.ca), staff::token_file(&world, PROXY));
    let proxy = world.proxy("p1", &url, &["--ca", ca, "--token-file", &token]).await;
    let service = json!({"match": [{"hosts": ["web"]}]});
    let (status, written) = ask(
        control.admin(),
        authority.trust(),
        "PUT",
        "/v1/services/web",
        Some(service),
    )
    .await
    .unwrap();
    assert_eq!((status, &written["fleet"]["reached"]), (200, &json!(1)), "{written}");

    let token = staff::token_file(&world, ADMIN);
    let (status, said) = vulcan(&["fleet", "--url", &url, "--ca", ca, "--token-file", &token]);
    assert_eq!(status, 0, "{said}");
    for node in [&control, &proxy] {
        staff::assert_discreet(node);
    }
}

#[tokio::test]
async fn whoever_is_not_believed_is_named_on_either_side() {
    let world = World::new();
    let authority = Authority::create(&world.path(""), "ours");
    let other = Authority::create(&world.path(""), "theirs");
    let control = control_plane(&world, &authority, &[]).await;
    let (url, theirs, token) = (url(&control), text(&other.ca), staff::token_file(&world, ADMIN));
    let clear = control.api().url();
    let plain = world.control_plane("plain", &[]).await;
    let to_plain = format!("https://{}", plain.admin());
    let by_another_name = format!("https://127.0.0.2:{}", control.admin().port());
    for (arguments, why) in [
        (
            &["--url", &url, "--ca", theirs][..],
            "no authority that is believed here; --ca names one",
        ),
        (
            &["--url", &url][..],
            "no authority that is believed here; --ca names one",
        ),
        (
            &["--url", &clear][..],
            "TLS is spoken here: https:// instead of http://",
        ),
        (&["--url", &to_plain][..], "no TLS is spoken there: http://, perhaps"),
        (
            &["--url", &url, "--ca", "/nowhere"][..],
            "--ca, --client-cert, --client-key: /nowhere",
        ),
        (&["--url", &by_another_name, "--ca", text(&authority.ca)][..], ""),
    ] {
        let arguments = [&["fleet", "--token-file", &token], arguments].concat();
        let (status, said) = vulcan(&arguments);
        assert!(status != 0 && said.contains(why), "{arguments:?}: {status}: {said}");
    }
    for (name, url, ca, why) in [
        ("stranger", &url, Some(theirs), "no authority that is believed here"),
        ("clear", &clear, None, "TLS is spoken here: https:// instead of http://"),
        ("secure", &to_plain, Some(theirs), "no TLS is spoken there"),
    ] {
        let ca: Vec<&str> = ca.into_iter().flat_map(|ca| ["--ca", ca]).collect();
        let arguments = [&["--token-file", &token], &ca[..]].concat();
        let proxy = world.proxy_launched(name, url, &arguments);
        eventually(&format!("{name}: {why}"), async || proxy.logged().contains(why)).await;
        assert!(!proxy.lines().contains(&"ready".to_owned()), "{name}");
        staff::assert_discreet(&proxy);
    }
    let (status, fleet) = ask(control.admin(), authority.trust(), "GET", "/v1/fleet", None)
        .await
        .unwrap();
    assert_eq!((status, &fleet["items"]), (200, &json!([])));
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let world = World::new();
    let old = Authority::create(&world.path(""), "old");
    let new = Authority::create(&world.path(""), "new");
    let control = control_plane(&world, &old, &[]).await;
    let health = async |of: &Authority| ask(control.admin(), of.trust(), "GET", "/healthz", None).await;
    assert_eq!(health(&old).await.unwrap().0, 200);
    assert!(health(&new).await.is_err());
    new.issue(&world.path(""), "control", &HERE);
    eventually("the new certificate is shown", async || health(&new).await.is_ok()).await;
    assert!(health(&old).await.is_err());
    std::fs::write(world.path("control.key"), "nonsense").unwrap();
    eventually("the broken key is alarmed about", async || {
        control.logged().contains("the certificate stays as it was")
    })
    .await;
    assert_eq!(health(&new).await.unwrap().0, 200);
}

#[tokio::test]
async fn where_client_certificates_are_asked_for_nobody_comes_without() {
    let world = World::new();
    let authority = Authority::create(&world.path(""), "ours");
    let clients = Authority::create(&world.path(""), "clients");
    let control = control_plane(&world, &authority, &["--admin-client-ca", text(&clients.ca)]).await;
    let (url, ca, token) = (url(&control), text(&authority.ca), staff::token_file(&world, ADMIN));
    let right = clients.issue(&world.path(""), "right", &["edge-1"]);
    let wrong = authority.issue(&world.path(""), "wrong", &["edge-1"]);
    let own = |issued: &Issued| {
        [
            "--client-cert".to_owned(),
            text(&issued.chain).to_owned(),
            "--client-key".to_owned(),
            text(&issued.key).to_owned(),
        ]
    };
    let (right, wrong) = (own(&right), own(&wrong));
    for (shown, expected, why) in [
        (
            &[][..],
            1,
            "a client certificate is asked for: --client-cert and --client-key",
        ),
        (&wrong[..], 1, "the client certificate is not believed there"),
        (&right[..], 0, ""),
    ] {
        let mut arguments = vec!["fleet", "--url", &url, "--ca", ca, "--token-file", &token];
        arguments.extend(shown.iter().map(String::as_str));
        let (status, said) = vulcan(&arguments);
        assert!(status == expected && said.contains(why), "{status}: {said}");
    }
    let mut arguments = vec!["--ca", ca, "--token-file", &token];
    arguments.extend(right.iter().map(String::as_str));
    world.proxy("p1", &url, &arguments).await;
    // A certificate lets nobody in without a token.
    let strangers = [&["--ca", ca], &arguments[4..]].concat();
    let stranger = world.proxy_launched("p2", &url, &strangers);
    eventually("it is refused", async || {
        stranger.logged().contains("refuses this proxy: 401")
    })
    .await;
}

/// The proxy in the same process knows the certificate by its file, for whatever name it is.
#[tokio::test]
async fn both_planes_in_one_process_over_tls() {
    let world = World::new();
    let authority = Authority::create(&world.path(""), "ours");
    let clients = Authority::create(&world.path(""), "clients");
    let issued = authority.issue(&world.path(""), "control", &["control.example.com"]);
    let own = clients.issue(&world.path(""), "own", &["up"]);
    let (chain, key) = (text(&own.chain), text(&own.key));
    let arguments = [
        &shown(&issued)[..],
        &[
            "--admin-client-ca",
            text(&clients.ca),
            "--client-cert",
            chain,
            "--client-key",
            key,
        ],
    ];
    world.up(&arguments.concat()).await;
    let (status, said) = vulcan(&["up", "--admin-tls-cert", text(&issued.chain)]);
    assert!(status == 2 && said.contains("belong together"), "{status}: {said}");
    let (status, said) = vulcan(&["up", "--admin-client-ca", text(&clients.ca)]);
    assert!(
        status == 2 && said.contains("needs --admin-tls-cert"),
        "{status}: {said}"
    );
}

/// A client that begins no handshake, or does not end it, holds nothing for long.
#[tokio::test]
async fn a_handshake_has_its_time() {
    let world = World::new();
    let authority = Authority::create(&world.path(""), "ours");
    let control = control_plane(&world, &authority, &[]).await;
    for begun in [&b""[..], b"\x16\x03\x01"] {
        let mut stream = TcpStream::connect(control.admin()).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut [0; 64])).await;
        assert!(matches!(ended.expect("an end"), Ok(0) | Err(_)), "{begun:?}");
    }
}
