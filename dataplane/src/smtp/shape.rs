//! What an upstream is posted for a message, in the shape that its service wants: `submit`, `mailgun` or `raw`.

mod form;
mod mailgun;
mod raw;
mod submit;

use std::fmt::Write;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use shared::model::Shape;

use super::signing::Signing;
use super::{Envelope, Recipient};
use crate::authorizer::{Grant, X_VULCAN_AUTH_TOKEN};

pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_VULCAN_HELO: HeaderName = HeaderName::from_static("x-vulcan-helo");
const X_VULCAN_TLS: HeaderName = HeaderName::from_static("x-vulcan-tls");
const X_VULCAN_DSN: HeaderName = HeaderName::from_static("x-vulcan-dsn");

/// Between the members of a field (RFC 9110, 5.6.1). Within quotes it is a part of an address.
const SEPARATOR: &str = ", ";
/// Receivers take heads of 16 KiB (Node), lines of 8 KiB (gunicorn) and 100 fields (Python): ours are to fit with room to
/// spare, or they refuse for good what has nothing wrong with it.
const DSN_BYTES_MAX: usize = 3 * 1024;
const ENVELOPE_TO_BYTES_MAX: usize = 4 * 1024;

/// Whether a request of this shape can name one more recipient; one it can always name.
pub fn has_room(shape: Shape, recipients: &[Recipient], next: &Recipient) -> bool {
    let bytes = |recipient: &Recipient| SEPARATOR.len() + recipient.mailbox.as_str().len();
    let named: usize = recipients.iter().map(bytes).sum();
    shape != Shape::Raw || recipients.is_empty() || named + bytes(next) <= ENVELOPE_TO_BYTES_MAX
}

/// What there is to say, but for the message itself.
pub struct Letter<'a> {
    pub envelope: &'a Envelope,
    /// Fields that are put before the message.
    pub trace: &'a str,
    /// The message's beginning: its head, or the first part of it.
    pub start: &'a [u8],
    /// None where the service has no key.
    pub signing: Option<&'a Signing>,
    /// Of this attempt.
    pub at: SystemTime,
}

/// A request's fields, and what stands in its body before the message and after it.
#[derive(Debug)]
pub struct Shaped {
    pub headers: HeaderMap,
    pub before: Bytes,
    pub after: Bytes,
}

/// There is something in it that no field can hold. Whoever reads commands lets nothing of the kind pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unspeakable;

impl Letter<'_> {
    pub fn shaped(&self, shape: Shape) -> Result<Shaped, Unspeakable> {
        let envelope = self.envelope;
        let mut addresses = envelope.recipients.iter().map(|recipient| recipient.mailbox.as_str());
        if is_unspeakable(envelope.sender.as_str()) || addresses.any(is_unspeakable) {
            return Err(Unspeakable);
        }
        match shape {
            Shape::Submit => submit::shape(self),
            Shape::Mailgun => mailgun::shape(self),
            Shape::Raw => raw::shape(self),
        }
    }
}

/// Fields of all shapes. `key`: the same for the same message in the same envelope, whenever it comes.
pub fn common(envelope: &Envelope, grant: Option<&Grant>, key: &HeaderValue) -> Result<HeaderMap, Unspeakable> {
    let visitor = &envelope.visitor;
    let mut headers = HeaderMap::new();
    if let Some(grant) = grant {
        for (name, copied) in &grant.copied {
            headers.append(name, copied.clone());
        }
        if let Some(token) = &grant.auth_token {
            headers.insert(X_VULCAN_AUTH_TOKEN, token.clone());
        }
    }
    headers.insert(IDEMPOTENCY_KEY, key.clone());
    headers.insert(X_FORWARDED_FOR, value(&visitor.client.to_string())?);
    if !visitor.helo.is_empty() {
        headers.insert(X_VULCAN_HELO, value(&visitor.helo)?);
    }
    if let Some(tls) = &visitor.tls {
        headers.insert(X_VULCAN_TLS, value(&format!("{} {}", tls.protocol, tls.cipher))?);
    }
    if let Some(asked) = notifications(envelope) {
        headers.insert(X_VULCAN_DSN, value(&asked)?);
    }
    Ok(headers)
}

/// The commands, as far as they ask for notifications (RFC 3461), with `, ` between them:
/// `MAIL RET=HDRS, RCPT TO:<a@example.com> NOTIFY=NEVER`. One that does not fit is left out, and shorter ones behind it are not.
fn notifications(envelope: &Envelope) -> Option<String> {
    let mut all = String::new();
    let parameters = [("RET", envelope.ret.as_deref()), ("ENVID", envelope.envid.as_deref())];
    let mail = command("MAIL".to_owned(), parameters);
    for asked in mail
        .into_iter()
        .chain(envelope.recipients.iter().filter_map(of_recipient))
    {
        let separator = if all.is_empty() { "" } else { SEPARATOR };
        if all.len() + separator.len() + asked.len() <= DSN_BYTES_MAX {
            all.push_str(separator);
            all.push_str(&asked);
        }
    }
    (!all.is_empty()).then_some(all)
}

fn of_recipient(recipient: &Recipient) -> Option<String> {
    let (to, notification) = (&recipient.mailbox, &recipient.notification);
    let is_telling = |original: &&str| {
        let is_same = original
            .split_once(';')
            .is_some_and(|(kind, address)| kind.eq_ignore_ascii_case("rfc822") && address == to.as_str());
        // Quotes are the recipient's, or it would not be clear where they end.
        !is_same && !original.contains('"')
    };
    let original = notification.original.as_deref().filter(is_telling);
    let parameters = [("NOTIFY", notification.notify.as_deref()), ("ORCPT", original)];
    command(format!("RCPT TO:<{to}>"), parameters)
}

/// None where it asks for nothing.
fn command(mut text: String, parameters: [(&str, Option<&str>); 2]) -> Option<String> {
    let bare = text.len();
    for (name, value) in parameters {
        if let Some(value) = value {
            // Nothing fails to be written to a string.
            let _ = write!(text, " {name}={value}");
        }
    }
    (text.len() > bare).then_some(text)
}

fn is_unspeakable(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// UTF-8 where it is not ASCII.
fn value(text: &str) -> Result<HeaderValue, Unspeakable> {
    match is_unspeakable(text) {
        true => Err(Unspeakable),
        false => HeaderValue::from_bytes(text.as_bytes()).map_err(|_| Unspeakable),
    }
}

fn of_type(content_type: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)])
}

#[cfg(test)]
mod tests;
