use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::stage::{Double, play, stranger};
use crate::phase::Phase;
use crate::smtp::serve::converse;
use crate::smtp::session::Patience;

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_not_waited_for_for_ever() {
    let double = Double::default();
    let begun = Instant::now();
    double
        .plays("S: 220 mx.example ESMTP Vulcan\n S: 421 4.4.2 Timeout\n E")
        .await;
    assert_eq!(begun.elapsed().as_secs(), 5 * 60);
    // Nor who always has a little to say.
    let begun = Instant::now();
    let now_and_then = "C: NOOP\n S: 250 2.0.0 Ok\n W: 200\n".repeat(18);
    let script = format!("S: 220 mx.example ESMTP Vulcan\n {now_and_then}\n S: 421 4.4.2 Timeout\n E");
    double.plays(&script).await;
    assert_eq!(begun.elapsed().as_secs(), 60 * 60);
}

#[tokio::test(start_paused = true)]
async fn a_command_has_to_come_in_time_as_a_whole() {
    let double = Double::default();
    let (mut near, far) = tokio::io::duplex(1 << 10);
    let patience = Patience::default();
    let client = async {
        let begun = Instant::now();
        while near.write_all(b"x").await.is_ok() && begun.elapsed() < Duration::from_secs(1_000) {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        let mut told = String::new();
        near.read_to_string(&mut told).await.unwrap();
        told
    };
    let ((), told) = tokio::join!(converse(far, stranger(), &double, &patience, false), client);
    assert!(told.ends_with("421 4.4.2 Timeout\r\n"), "{told}");
}

const DATA: &str = "
    S: 220 mx.example ESMTP Vulcan
    C: HELO client
    C: MAIL FROM:<a@b>
    C: RCPT TO:<b@example.com>
    C: DATA
    S: 250 mx.example
    S: 250 2.1.0 Ok
    S: 250 2.1.5 Ok
    S: 354 End data with <CR><LF>.<CR><LF>";

#[tokio::test(start_paused = true)]
async fn a_message_comes_at_a_pace_or_not_at_all() {
    let double = Double {
        bytes_max: 1 << 20,
        ..Double::default()
    };
    let dribble = "C: x\n W: 10\n".repeat(6);
    double
        .plays(&format!(
            "{DATA}\n {dribble}\n S: 421 4.4.2 The data comes too slowly\n E"
        ))
        .await;
    let line = "x".repeat(9_000);
    let steady = format!("C: {line}\n C: {line}\n W: 50\n").repeat(4);
    double
        .plays(&format!("{DATA}\n {steady}\n C: .\n S: 250 2.0.0 Ok"))
        .await;
    assert_eq!(double.messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_leaves_no_message_behind() {
    let double = Double::default();
    let told = double
        .answers(&[b"HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@example.com>\r\nDATA\r\ntext\r\n"])
        .await;
    assert!(told.ends_with("354 End data with <CR><LF>.<CR><LF>\r\n"));
    assert!(double.messages().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_drains_ends_sessions_between_messages() {
    let double = Double::default();
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let patience = Patience::default();
    let client = async {
        play(&mut near, DATA).await;
        double.phase.set(Phase::Draining);
        let script = "
            C: text
            C: .
            S: 250 2.0.0 Ok
            C: MAIL FROM:<a@b>
            S: 421 4.3.2 Shutting down, try again
            E";
        play(near, script).await;
    };
    tokio::join!(converse(far, stranger(), &double, &patience, false), client);
    assert_eq!(double.messages(), ["text\r\n"]);
    // An envelope that nobody goes on with.
    let idle = Double::default();
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let client = async {
        let script = "
            S: 220 mx.example ESMTP Vulcan
            C: HELO client
            C: MAIL FROM:<a@b>
            S: 250 mx.example
            S: 250 2.1.0 Ok";
        play(&mut near, script).await;
        let begun = Instant::now();
        idle.phase.set(Phase::Draining);
        play(&mut near, "C: RCPT TO:<b@example.com>\n S: 250 2.1.5 Ok").await;
        play(near, "S: 421 4.3.2 Shutting down, try again\n E").await;
        assert_eq!(begun.elapsed().as_secs(), 1);
    };
    tokio::join!(converse(far, stranger(), &idle, &patience, false), client);
    // One that has just come, and one that says nothing.
    let begun = Instant::now();
    double
        .plays("S: 220 mx.example ESMTP Vulcan\n C: HELO c\n S: 421 4.3.2 Shutting down, try again\n E")
        .await;
    assert_eq!(begun.elapsed().as_secs(), 0);
    double
        .plays("S: 220 mx.example ESMTP Vulcan\n S: 421 4.3.2 Shutting down, try again\n E")
        .await;
    assert_eq!(begun.elapsed().as_secs(), 1);
    double
        .plays("S: 220 mx.example ESMTP Vulcan\n C: QUIT\n S: 221 2.0.0 Bye\n E")
        .await;
}

#[tokio::test(start_paused = true)]
async fn who_reads_no_reply_is_not_answered_for_ever() {
    let double = Double::default();
    let (mut near, far) = tokio::io::duplex(1 << 10);
    let patience = Patience::default();
    let begun = Instant::now();
    let client = async {
        near.write_all(b"HELO c\r\nMAIL FROM:<a@b>\r\n").await.unwrap();
        while near.write_all(b"RCPT TO:<b@example.com>\r\n").await.is_ok() {}
    };
    tokio::join!(converse(far, stranger(), &double, &patience, false), client);
    assert_eq!(begun.elapsed().as_secs(), 5 * 60);
}

/// A thousand idle sessions are to fit in 50 MB: what one of them holds is its future, and no buffer.
#[tokio::test(start_paused = true)]
async fn an_idle_session_is_small() {
    let double = Double::default();
    let patience = Patience::default();
    let (_near, far) = tokio::io::duplex(1 << 10);
    let session = converse(far, stranger(), &double, &patience, false);
    let bytes = std::mem::size_of_val(&session);
    assert!(bytes < 4 * 1024, "{bytes}");
}
