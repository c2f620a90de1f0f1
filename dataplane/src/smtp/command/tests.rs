use super::*;
use crate::smtp::{Mailbox, Notification};

fn mail_of(line: &str) -> Result<Mail, Reply> {
    match parse(line.as_bytes())? {
        Command::Mail(mail) => Ok(mail),
        other => panic!("{other:?}"),
    }
}

fn recipient_of(line: &str) -> Result<Recipient, Reply> {
    match parse(line.as_bytes())? {
        Command::Recipient(recipient) => Ok(recipient),
        other => panic!("{other:?}"),
    }
}

#[test]
fn verbs_are_read_in_any_case_and_with_blanks_behind_them() {
    let hello = |name, is_extended| Ok(Command::Hello { name, is_extended });
    let auth = |mechanism, initial| Ok(Command::Auth { mechanism, initial });
    let table = [
        ("EHLO client.example", hello("client.example", true)),
        ("helo [192.0.2.1]  ", hello("[192.0.2.1]", false)),
        ("EHLO bücher.example", hello("bücher.example", true)),
        ("EHLO my_pc", hello("my_pc", true)),
        ("EHLO", Err(replies::BAD_NAME)),
        ("EHLO a b", Err(replies::BAD_NAME)),
        ("EHLO a)", Err(replies::BAD_NAME)),
        ("EHLO a@b", Err(replies::BAD_NAME)),
        ("DATA", Ok(Command::Data)),
        ("data  ", Ok(Command::Data)),
        ("DATA now", Err(replies::NEEDLESS_ARGUMENT)),
        ("RSET", Ok(Command::Reset)),
        ("NOOP anything", Ok(Command::Noop)),
        ("QUIT", Ok(Command::Quit)),
        ("VRFY someone", Ok(Command::Verify)),
        ("HELP", Ok(Command::Help)),
        ("STARTTLS", Ok(Command::StartTls)),
        ("STARTTLS x", Err(replies::NEEDLESS_ARGUMENT)),
        ("AUTH PLAIN", auth("PLAIN", None)),
        ("AUTH login dXNlcg==", auth("login", Some("dXNlcg=="))),
        ("AUTH PLAIN =", auth("PLAIN", Some("="))),
        ("AUTH", Err(replies::AUTH_MALFORMED)),
        ("AUTH PLAIN a b", Err(replies::AUTH_MALFORMED)),
        ("XCLIENT ADDR=1.2.3.4", Ok(Command::Xclient("ADDR=1.2.3.4"))),
        ("EXPN list", Err(replies::NOT_IMPLEMENTED)),
        ("BDAT 3 LAST", Err(replies::NO_CHUNKING)),
        ("GET / HTTP/1.1", Err(replies::NOT_MAIL)),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2", Err(replies::NOT_MAIL)),
        ("", Err(replies::UNKNOWN)),
        ("HELLO x", Err(replies::UNKNOWN)),
        ("NOOP\t", Err(replies::CONTROLS)),
        ("EHLO a\u{85}b", Err(replies::CONTROLS)),
        ("EHLO a\u{7f}", Err(replies::CONTROLS)),
    ];
    for (line, expected) in table {
        assert_eq!(parse(line.as_bytes()), expected, "{line}");
    }
    assert_eq!(parse(b"EHLO \xff"), Err(replies::CONTROLS));
    let long = format!("EHLO {}", "a".repeat(256));
    assert_eq!(parse(long.as_bytes()), Err(replies::BAD_NAME));
}

