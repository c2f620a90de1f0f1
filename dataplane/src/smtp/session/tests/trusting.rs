use super::stage::{Double, stranger, trusted};

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
        C: XCLIENT ADDR=198.51.100.8
        S: 503 5.5.1 A transaction is under way
        C: DATA
        S: 354 End data with <CR><LF>.<CR><LF>
        C: .
        S: 250 2.0.0 Ok
        C: XCLIENT LOGIN=admin
        S: 501 5.5.4 An attribute is not valid";
    double.plays_with(trusted(), script).await;
    let mails = double.mails.take();
    assert_eq!(mails[0].envelope.visitor.client.to_string(), "198.51.100.7");
    assert_eq!(mails[0].envelope.visitor.helo, "other");
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
