use std::time::UNIX_EPOCH;

use serde_json::{Value, json};
use uuid::Uuid;

use shared::model::LimitId;

use super::*;

fn entry() -> Entry<'static> {
    Entry {
        at: UNIX_EPOCH,
        protocol: "HTTP/1.1",
        client: [192, 0, 2, 1].into(),
        method: "GET",
        host: "example.com",
        path: "/a",
        status: 200,
        bytes_in: 1,
        bytes_out: 2,
        took: Duration::from_micros(1_007),
        service: Some("web"),
        upstream: Some("a"),
        tries: 1,
        token: Some(token_hash(b"ann")),
        limit: Some(LimitId(Uuid::nil())),
        request_id: Some(b"id"),
        error: None,
        referer: Some(b"http://x/y?token=1"),
        agent: Some(b"curl \"8\""),
    }
}

#[test]
fn a_line_has_every_key_in_its_order() {
    let line = entry().to_json("edge-1");
    let keys = "time proxy protocol client method host path status bytes_in bytes_out duration_ms service upstream \
                tries auth_token_hash limit request_id error";
    let places: Vec<_> = keys
        .split(' ')
        .map(|key| {
            std::str::from_utf8(&line)
                .unwrap()
                .find(&format!("\"{key}\":"))
                .unwrap()
        })
        .collect();
    assert!(places.is_sorted());
    let document: Value = serde_json::from_slice(&line).unwrap();
    let expected = json!({
        "time": "1970-01-01T00:00:00.000Z", "proxy": "edge-1", "protocol": "HTTP/1.1", "client": "192.0.2.1",
        "method": "GET", "host": "example.com", "path": "/a", "status": 200, "bytes_in": 1, "bytes_out": 2,
        "duration_ms": 1.007, "service": "web", "upstream": "a", "tries": 1, "auth_token_hash": "49915e0d7d4b402e",
        "limit": "00000000-0000-0000-0000-000000000000", "request_id": "id", "error": null,
    });
    assert_eq!(document, expected);
}

#[test]
fn the_combined_format_tells_no_query() {
    let line = String::from_utf8(entry().to_combined()).unwrap();
    let expected = "192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] \"GET /a HTTP/1.1\" 200 2 \"http://x/y\" \
                    \"curl \\x228\\x22\"\n";
    assert_eq!(line, expected);
    let refused = Entry {
        method: "",
        referer: None,
        agent: None,
        ..entry()
    };
    let line = String::from_utf8(refused.to_combined()).unwrap();
    assert!(line.ends_with("\"-\" 200 2 \"-\" \"-\"\n"), "{line}");
}

#[test]
fn the_longest_line_is_written_as_a_whole() {
    let long = "\u{1}".repeat(5_000);
    let longest = Entry {
        method: &long,
        host: &long,
        path: &long,
        service: Some(&long),
        upstream: Some(&long),
        request_id: Some(long.as_bytes()),
        error: Some(&long),
        referer: Some(long.as_bytes()),
        agent: Some(long.as_bytes()),
        ..entry()
    };
    for line in [longest.to_json(&long), longest.to_combined()] {
        assert!((2_000..=4_096).contains(&line.len()), "{}", line.len());
    }
}

#[tokio::test]
async fn every_line_is_written_or_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
    let log = AccessLog::open(Target::File(path.clone()), Format::Json, "edge-1").unwrap();
    let feeds = [log.feed(), log.feed()];
    let mut count = 0;
    for round in 0..20 {
        for feed in &feeds {
            for _ in 0..500 {
                feed.write(&entry());
                count += 1;
            }
        }
        if round == 10 {
            std::fs::rename(&path, &moved).unwrap();
            log.reopen();
        }
        tokio::time::sleep(PAUSE / 4).await;
    }
    drop(feeds);
    log.close().await;
    let lines = |path: &PathBuf| std::fs::read_to_string(path).unwrap().lines().count() as u64;
    assert!(lines(&moved) > 0 && lines(&path) > 0);
    assert_eq!(lines(&moved) + lines(&path) + log.dropped(), count);
}

#[tokio::test]
async fn a_disk_that_is_full_stops_nobody() {
    let log = AccessLog::open(Target::File("/dev/full".into()), Format::Json, "edge-1").unwrap();
    let feed = log.feed();
    (0..100).for_each(|_| feed.write(&entry()));
    log.close().await;
    assert_eq!(log.dropped(), 100);
}

/// Its thread is stuck in a write, and comes back when somebody reads.
#[tokio::test]
async fn a_reader_that_has_stopped_reading_stops_nobody() {
    let (mut reader, writer) = io::pipe().unwrap();
    let sink = Sink::of(Target::Stdout, std::os::fd::OwnedFd::from(writer).into());
    let log = AccessLog::over(sink, false, Format::Json, "edge-1").unwrap();
    let feed = log.feed();
    let mut count = 0;
    while log.dropped() == 0 {
        feed.write(&entry());
        count += 1;
    }
    drop(feed);
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        io::Read::read_to_string(&mut reader, &mut text).unwrap();
        text.lines().count() as u64
    });
    log.close().await;
    let dropped = log.dropped();
    drop(log);
    assert_eq!(reading.join().unwrap() + dropped, count);
}
