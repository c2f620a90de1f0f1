//! What tests of mail begin with.

use std::sync::Arc;

use super::{BodyType, Envelope, Mailbox, Notification, Recipient, ReversePath, Visitor};
use crate::pipeline::Credentials;

pub fn credentials() -> Option<Credentials> {
    Some(Credentials {
        username: "ann".to_owned(),
        password: "secret".into(),
    })
}

pub fn recipient(address: &str) -> Recipient {
    Recipient {
        mailbox: Mailbox::of(address),
        notification: Notification::default(),
    }
}

/// Of a client that has authenticated without TLS.
pub fn envelope(sender: &str, recipients: &[&str]) -> Envelope {
    Envelope {
        visitor: Arc::new(Visitor {
            client: [192, 0, 2, 1].into(),
            helo: "client.example".to_owned(),
            is_extended: true,
            tls: None,
            credentials: credentials(),
        }),
        sender: ReversePath::Of(Mailbox::of(sender)),
        recipients: recipients.iter().map(|address| recipient(address)).collect(),
        size: None,
        body: BodyType::SevenBit,
        is_utf8: false,
        ret: None,
        envid: None,
    }
}

impl Envelope {
    pub fn visitor_mut(&mut self) -> &mut Visitor {
        Arc::make_mut(&mut self.visitor)
    }
}
