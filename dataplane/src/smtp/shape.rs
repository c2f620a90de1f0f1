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
    for asked in notifications(envelope) {
        headers.append(X_VULCAN_DSN, value(&asked)?);
    }
    Ok(headers)
}

/// The commands, as far as they ask for notifications (RFC 3461): `MAIL RET=HDRS`, `RCPT TO:<a@example.com> NOTIFY=NEVER`.
fn notifications(envelope: &Envelope) -> Vec<String> {
    let with = |command: String, parameters: [(&str, &Option<String>); 2]| {
        let given = parameters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?)));
        given.fold(command, |mut text, (name, value)| {
            // Nothing fails to be written to a string.
            let _ = write!(text, " {name}={value}");
            text
        })
    };
    let mail = with("MAIL".to_owned(), [("RET", &envelope.ret), ("ENVID", &envelope.envid)]);
    let of = |recipient: &Recipient| {
        let (to, notification) = (&recipient.mailbox, &recipient.notification);
        let parameters = [("NOTIFY", &notification.notify), ("ORCPT", &notification.original)];
        with(format!("RCPT TO:<{to}>"), parameters)
    };
    let mut all: Vec<String> = envelope.recipients.iter().map(of).collect();
    all.retain(|text| !text.ends_with('>'));
    if mail != "MAIL" {
        all.insert(0, mail);
    }
    all
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
