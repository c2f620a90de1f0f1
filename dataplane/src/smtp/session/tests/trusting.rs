use super::stage::{Double, stranger, trusted};
use crate::smtp::clients::CONNECTIONS_MAX;

#[tokio::test(start_paused = true)]
async fn a_trusted_server_says_for_whom_it_speaks() {
    let double = Double::default();
    let script = "
        S: 220 mx.example ESMTP Vulcan
        C: EHLO relay
        S: 250-mx.example
        S: 250-PIPELINING
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-ENHANCEDSTATUSCODES
        S: 250-DSN
        S: 250-SIZE 1000
        S: 250-AUTH PLAIN LOGIN
        S: 250 XCLIENT NAME ADDR PORT PROTO HELO
        C: AUTH PLAIN AHVzZXIAcGFzcw==
        S: 235 2.7.0 Authentication successful
        C: XCLIENT NAME=c.example ADDR=198.51.100.7 PORT=4000 PROTO=ESMTP HELO=c.example
        S: 220 mx.example ESMTP Vulcan
        C: MAIL FROM:<a@b>
        S: 503 5.5.1 Send HELO or EHLO first
        C: HELO other
        S: 250 mx.example
        C: MAIL FROM:<a@b>
        C: RCPT TO:<b@guarded.example>
        C: RCPT TO:<b@example.com>
        S: 250 2.1.0 Ok
        S: 530 5.7.0 AUTH first
        S: 250 2.1.5 Ok
        C: DATA
        S: 354 End data with <CR><LF>.<CR><LF>
        C: .
        S: 250 2.0.0 Ok
        C: XCLIENT ADDR=198.51.100.8
        S: 550 5.7.1 XCLIENT is not for you
        C: EHLO spoken-for
        S: 250-mx.example
        S: 250-PIPELINING
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-ENHANCEDSTATUSCODES
        S: 250-DSN
        S: 250-SIZE 1000
        S: 250 AUTH PLAIN LOGIN";
    double.plays_with(trusted(), script).await;
    let mails = double.mails.take();
    assert_eq!(mails[0].envelope.visitor.client.to_string(), "198.51.100.7");
    assert_eq!(mails[0].envelope.visitor.helo, "other");
}

const HEADER: &[u8] = b"PROXY TCP4 198.51.100.7 10.0.0.1 4000 25\r\n";
const MAIL: &[u8] = b"HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n.\r\nQUIT\r\n";

#[tokio::test(start_paused = true)]
async fn a_balancer_says_whose_connection_it_passes_on() {
    let double = Double::default();
    let whole = [HEADER, MAIL].concat();
    for cut in 0..=whole.len() {
        let (before, after) = whole.split_at(cut);
        let told = double.answers_to(trusted(), &[before, after]).await;
        assert!(told.ends_with("221 2.0.0 Bye\r\n"), "at {cut}: {told}");
        assert_eq!(
            double.mails.take()[0].envelope.visitor.client.to_string(),
            "198.51.100.7"
        );
    }
    let told = double.answers_to(trusted(), &[MAIL]).await;
    assert!(told.ends_with("221 2.0.0 Bye\r\n"));
    assert_eq!(
        double.mails.take()[0].envelope.visitor.client,
        trusted().address,
        "it speaks for itself"
    );
    let told = double.answers_to(trusted(), &[b"PROXY TCP4 x y 1 2\r\n", MAIL]).await;
    assert_eq!(told, "220 mx.example ESMTP Vulcan\r\n");
    // Only at the beginning, and only once.
    for late in [[b"NOOP\r\n", HEADER].concat(), [HEADER, HEADER].concat()] {
        let told = double.answers_to(trusted(), &[&late, MAIL]).await;
        assert!(told.ends_with("500 5.7.0 This is a mail server\r\n"), "{told}");
    }
    assert!(double.mails.take().is_empty());
}

