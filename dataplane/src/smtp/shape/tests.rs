use std::time::Duration;

use super::super::fixture::{envelope, recipient};
use super::super::{ReversePath, Tls};
use super::*;
use crate::authorizer::Grant;

const START: &[u8] = b"From: Ann <a@example.com>\r\nSubject: hi\r\n\r\nhello";

fn shaped(envelope: &Envelope, shape: Shape, signing: Option<&Signing>) -> Result<Shaped, Unspeakable> {
    let letter = Letter {
        envelope,
        trace: "Received: here\r\n",
        start: START,
        signing,
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
    };
    letter.shaped(shape)
}

/// The body around `{}`, with `B` for the boundary, which stands in the head.
fn body(shaped: &Shaped) -> String {
    let content_type = shaped.headers["content-type"].to_str().unwrap();
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
    assert!(boundary.len() >= 32);
    let text = [&shaped.before[..], b"{}", &shaped.after[..]].concat();
    String::from_utf8(text).unwrap().replace(boundary, "B")
}

fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    let text = |value: &HeaderValue| String::from_utf8(value.as_bytes().to_vec()).unwrap();
    headers.get_all(name).iter().map(text).collect()
}

#[test]
fn submit_names_each_recipient_and_carries_the_message_as_a_file() {
    let envelope = envelope("a@example.com", &["\"b, c\"@example.org", "grüße@example.org"]);
    let shaped = shaped(&envelope, Shape::Submit, None).unwrap();
    let field =
        |name: &str, value: &str| format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let expected = [
        field("to", "\"b, c\"@example.org"),
        field("to", "grüße@example.org"),
        field("sender", "a@example.com"),
        "--B\r\nContent-Disposition: form-data; name=\"message\"; filename=\"message.eml\"\r\n\
         Content-Type: message/rfc822\r\n\r\nReceived: here\r\n{}\r\n--B--\r\n"
            .to_owned(),
    ];
    assert_eq!(body(&shaped), expected.concat());
}

#[test]
fn no_two_forms_have_the_same_boundary() {
    let envelope = envelope("a@example.com", &["b@example.org"]);
    let of = || shaped(&envelope, Shape::Submit, None).unwrap().headers["content-type"].clone();
    assert_ne!(of(), of());
}

#[tokio::test]
async fn mailgun_is_signed_and_ends_with_the_message_which_is_no_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "key").unwrap();
    let signing = Signing::read(file.path()).await.unwrap();
    let mut envelope = envelope("a@example.com", &["b@example.org", "c@example.org"]);
    envelope.sender = ReversePath::Null;
    let body = body(&shaped(&envelope, Shape::Mailgun, Some(&signing)).unwrap());
    let parts: Vec<(&str, &str)> = body
        .split("--B\r\nContent-Disposition: form-data; name=\"")
        .skip(1)
        .map(|part| part.split_once("\"\r\n\r\n").unwrap())
        .map(|(name, value)| (name, value.strip_suffix("\r\n").unwrap()))
        .collect();
    let (named, values): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    assert_eq!(
        named,
        [
            "recipient",
            "sender",
            "from",
            "subject",
            "timestamp",
            "token",
            "signature",
            "body-mime"
        ]
    );
    assert_eq!(
        values[..5],
        [
            "b@example.org, c@example.org",
            "",
            "Ann <a@example.com>",
            "hi",
            "1800000000"
        ]
    );
    assert_eq!(values[5].len(), 50);
    assert_eq!(values[6], signing.mailgun("1800000000", values[5]));
    assert_eq!(values[7], "Received: here\r\n{}\r\n--B--");
}

