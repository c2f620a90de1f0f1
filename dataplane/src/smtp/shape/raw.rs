//! The message alone, and its envelope in the request's fields. Rails' Action Mailbox takes it at its ingress `relay`, whose
//! password the service's key is then (<https://guides.rubyonrails.org/action_mailbox_basics.html>).

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};

use super::{Letter, SEPARATOR, Shaped, Unspeakable, of_type, value};

const X_ENVELOPE_FROM: HeaderName = HeaderName::from_static("x-envelope-from");
const X_ENVELOPE_TO: HeaderName = HeaderName::from_static("x-envelope-to");

pub fn shape(letter: &Letter<'_>) -> Result<Shaped, Unspeakable> {
    let envelope = letter.envelope;
    let mut headers = of_type(HeaderValue::from_static("message/rfc822"));
    headers.insert(X_ENVELOPE_FROM, value(envelope.sender.as_str())?);
    let recipients: Vec<&str> = envelope.recipients.iter().map(|to| to.mailbox.as_str()).collect();
    headers.insert(X_ENVELOPE_TO, value(&recipients.join(SEPARATOR))?);
    if let Some(signing) = letter.signing {
        headers.insert(header::AUTHORIZATION, signing.basic().ok_or(Unspeakable)?);
    }
    // Action Mailbox reads the message alone, and there it may be named nowhere else. Recipients do not hear of each other.
    let before = match &*envelope.recipients {
        [recipient] => format!("X-Original-To: {}\r\n{}", recipient.mailbox, letter.trace),
        _ => letter.trace.to_owned(),
    };
    Ok(Shaped {
        headers,
        before: before.into(),
        after: Bytes::new(),
    })
}
