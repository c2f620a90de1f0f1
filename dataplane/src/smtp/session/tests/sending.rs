use super::stage::Double;
use crate::smtp::{BodyType, Reply, ReversePath};

#[tokio::test(start_paused = true)]
async fn a_client_is_told_what_it_may_do_and_sends_a_message() {
    let double = Double::default();
    let script = "
        S: 220 mx.example ESMTP Vulcan
        C: EHLO client.example
        S: 250-mx.example
        S: 250-PIPELINING
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-ENHANCEDSTATUSCODES
        S: 250-DSN
        S: 250 SIZE 1000
        C: MAIL FROM:<a@sender.example> SIZE=20 BODY=8BITMIME RET=HDRS ENVID=x
        S: 250 2.1.0 Ok
        C: RCPT TO:<one@example.com> NOTIFY=NEVER
        S: 250 2.1.5 Ok
        C: RCPT TO:<\"two\"@example.com>
        S: 250 2.1.5 Ok
        C: DATA
        S: 354 End data with <CR><LF>.<CR><LF>
        C: Subject: x
        C:
        C: ..dot
        C: .
        S: 250 2.0.0 Ok
        C: QUIT
        S: 221 2.0.0 Bye
        E";
    double.plays(script).await;
    let asked = [
        "admit one@example.com",
        "admit \"two\"@example.com",
        "readmit one@example.com of 20",
        "readmit \"two\"@example.com of 20",
    ];
    assert_eq!(double.asked(), asked);
    let mails = double.mails.take();
    let [mail] = mails.as_slice() else { panic!("one mail") };
    assert_eq!(mail.message, b"Subject: x\r\n\r\n.dot\r\n");
    let envelope = &mail.envelope;
    assert_eq!(envelope.sender.as_str(), "a@sender.example");
    assert_eq!((envelope.size, envelope.body), (Some(20), BodyType::EightBitMime));
    assert_eq!(
        (envelope.ret.as_deref(), envelope.envid.as_deref()),
        (Some("HDRS"), Some("x"))
    );
    assert_eq!(envelope.recipients[0].notification.notify.as_deref(), Some("NEVER"));
    assert_eq!(envelope.recipients[1].mailbox.as_str(), "\"two\"@example.com");
    assert_eq!(envelope.visitor.helo, "client.example");
    assert!(envelope.visitor.is_extended && envelope.visitor.credentials.is_none());
}

#[tokio::test(start_paused = true)]
async fn pipelined_commands_are_answered_in_their_order() {
    let double = Double::default();
    let script = "
        S: 220 mx.example ESMTP Vulcan
        C: HELO client
        C: MAIL FROM:<>
        C: RCPT TO:<a@nowhere.example>
        C: RCPT TO:<b@example.com>
        C: RCPT TO:<c@other.example>
        C: NOOP
        C: DATA
        S: 250 mx.example
        S: 250 2.1.0 Ok
        S: 550 5.7.1 No such domain
        S: 250 2.1.5 Ok
        S: 452 4.5.3 Another service
        S: 250 2.0.0 Ok
        S: 354 End data with <CR><LF>.<CR><LF>
        C: one
        C: .
        C: MAIL FROM:<a@b>
        C: RCPT TO:<b@example.com>
        C: DATA
        S: 250 2.0.0 Ok
        S: 250 2.1.0 Ok
        S: 250 2.1.5 Ok
        S: 354 End data with <CR><LF>.<CR><LF>
        C: two
        C: .
        C: QUIT
        S: 250 2.0.0 Ok
        S: 221 2.0.0 Bye
        E";
    double.plays(script).await;
    let mails = double.mails.take();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].envelope.sender, ReversePath::Null);
    assert_eq!(mails[0].envelope.recipients.len(), 1);
    assert!(!mails[0].envelope.visitor.is_extended);
}