#[tokio::test]
async fn raw_is_the_message_with_its_envelope_in_the_head() {
    let mut envelope = envelope("a@example.com", &["b@example.org"]);
    let one = shaped(&envelope, Shape::Raw, None).unwrap();
    assert_eq!(all(&one.headers, "content-type"), ["message/rfc822"]);
    assert_eq!(one.before, "X-Original-To: b@example.org\r\nReceived: here\r\n");
    assert!(one.after.is_empty() && !one.headers.contains_key("authorization"));

    envelope.recipients.push(recipient("grüße@example.org"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "pass").unwrap();
    let signing = Signing::read(file.path()).await.unwrap();
    let two = shaped(&envelope, Shape::Raw, Some(&signing)).unwrap();
    assert_eq!(all(&two.headers, "x-envelope-from"), ["a@example.com"]);
    assert_eq!(all(&two.headers, "x-envelope-to"), ["b@example.org, grüße@example.org"]);
    assert_eq!(all(&two.headers, "authorization"), ["Basic YWN0aW9ubWFpbGJveDpwYXNz"]);
    assert_eq!(two.before, "Received: here\r\n", "recipients do not hear of each other");
}

#[test]
fn nothing_with_controls_is_put_into_any_shape() {
    for shape in [Shape::Submit, Shape::Mailgun, Shape::Raw] {
        for bad in ["a\r\nBcc: b@c", "a\nb@c", "a\tb@c", "a\0b@c", "a\u{85}b@c"] {
            assert!(
                shaped(&envelope("a@b", &["c@d", bad]), shape, None).is_err(),
                "{shape:?} {bad:?}"
            );
            assert!(
                shaped(&envelope(bad, &["c@d"]), shape, None).is_err(),
                "{shape:?} {bad:?}"
            );
        }
        assert!(shaped(&envelope("a@b", &["c@d"]), shape, None).is_ok());
    }
    let mut envelope = envelope("a@b", &["c@d"]);
    envelope.visitor_mut().helo = "x\r\nY: z".to_owned();
    assert!(common(&envelope, None, &HeaderValue::from_static("key")).is_err());
}

#[test]
fn the_head_says_who_sent_it_and_what_the_authorizer_gave() {
    let mut envelope = envelope("a@example.com", &["b@example.org", "c@example.org"]);
    let key = HeaderValue::from_static("key");
    let headers = common(&envelope, None, &key).unwrap();
    let told: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("idempotency-key", "key"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-vulcan-helo", "client.example")
        ]
    );

    envelope.visitor_mut().tls = Some(Tls {
        protocol: "TLSv1.3",
        cipher: "TLS_AES_256_GCM_SHA384",
    });
    envelope.ret = Some("HDRS".to_owned());
    envelope.envid = Some("QQ+3D".to_owned());
    envelope.recipients[1].notification.notify = Some("SUCCESS,DELAY".to_owned());
    envelope.recipients[1].notification.original = Some("rfc822;c+2Bd@example.org".to_owned());
    let grant = Grant {
        auth_token: Some(HeaderValue::from_static("token")),
        // One that is ours is ours all the same.
        copied: vec![
            (HeaderName::from_static("x-user"), HeaderValue::from_static("ann")),
            (IDEMPOTENCY_KEY, HeaderValue::from_static("other")),
        ],
        ..Grant::default()
    };
    let headers = common(&envelope, Some(&grant), &key).unwrap();
    assert_eq!(all(&headers, "x-vulcan-auth-token"), ["token"]);
    assert_eq!(all(&headers, "x-user"), ["ann"]);
    assert_eq!(all(&headers, "idempotency-key"), ["key"]);
    assert_eq!(all(&headers, "x-vulcan-tls"), ["TLSv1.3 TLS_AES_256_GCM_SHA384"]);
    assert_eq!(
        all(&headers, "x-vulcan-dsn"),
        ["MAIL RET=HDRS ENVID=QQ+3D, RCPT TO:<c@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c+2Bd@example.org"]
    );
}

/// Python's `http.server` takes 100 fields and Node 16 KiB; what is refused for that is returned to its sender.
#[test]
fn the_head_is_short_however_many_recipients_there_are() {
    let addresses: Vec<String> = (0..100).map(|n| format!("recipient-{n}@mail.example.org")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut envelope = envelope("a@example.com", &addresses);
    (envelope.ret, envelope.envid) = (Some("FULL".to_owned()), Some("x".repeat(100)));
    for (n, recipient) in envelope.recipients.iter_mut().enumerate() {
        recipient.notification.notify = Some("SUCCESS,FAILURE,DELAY".to_owned());
        recipient.notification.original = Some(format!("rfc822;{}-{n}@elsewhere.example", "x".repeat(400)));
    }
    envelope.recipients[99].notification.original = None;
    let key = HeaderValue::from_static("key");
    for shape in [Shape::Submit, Shape::Mailgun, Shape::Raw] {
        let mut headers = common(&envelope, None, &key).unwrap();
        headers.extend(shaped(&envelope, shape, None).unwrap().headers);
        let bytes: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        assert!(
            headers.len() < 30 && bytes < 8 * 1024,
            "{shape:?}: {} of {bytes}",
            headers.len()
        );
        let [asked] = &all(&headers, "x-vulcan-dsn")[..] else {
            panic!()
        };
        assert!(asked.starts_with("MAIL RET=FULL ENVID=x"), "{asked}");
        assert!(asked.contains(", RCPT TO:<recipient-0@mail.example.org> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;x"));
        assert!(asked.ends_with(", RCPT TO:<recipient-99@mail.example.org> NOTIFY=SUCCESS,FAILURE,DELAY"));
    }
}

#[test]
fn what_an_original_recipient_does_not_tell_is_left_out() {
    let mut envelope = envelope("a@example.com", &["b@example.org"]);
    for (original, expected) in [
        ("rfc822;b@example.org", None),
        ("RFC822;b@example.org", None),
        ("rfc822;\"b@example.org", None),
        (
            "rfc822;c@example.org",
            Some("RCPT TO:<b@example.org> ORCPT=rfc822;c@example.org"),
        ),
        (
            "utf-8;b@example.org",
            Some("RCPT TO:<b@example.org> ORCPT=utf-8;b@example.org"),
        ),
    ] {
        envelope.recipients[0].notification.original = Some(original.to_owned());
        assert_eq!(notifications(&envelope).as_deref(), expected, "{original}");
    }
}

#[test]
fn who_has_no_room_in_the_head_is_for_another_message() {
    let long = recipient(&format!("{}@{}.example", "x".repeat(256), "y".repeat(60)));
    let mut named = Vec::new();
    while has_room(Shape::Raw, &named, &long) {
        named.push(long.clone());
    }
    assert_eq!(named.len(), ENVELOPE_TO_BYTES_MAX / (long.mailbox.as_str().len() + 2));
    assert!(has_room(Shape::Submit, &named, &long) && has_room(Shape::Mailgun, &named, &long));
    assert!(has_room(Shape::Raw, &[], &recipient(&"x".repeat(5_000))));
}
