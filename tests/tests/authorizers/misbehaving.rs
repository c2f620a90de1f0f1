//! Servers whose answers are none: whatever they send, whoever asked is told 503, others are served meanwhile, and it costs
//! no memory.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use vulcan_tests::api::Api;
use vulcan_tests::node::Node;
use vulcan_tests::wire::Request;
use vulcan_tests::world::World;
use vulcan_tests::{eventually, origin};

use crate::{ask, by, guard};

const GRANT: &str = r#"{"auth_token": "never"}"#;
const GRANT_OF: &str = "content-length: 23\r\n\r\n{\"auth_token\": \"never\"}";

/// Each of these answers nothing that lets anybody in.
const WAYS: [&str; 24] = [
    "ends at once",
    "is silent",
    "speaks no HTTP",
    "speaks HTTP 0.9",
    "drips its head",
    "drips its body",
    "drips chunks",
    "sends 100 MB",
    "sends 100 MB in chunks",
    "sends a head without an end",
    "sends a field without an end",
    "sends 20,000 fields",
    "sends half a head",
    "sends half a body",
    "sends half a chunk",
    "has two lengths",
    "zips its answer",
    "answers in HTML",
    "answers 204",
    "redirects to itself",
    "switches protocols",
    "floods with 103",
    "floods with 100",
    "answers 500 with a grant",
];

fn fixed(way: &str) -> Option<String> {
    let html = "<html>welcome</html>";
    Some(match way {
        "speaks no HTTP" => "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(),
        "speaks HTTP 0.9" => GRANT.to_owned(),
        "sends half a head" => "HTTP/1.1 200 OK\r\ncontent-le".to_owned(),
        "sends half a body" => "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"auth_token\": \"never\"}".to_owned(),
        "sends half a chunk" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n17\r\n{\"auth_to".to_owned(),
        "has two lengths" => format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{GRANT_OF}"),
        // A stream of gzip that would be long, were it unpacked.
        "zips its answer" => {
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x08\x08\0".to_owned()
        }
        "answers in HTML" => format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 20\r\n\r\n{html}"),
        "answers 204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "redirects to itself" => format!("HTTP/1.1 302 Found\r\nlocation: /authorize\r\n{GRANT_OF}"),
        "switches protocols" => "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_owned(),
        "answers 500 with a grant" => format!("HTTP/1.1 500 Oh\r\n{GRANT_OF}"),
        _ => return None,
    })
}

async fn again_and_again(stream: &mut TcpStream, piece: &[u8], times: usize, pause: Duration) -> io::Result<()> {
    for _ in 0..times {
        stream.write_all(piece).await?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

async fn misbehave(way: &str, stream: &mut TcpStream) -> io::Result<()> {
    const SECOND: Duration = Duration::from_secs(1);
    const NONE: Duration = Duration::ZERO;
    const FOR_EVER: usize = usize::MAX;
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    if let Some(fixed) = fixed(way) {
        return stream.write_all(fixed.as_bytes()).await;
    }
    let megabyte = vec![b' '; 1 << 20];
    match way {
        "ends at once" => Ok(()),
        "is silent" => again_and_again(stream, b"", FOR_EVER, SECOND).await,
        "drips its head" => again_and_again(stream, b"H", FOR_EVER, SECOND).await,
        "drips its body" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
                .await?;
            again_and_again(stream, b" ", FOR_EVER, SECOND).await
        }
        "drips chunks" => {
            stream.write_all(chunked.as_bytes()).await?;
            again_and_again(stream, b"1\r\n \r\n", FOR_EVER, SECOND).await
        }
        "sends 100 MB" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n")
                .await?;
            again_and_again(stream, &megabyte, 100, NONE).await
        }
        "sends 100 MB in chunks" => {
            stream.write_all(chunked.as_bytes()).await?;
            let chunk = [b"100000\r\n".as_slice(), &megabyte, b"\r\n"].concat();
            again_and_again(stream, &chunk, 100, NONE).await
        }
        "sends a head without an end" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            again_and_again(stream, b"x-a: b\r\n", FOR_EVER, NONE).await
        }
        "sends a field without an end" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx-a: ").await?;
            again_and_again(stream, &megabyte, FOR_EVER, NONE).await
        }
        "sends 20,000 fields" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            stream.write_all("a: b\r\n".repeat(20_000).as_bytes()).await?;
            stream.write_all(GRANT_OF.as_bytes()).await
        }
        "floods with 103" => again_and_again(stream, b"HTTP/1.1 103 Hints\r\nx: y\r\n\r\n", FOR_EVER, NONE).await,
        "floods with 100" => again_and_again(stream, b"HTTP/1.1 100 Go on\r\n\r\n", FOR_EVER, NONE).await,
        other => panic!("{other}"),
    }
}