#[tokio::test(start_paused = true)]
async fn what_is_out_of_order_is_asked_of_nobody() {
    let double = Double::default();
    let script = "
        S: 220 mx.example ESMTP Vulcan
        C: MAIL FROM:<a@b>
        S: 503 5.5.1 Send HELO or EHLO first
        C: RCPT TO:<b@example.com>
        S: 503 5.5.1 Send MAIL first
        C: DATA
        S: 503 5.5.1 Send MAIL first
        C: HELO client
        S: 250 mx.example
        C: RCPT TO:<b@example.com>
        S: 503 5.5.1 Send MAIL first
        C: MAIL FROM:<a@b>
        S: 250 2.1.0 Ok
        C: MAIL FROM:<a@b>
        S: 503 5.5.1 A transaction is under way
        C: RSET
        S: 250 2.0.0 Ok
        C: RCPT TO:<b@example.com>
        S: 503 5.5.1 Send MAIL first
        C: VRFY someone
        S: 252 2.0.0 Send mail and see
        C: HELP
        S: 214 2.0.0 See RFC 5321
        C: EXPN list
        S: 502 5.5.1 Command not implemented
        C: BDAT 4 LAST
        S: 502 5.5.1 BDAT is not offered
        E";
    double.plays(script).await;
    assert_eq!(double.asked(), [""; 0]);
    // A transaction that another one, or an EHLO, has taken the place of.
    let script = "
        S: 220 mx.example ESMTP Vulcan
        C: HELO client
        S: 250 mx.example
        C: MAIL FROM:<a@b>
        S: 250 2.1.0 Ok
        C: DATA
        S: 554 5.5.1 No valid recipients
        C: RCPT TO:<b@example.com>
        S: 250 2.1.5 Ok
        C: HELO again
        S: 250 mx.example
        C: DATA
        S: 503 5.5.1 Send MAIL first
        C: MAIL FROM:<a@b>
        S: 250 2.1.0 Ok";
    double.plays(script).await;
}

const BEGINNING: &str = "
        S: 220 mx.example ESMTP Vulcan
        C: HELO client
        C: MAIL FROM:<a@b>
        S: 250 mx.example
        S: 250 2.1.0 Ok";

