//! The `Idempotency-Key` of a message.

use http::HeaderValue;
use sha2::{Digest, Sha256};

use super::hex::hex;
use super::{Envelope, ReversePath, Spooled};

/// Of what would be the same if the client sent it again: its account, sender, recipients in order, and the bytes as they
/// came. 64 hexadecimal digits.
pub fn idempotency_key(envelope: &Envelope, message: &Spooled) -> Option<HeaderValue> {
    let mut digest = Sha256::new();
    let mut add = |text: &str| {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    };
    // Else one account could send what another one's message is then taken for.
    let credentials = envelope.visitor.credentials.as_ref();
    add(credentials.map_or("", |held| &held.username));
    add(match &envelope.sender {
        ReversePath::Null => "",
        ReversePath::Of(mailbox) => mailbox.as_str(),
    });
    for recipient in &envelope.recipients {
        add(recipient.mailbox.as_str());
    }
    digest.update(message.digest());
    HeaderValue::try_from(hex(&digest.finalize())).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::fixture::envelope;
    use super::super::spool::tests::spooled;
    use super::*;

    #[tokio::test]
    async fn a_message_has_the_same_key_when_it_is_sent_again_and_no_other_has() {
        let message = spooled(b"To: b\r\n\r\nhello\r\n").await;
        let first = envelope("a@example.com", &["b@example.org", "c@example.org"]);
        let key = idempotency_key(&first, &message).unwrap();
        assert_eq!(key.len(), 64);

        let mut again = first.clone();
        again.visitor_mut().client = [192, 0, 2, 99].into();
        again.visitor_mut().helo = "another".to_owned();
        again.visitor_mut().tls = None;
        let resent = spooled(b"To: b\r\n\r\nhello\r\n").await;
        assert_eq!(idempotency_key(&again, &resent).unwrap(), key);

        let mut nobody = first.clone();
        nobody.visitor_mut().credentials = None;
        let mut null = first.clone();
        null.sender = ReversePath::Null;
        let mut keys = HashSet::from([key]);
        for other in [
            nobody,
            null,
            envelope("b@example.com", &["b@example.org", "c@example.org"]),
            envelope("a@example.com", &["c@example.org", "b@example.org"]),
            envelope("a@example.com", &["b@example.org"]),
            envelope("a@example.com", &["b@example.orgc@example.org"]),
        ] {
            assert!(keys.insert(idempotency_key(&other, &message).unwrap()));
        }
        let stripped = spooled(b"X-Vulcan-A: b\r\nTo: b\r\n\r\nhello\r\n").await;
        assert!(
            keys.insert(idempotency_key(&first, &stripped).unwrap()),
            "it is of what came"
        );
    }
}