/// A server that treats each question so.
async fn rogue(way: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut question = [0; 4096];
                let _ = stream.read(&mut question).await;
                // The proxy may have had enough.
                let _ = misbehave(way, &mut stream).await;
            });
        }
    });
    address
}

/// Twenty who are not known are each told 503; never anything else.
async fn nobody_gets_in(up: &Node, way: &str) {
    let mut clients = JoinSet::new();
    for n in 0..20 {
        let (at, request) = (up.http(), by(&format!("user{n}"), "/reflect"));
        clients.spawn(async move { Api::new(at).send(&request).await });
    }
    for reply in clients.join_all().await {
        let told = (reply.status, reply.body["type"].as_str());
        assert_eq!(
            told,
            (503, Some("urn:vulcan:authorizer-unavailable")),
            "{way}: {}",
            reply.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_it_sends_nobody_gets_in_and_nobody_else_suffers() {
    let world = World::new();
    let up = world.up(&["--workers", "2"]).await;
    let api = up.api();
    let settings = json!({"timeout": "1s", "cache": {"ttl": "1h"}});
    guard(&api, rogue("ends at once").await, settings.clone()).await;
    let open = json!({"match": [{"hosts": ["open"]}]});
    api.put("/v1/services/open", open).await.live();
    api.register("open", "a", origin::inside("open").await).await.live();

    let (is_over, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let others = tokio::spawn({
        let (at, is_over, served) = (up.http(), is_over.clone(), served.clone());
        async move {
            while !is_over.load(SeqCst) {
                let request = Request::new("GET", "/bytes?n=1000", "open");
                Api::new(at).send(&request).await.expect(200);
                served.fetch_add(1, SeqCst);
            }
        }
    });
    nobody_gets_in(&up, "ends at once").await;
    let before = up.peak_memory();
    for way in WAYS {
        let address = rogue(way).await.to_string();
        let path = "/v1/services/auth/upstreams/a";
        api.put(path, json!({"address": address})).await.live();
        let then = served.load(SeqCst);
        nobody_gets_in(&up, way).await;
        eventually("others are served", async || served.load(SeqCst) > then).await;
        assert!(!others.is_finished(), "{way}");
    }
    is_over.store(true, SeqCst);
    others.await.unwrap();
    let grown = up.peak_memory().saturating_sub(before);
    // Twenty times 100 MB were sent, twice, and more.
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);

    // Nothing of it sticks: the same server comes to its senses.
    let sound = vulcan_tests::authserver::recorder::Recorder::start(|_| {
        vulcan_tests::authserver::recorder::Said::grant("sound")
    })
    .await;
    let path = "/v1/services/auth/upstreams/a";
    api.put(path, json!({"address": sound.address.to_string()}))
        .await
        .live();
    for n in 0..20 {
        let passed = ask(&up, &by(&format!("user{n}"), "/reflect")).await.expect(200);
        assert!(passed.text.contains("x-vulcan-auth-token: sound\n"), "{}", passed.text);
    }
}