#[tokio::test(start_paused = true)]
async fn messages_that_are_refused_are_read_to_their_end() {
    let double = Double {
        bytes_max: 10,
        room: 8,
        ..Double::default()
    };
    let script = format!(
        "{BEGINNING}
        C: RCPT TO:<b@example.com>
        C: DATA
        S: 250 2.1.5 Ok
        S: 354 End data with <CR><LF>.<CR><LF>
        C: 123456789
        C: MAIL FROM:<c@d>
        C: .
        S: 552 5.3.4 The message is too large
        C: MAIL FROM:<a@b> SIZE=11
        S: 552 5.3.4 The message is too large
        C: MAIL FROM:<a@b>
        C: RCPT TO:<b@example.com>
        C: DATA
        S: 250 2.1.0 Ok
        S: 250 2.1.5 Ok
        S: 354 End data with <CR><LF>.<CR><LF>
        C: 1234567
        C: .
        S: 452 4.3.1 No room for the message, try again later
        C: MAIL FROM:<a@b>
        C: RCPT TO:<b@full.example>
        C: DATA
        S: 250 2.1.0 Ok
        S: 250 2.1.5 Ok
        S: 354 End data with <CR><LF>.<CR><LF>
        C: 1
        C: .
        S: 451 4.7.1 Limit"
    );
    double.plays(&script).await;
    assert!(double.mails.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_application_has_the_last_word() {
    let double = Double::default();
    for (reply, line) in [
        (Reply::new(550, "5.1.1", "Unknown"), "550 5.1.1 Unknown"),
        (Reply::new(451, "4.4.1", "Nobody there"), "451 4.4.1 Nobody there"),
        (Reply::closing(421, "4.7.1", "Later"), "421 4.7.1 Later\nE"),
    ] {
        *double.answer.borrow_mut() = reply;
        let script = format!(
            "{BEGINNING}
            C: RCPT TO:<b@example.com>
            C: DATA
            S: 250 2.1.5 Ok
            S: 354 End data with <CR><LF>.<CR><LF>
            C: .
            S: {line}"
        );
        double.plays(&script).await;
        assert_eq!(double.messages(), [""]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_has_so_many_recipients_refusals_and_errors() {
    let double = Double::default();
    let accepted = "C: RCPT TO:<b@example.com>\n S: 250 2.1.5 Ok\n".repeat(100);
    let script = format!(
        "{BEGINNING}
        {accepted}
        C: RCPT TO:<b@example.com>
        S: 452 4.5.3 Too many recipients
        C: DATA
        S: 354 End data with <CR><LF>.<CR><LF>
        C: .
        S: 250 2.0.0 Ok"
    );
    double.plays(&script).await;
    assert_eq!(double.mails.take()[0].envelope.recipients.len(), 100);
    // A long list is heard out, and one without an end is not.
    let surplus = "C: RCPT TO:<b@example.com>\n S: 452 4.5.3 Too many recipients\n".repeat(999);
    let script = format!(
        "{BEGINNING}
        {accepted}
        {surplus}
        C: DATA
        S: 354 End data with <CR><LF>.<CR><LF>
        C: .
        S: 250 2.0.0 Ok
        C: MAIL FROM:<a@b>
        S: 250 2.1.0 Ok
        {accepted}
        {surplus}
        C: RSET
        S: 250 2.0.0 Ok
        C: MAIL FROM:<a@b>
        C: RCPT TO:<b@example.com>
        C: RCPT TO:<b@other.example>
        S: 250 2.1.0 Ok
        S: 250 2.1.5 Ok
        S: 452 4.5.3 Another service
        S: 421 4.7.0 Too many recipients were refused
        E"
    );
    double.plays(&script).await;
    assert_eq!(double.mails.take().len(), 1);
    let senders = "C: MAIL FROM:<a@b> SIZE=1001\n S: 552 5.3.4 The message is too large\n".repeat(10);
    double
        .plays(&format!(
            "S: 220 mx.example ESMTP Vulcan
            C: HELO client
            S: 250 mx.example
            {senders}
            S: 421 4.7.0 Too many errors
            E"
        ))
        .await;
    let refused = "C: RCPT TO:<b@nowhere.example>\n S: 550 5.7.1 No such domain\n".repeat(100);
    let script = format!(
        "{BEGINNING}
        {refused}
        S: 421 4.7.0 Too many recipients were refused
        E"
    );
    double.plays(&script).await;
    let errors = "C: WHAT\n S: 500 5.5.2 Command not recognized\n".repeat(10);
    let script = format!(
        "S: 220 mx.example ESMTP Vulcan
        {errors}
        S: 421 4.7.0 Too many errors
        E"
    );
    double.plays(&script).await;
    // What one has no right to, as often as one likes.
    let denied = "C: XCLIENT ADDR=192.0.2.9\n S: 550 5.7.1 XCLIENT is not for you\n".repeat(10);
    let script = format!(
        "S: 220 mx.example ESMTP Vulcan
        {denied}
        S: 421 4.7.0 Too many errors
        E"
    );
    double.plays(&script).await;
    let empty = "C: DATA\n S: 554 5.5.1 No valid recipients\n".repeat(109);
    let script = format!(
        "S: 220 mx.example ESMTP Vulcan
        C: HELO client
        S: 250 mx.example
        C: MAIL FROM:<a@b>
        S: 250 2.1.0 Ok
        {empty}
        S: 421 4.7.0 Too many errors
        E"
    );
    double.plays(&script).await;
    let idle = "C: NOOP\n S: 250 2.0.0 Ok\n".repeat(110);
    let script = format!(
        "S: 220 mx.example ESMTP Vulcan
        {idle}
        S: 421 4.7.0 Too many errors
        E"
    );
    double.plays(&script).await;
}

#[tokio::test(start_paused = true)]
async fn addresses_beyond_ascii_are_for_transactions_that_say_so() {
    let double = Double::default();
    let script = format!(
        "{BEGINNING}
        C: RCPT TO:<jörg@example.com>
        S: 553 5.6.7 The address needs SMTPUTF8
        C: RSET
        C: MAIL FROM:<jörg@example.com>
        C: MAIL FROM:<jörg@example.com> SMTPUTF8
        C: RCPT TO:<jörg@example.com>
        S: 250 2.0.0 Ok
        S: 553 5.6.7 The address needs SMTPUTF8
        S: 250 2.1.0 Ok
        S: 250 2.1.5 Ok"
    );
    double.plays(&script).await;
    assert_eq!(double.asked(), ["admit jörg@example.com"]);
}
