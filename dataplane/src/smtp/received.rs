//! What is put before a message: who brought it, when (RFC 5321, 4.4), and, where nobody vouches for it, whom it names as
//! its sender.

use std::net::IpAddr;
use std::time::SystemTime;

use super::{Envelope, ReversePath, Visitor};

/// A name in a field of ours is no longer: lines are to have at most 998 bytes (RFC 5322, 2.1.1).
const NAME_BYTES_MAX: usize = 255;

/// `hostname`: ours. `id`: under which the message is spoken of in logs.
pub fn trace(envelope: &Envelope, hostname: &str, id: &str, at: SystemTime) -> String {
    let visitor = &envelope.visitor;
    let mut fields = String::new();
    if visitor.credentials.is_none() {
        let sender = match &envelope.sender {
            ReversePath::Null => "<>",
            ReversePath::Of(mailbox) => mailbox.as_str(),
        };
        fields += &format!("X-Envelope-From: {}\r\n", inert(sender));
    }
    fields += &format!(
        "Received: from {} ({})\r\n\tby {} with {} id {id}",
        atom(&visitor.helo),
        literal(visitor.client),
        atom(hostname),
        with(envelope),
    );
    if let Some(tls) = &visitor.tls {
        fields += &format!("\r\n\t({} {})", tls.protocol, tls.cipher);
    }
    // Of several none is named: they are not to hear of each other.
    if let [recipient] = &*envelope.recipients
        && recipient.mailbox.as_str().len() <= NAME_BYTES_MAX
    {
        fields += &format!("\r\n\tfor <{}>", inert(recipient.mailbox.as_str()));
    }
    fields + &format!(";\r\n\t{}\r\n", date(at))
}

/// RFC 3848, and RFC 6531, 4.3
fn with(envelope: &Envelope) -> String {
    let visitor: &Visitor = &envelope.visitor;
    if !visitor.is_extended {
        return "SMTP".to_owned();
    }
    let base = if envelope.is_utf8 { "UTF8SMTP" } else { "ESMTP" };
    let secured = if visitor.tls.is_some() { "S" } else { "" };
    let authenticated = if visitor.credentials.is_some() { "A" } else { "" };
    format!("{base}{secured}{authenticated}")
}

/// RFC 5322, 3.3
fn date(at: SystemTime) -> String {
    httpdate::fmt_http_date(at).replace("GMT", "+0000")
}

/// RFC 5321, 4.1.3
fn literal(client: IpAddr) -> String {
    match client.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// A domain or an address literal; what is in neither, and could end a word, does not get there.
fn atom(name: &str) -> String {
    let is_harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    let chars = name.chars().take(NAME_BYTES_MAX);
    match name {
        "" => "unknown".to_owned(),
        _ => chars.map(|c| if is_harmless(c) { c } else { '?' }).collect(),
    }
}

/// Controls never come so far; a field could begin behind one.
fn inert(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixture::{envelope, recipient};
    use super::super::{ReversePath, Tls};
    use super::*;

    fn traced(envelope: &Envelope) -> String {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        trace(envelope, "mail.example.net", "1a2b", at)
    }

    #[test]
    fn it_says_who_brought_it_how_to_whom_and_when() {
        let mut envelope = envelope("a@example.com", &["b@example.org"]);
        assert_eq!(
            traced(&envelope),
            "Received: from client.example ([192.0.2.1])\r\n\tby mail.example.net with ESMTPA id 1a2b\r\n\
             \tfor <b@example.org>;\r\n\tFri, 15 Jan 2027 08:00:00 +0000\r\n"
        );
        envelope.recipients.push(recipient("c@example.org"));
        assert!(
            !traced(&envelope).contains("example.org"),
            "a blind copy is nobody's business"
        );
    }

    #[test]
    fn a_sender_whom_nobody_vouches_for_is_named() {
        let mut envelope = envelope("a@example.com", &["b@example.org"]);
        envelope.visitor_mut().credentials = None;
        assert!(traced(&envelope).starts_with("X-Envelope-From: a@example.com\r\nReceived: "));
        envelope.sender = ReversePath::Null;
        assert!(traced(&envelope).starts_with("X-Envelope-From: <>\r\n"));
    }

    #[test]
    fn every_way_has_its_registered_name() {
        let mut envelope = envelope("a@example.com", &["b@example.org"]);
        let tls = Tls {
            protocol: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384",
        };
        for (is_extended, is_utf8, is_tls, is_authenticated, expected) in [
            (false, false, true, false, " with SMTP id"),
            (true, false, false, false, " with ESMTP id"),
            (true, false, true, false, " with ESMTPS id"),
            (true, false, true, true, " with ESMTPSA id"),
            (true, true, false, false, " with UTF8SMTP id"),
            (true, true, true, true, " with UTF8SMTPSA id"),
        ] {
            envelope.is_utf8 = is_utf8;
            let visitor = envelope.visitor_mut();
            visitor.is_extended = is_extended;
            visitor.tls = is_tls.then(|| tls.clone());
            if !is_authenticated {
                visitor.credentials = None;
            } else {
                visitor.credentials = super::super::fixture::credentials();
            }
            let text = traced(&envelope);
            assert!(text.contains(expected), "{text}");
            assert_eq!(text.contains("\r\n\t(TLSv1.3 TLS_AES_256_GCM_SHA384)"), is_tls);
        }
    }

    #[test]
    fn nothing_that_a_client_says_begins_a_field_or_a_word() {
        let mut envelope = envelope("a@example.com", &["b@example.org"]);
        let visitor = envelope.visitor_mut();
        visitor.helo = "x; (y)\r\nBcc: z".to_owned();
        visitor.client = "2001:db8::1".parse().unwrap();
        let text = traced(&envelope);
        assert!(
            text.contains("from x???y???Bcc:?z ([IPv6:2001:db8::1])\r\n\tby"),
            "{text}"
        );
        envelope.visitor_mut().helo = "ä".repeat(2_000);
        assert!(traced(&envelope).lines().all(|line| line.len() <= 998));
        envelope.visitor_mut().helo = String::new();
        assert!(traced(&envelope).contains("from unknown ("));
    }
}
