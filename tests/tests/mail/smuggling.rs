//! Data end at CRLF.CRLF and nowhere else (CVE-2023-51764 and its family): what other servers take for an end hides no
//! second message.

use std::time::Duration;

use vulcan_tests::mail::session::Session;

use crate::Stage;

const HIDDEN: &str = "MAIL FROM:<forged@example.test>\r\nRCPT TO:<victim@example.test>\r\nDATA\r\nSubject: forged\r\n\r\nforged\r\n.\r\n";

/// What somebody somewhere takes for the end.
const ENDS: [&str; 14] = [
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r.\r\n",
    "\r\n.\r",
    "\n.\r",
    "\r.\n",
    "\r\r\n.\r\n",
    "\r\n.\r\r\n",
    "\r\n.\0\r\n",
    "\r\n\0.\r\n",
    "\n\n.\r\n",
    "\r\n.\n\r\n",
];

/// In two pieces, the second after a while.
async fn send(session: &mut Session, bytes: &[u8], cut: usize) {
    // Whoever is refused early does not take all of it.
    if session.send(&bytes[..cut]).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let _ = session.send(&bytes[cut..]).await;
    }
}

async fn begin(stage: &Stage) -> Session {
    let mut session = stage.session().await;
    session
        .envelope("alice@sender.test", &["bob@example.test"])
        .await
        .unwrap()
        .expect("250 2.1.5");
    session.say("DATA").await.unwrap().expect("354");
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_is_taken_for_the_end() {
    let stage = Stage::inbound().await;
    for end in ENDS {
        let text = format!("Subject: first\r\n\r\nfirst{end}{HIDDEN}");
        let from = text.find(end).unwrap();
        for cut in from..=from + end.len() + 1 {
            let mut session = begin(&stage).await;
            send(&mut session, text.as_bytes(), cut).await;
            let replies = session.rest().await;
            let taken = replies.iter().filter(|reply| reply.codes() == "250 2.0.0").count();
            assert_eq!(taken, 0, "{end:?} cut at {cut}: {replies:?}");
            assert!(replies.len() <= 1, "{end:?} cut at {cut}: {replies:?}");
        }
    }
    assert_eq!(stage.inbox.count(), 0, "what is ambiguous is no message at all");
}

/// The control: what follows a true end is a second message.
#[tokio::test(flavor = "multi_thread")]
async fn after_the_true_end_there_is_another_message() {
    let stage = Stage::inbound().await;
    let text = format!("Subject: first\r\n\r\nfirst\r\n.\r\n{HIDDEN}QUIT\r\n");
    let from = text.find("\r\n.\r\n").unwrap();
    for cut in from..=from + 6 {
        let mut session = begin(&stage).await;
        send(&mut session, text.as_bytes(), cut).await;
        let replies = session.rest().await;
        assert_eq!(replies.len(), 6, "{replies:?}");
        assert_eq!(stage.inbox.take().len(), 2, "cut at {cut}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_end_as_strictly() {
    let stage = Stage::inbound().await;
    for hostile in ["NOOP\nQUIT\r\n", "NOOP\rQUIT\r\n", "NOOP\n", "NOOP\0\r\n", "NOOP\r\r\n"] {
        let mut session = stage.session().await;
        session.send(hostile.as_bytes()).await.unwrap();
        let replies = session.rest().await;
        assert!(
            replies.len() <= 1 && replies.iter().all(|reply| reply.code >= 500),
            "{hostile:?}: {replies:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_is_not_spoken_to() {
    let stage = Stage::inbound().await;
    let mut session = Session::connect(stage.smtp()).await.unwrap();
    session.greeted().await.unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\nEHLO a\r\n{HIDDEN}",
        HIDDEN.len()
    );
    let _ = session.send(request.as_bytes()).await;
    session.rest().await;
    assert_eq!(stage.inbox.count(), 0);
}