/// What a balancer passes on after its header is a stranger's.
#[tokio::test(start_paused = true)]
async fn who_is_spoken_for_speaks_for_nobody() {
    let double = Double::default();
    let told = double
        .answers_to(trusted(), &[HEADER, b"XCLIENT ADDR=192.0.2.9\r\n", MAIL])
        .await;
    assert!(told.contains("550 5.7.1 XCLIENT is not for you\r\n"), "{told}");
    assert_eq!(
        double.mails.take()[0].envelope.visitor.client.to_string(),
        "198.51.100.7"
    );
    let script = "
        S: 220 mx.example ESMTP Vulcan
        C: XCLIENT LOGIN=admin
        S: 501 5.5.4 An attribute is not valid
        C: HELO relay
        S: 250 mx.example
        C: MAIL FROM:<a@b>
        S: 250 2.1.0 Ok
        C: XCLIENT ADDR=198.51.100.8
        S: 503 5.5.1 A transaction is under way
        C: RSET
        S: 250 2.0.0 Ok
        C: XCLIENT HELO=other
        S: 220 mx.example ESMTP Vulcan
        C: XCLIENT ADDR=198.51.100.8
        S: 220 mx.example ESMTP Vulcan
        C: XCLIENT ADDR=192.0.2.9
        S: 550 5.7.1 XCLIENT is not for you";
    double.plays_with(trusted(), script).await;
}

const NAMELESS: [&[u8]; 3] = [
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x10\0\0\x19",
];
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// It is a stranger's all the same if the balancer does not know whose.
#[tokio::test(start_paused = true)]
async fn who_has_no_name_speaks_for_nobody_and_shares_its_places() {
    let double = Double::default();
    let xclient: &[u8] = b"XCLIENT ADDR=198.51.100.7\r\n";
    for header in NAMELESS {
        let told = double.answers_to(trusted(), &[header, xclient, MAIL]).await;
        assert!(told.contains("550 5.7.1 XCLIENT is not for you\r\n"), "{told}");
        assert_eq!(double.mails.take()[0].envelope.visitor.client, trusted().address);
    }
    double.answers_to(trusted(), &[LOCAL, xclient, MAIL]).await;
    assert_eq!(
        double.mails.take()[0].envelope.visitor.client.to_string(),
        "198.51.100.7",
        "the balancer itself"
    );
    let _places: Vec<_> = (0..CONNECTIONS_MAX)
        .map(|_| double.clients.connect(trusted().address))
        .collect();
    for header in NAMELESS {
        let told = double.answers_to(trusted(), &[header, MAIL]).await;
        assert!(
            told.ends_with("421 4.7.0 Too many connections from your address\r\n"),
            "{told}"
        );
    }
    let told = double.answers_to(trusted(), &[LOCAL, MAIL]).await;
    assert!(told.ends_with("221 2.0.0 Bye\r\n"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn those_who_are_spoken_for_have_so_many_connections_each() {
    let double = Double::default();
    let spoken_for = "198.51.100.7".parse().unwrap();
    let places: Vec<_> = (0..CONNECTIONS_MAX)
        .map(|_| double.clients.connect(spoken_for))
        .collect();
    assert!(places.iter().all(Option::is_some));
    let too_many = "421 4.7.0 Too many connections from your address\r\n";
    let told = double.answers_to(trusted(), &[HEADER, MAIL]).await;
    assert!(told.ends_with(too_many), "{told}");
    let told = double
        .answers_to(trusted(), &[b"XCLIENT ADDR=198.51.100.7\r\n", MAIL])
        .await;
    assert!(told.ends_with(too_many), "{told}");
    drop(places);
    let told = double.answers_to(trusted(), &[HEADER, MAIL]).await;
    assert!(told.ends_with("221 2.0.0 Bye\r\n"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_stranger_speaks_for_itself() {
    let double = Double::default();
    let script = "
        S: 220 mx.example ESMTP Vulcan
        C: HELO stranger
        S: 250 mx.example
        C: XCLIENT ADDR=198.51.100.7
        S: 550 5.7.1 XCLIENT is not for you
        C: MAIL FROM:<a@b>
        C: RCPT TO:<b@example.com>
        C: DATA
        S: 250 2.1.0 Ok
        S: 250 2.1.5 Ok
        S: 354 End data with <CR><LF>.<CR><LF>
        C: .
        S: 250 2.0.0 Ok
        C: PROXY TCP4 198.51.100.7 10.0.0.1 4000 25
        S: 500 5.7.0 This is a mail server
        E";
    double.plays(script).await;
    assert_eq!(double.mails.take()[0].envelope.visitor.client, stranger().address);
}