#[test]
fn addresses_are_kept_as_sent() {
    let long = format!("{}@example.com", "a".repeat(256));
    let kept = [
        "a@b",
        "first.last+tag=x@sub.example.com",
        "a..b.@example.com",
        r#""with space"@example.com"#,
        r#""a@b"@example.com"#,
        r#""a>\"\\"@example.com"#,
        r#"""@example.com"#,
        "user@[192.0.2.1]",
        "user@[IPv6:2001:db8::1]",
        "jörg@bücher.example",
        &long,
    ];
    for address in kept {
        let read = recipient_of(&format!("RCPT TO:<{address}>"));
        assert_eq!(read.unwrap().mailbox, Mailbox::of(address), "{address}");
        let read = mail_of(&format!("mail from: <{address}> SMTPUTF8"));
        assert_eq!(read.unwrap().sender, ReversePath::Of(Mailbox::of(address)), "{address}");
    }
    assert_eq!(mail_of("MAIL FROM:<>").unwrap().sender, ReversePath::Null);
    let routed = recipient_of("RCPT TO:<@one.example,@[192.0.2.1]:a@b>").unwrap();
    assert_eq!(routed.mailbox.as_str(), "a@b");
    let postmaster = recipient_of("RCPT TO:<PostMaster>").unwrap();
    assert_eq!(
        (postmaster.mailbox.local(), postmaster.mailbox.domain()),
        ("PostMaster", "")
    );
    let quoted = recipient_of(r#"RCPT TO:<"a@b"@c>"#).unwrap();
    assert_eq!((quoted.mailbox.local(), quoted.mailbox.domain()), (r#""a@b""#, "c"));
}

#[test]
fn what_is_no_address_is_refused() {
    let long = format!("<{}@example.com>", "a".repeat(257));
    let deep = format!("<a@{}example>", "label.".repeat(50));
    let refused = [
        "",
        "a@b",
        "<a@b",
        "<a>",
        "<@b>",
        "<a@>",
        "<a@b@c>",
        "<a b@c>",
        "<a@b c>",
        "<a@.b>",
        "<a@b..c>",
        "<a@b.>",
        "<a,b@c>",
        "<\"a@b>",
        "<\"a\"b@c>",
        "<\"a\\\"@b>",
        "<a@[1.2.3]>",
        "<a@[IPv6:x]>",
        "<a@[x]y>",
        "<a@(b)>",
        "<a<b@c>",
        "<@one:>",
        "<@one,two:a@b>",
        "<root>",
        &long,
        &deep,
    ];
    for path in refused {
        let read = recipient_of(&format!("RCPT TO:{path}"));
        assert_eq!(read, Err(replies::BAD_RECIPIENT), "{path}");
        let read = mail_of(&format!("MAIL FROM:{path}"));
        assert_eq!(read, Err(replies::BAD_SENDER), "{path}");
    }
    assert_eq!(recipient_of("RCPT TO:<>"), Err(replies::BAD_RECIPIENT));
    assert_eq!(mail_of("MAIL FROM:<postmaster>"), Err(replies::BAD_SENDER));
    assert_eq!(mail_of("MAIL TO:<a@b>"), Err(replies::BAD_SENDER));
    assert_eq!(mail_of("MAIL FROM:<jörg@b>"), Err(replies::NEEDS_UTF8));
}

#[test]
fn parameters_are_read_once_each() {
    let mail = mail_of("MAIL FROM:<a@b> size=1000 BODY=8bitmime SMTPUTF8 AUTH=<> RET=HDRS ENVID=QQ+2B314").unwrap();
    let expected = Mail {
        sender: ReversePath::Of(Mailbox::of("a@b")),
        size: Some(1000),
        body: BodyType::EightBitMime,
        is_utf8: true,
        ret: Some("HDRS".into()),
        envid: Some("QQ+2B314".into()),
    };
    assert_eq!(mail, expected);
    let size = mail_of("MAIL FROM:<a@b> SIZE=99999999999999999999").unwrap().size;
    assert_eq!(size, Some(u64::MAX));
    let recipient = recipient_of("RCPT TO:<a@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c").unwrap();
    let expected = Notification {
        notify: Some("SUCCESS,DELAY".into()),
        original: Some("rfc822;a+2Bb@c".into()),
    };
    assert_eq!(recipient.notification, expected);
}

#[test]
fn parameters_that_are_not_valid_are_refused() {
    let envid = format!("ENVID={}", "a".repeat(101));
    for parameter in [
        "SIZE",
        "SIZE=",
        "SIZE=1k",
        "SIZE=-1",
        "SIZE=1 SIZE=1",
        "BODY=BINARYMIME",
        "BODY",
        "SMTPUTF8=1",
        "AUTH",
        "AUTH=a=b",
        "RET=ALL",
        "ENVID=",
        "ENVID=+2",
        &envid,
    ] {
        let read = mail_of(&format!("MAIL FROM:<a@b> {parameter}"));
        assert_eq!(read, Err(replies::BAD_PARAMETER), "{parameter}");
    }
    for parameter in [
        "NOTIFY=",
        "NOTIFY=NEVER,DELAY",
        "NOTIFY=LATER",
        "ORCPT=a@b",
        "ORCPT=;a",
        "ORCPT=rfc822;",
    ] {
        let read = recipient_of(&format!("RCPT TO:<a@b> {parameter}"));
        assert_eq!(read, Err(replies::BAD_PARAMETER), "{parameter}");
    }
    assert_eq!(mail_of("MAIL FROM:<a@b>SIZE=1"), Err(replies::BAD_PARAMETER));
    assert_eq!(
        mail_of("MAIL FROM:<a@b> MT-PRIORITY=3"),
        Err(replies::UNKNOWN_PARAMETER)
    );
    assert_eq!(recipient_of("RCPT TO:<a@b> SIZE=1"), Err(replies::UNKNOWN_PARAMETER));
}
