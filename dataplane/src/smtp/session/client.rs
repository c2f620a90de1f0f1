//! For whom a session is: its peer, or whom a trusted peer speaks for.

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Ended, Session};
use crate::smtp::backend::Backend;
use crate::smtp::clients::Connection;
use crate::smtp::machine::Machine;
use crate::smtp::proxy_protocol::{self, Beginning, Whose};
use crate::smtp::{Visitor, replies, xclient};

/// Who connects.
pub struct Client {
    /// As far as a trusted server tells.
    pub address: IpAddr,
    /// It, or the server that speaks for it: passwords may come without TLS.
    pub is_trusted: bool,
    /// None where a trusted server speaks for itself: it has as many as it wants.
    pub place: Option<Connection>,
}

impl Client {
    /// A trusted server that speaks for itself. Once it has said for whom it speaks, what follows may be that client's own
    /// commands, which it only passes on.
    pub(super) fn is_itself_trusted(&self) -> bool {
        self.is_trusted && self.place.is_none()
    }
}

impl<S, B> Session<'_, S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend,
{
    pub(super) fn xclient(&mut self, attributes: &str) -> Result<(), Ended> {
        if !self.client.is_itself_trusted() {
            return self.deny(&replies::NOT_TRUSTED);
        }
        if self.transaction.is_some() {
            return self.answer(&replies::NESTED);
        }
        let attributes = match xclient::parse(attributes) {
            Ok(attributes) => attributes,
            Err(reply) => return self.answer(&reply),
        };
        self.machine = Machine::new();
        if let Some(address) = attributes.address {
            self.speak_for(address)?;
        }
        self.visitor = Visitor {
            client: self.visitor.client,
            helo: attributes.helo.unwrap_or_default(),
            is_extended: attributes.is_extended.unwrap_or_default(),
            tls: self.visitor.tls.take(),
            credentials: None,
        };
        self.greet();
        Ok(())
    }

    fn speak_for(&mut self, address: IpAddr) -> Result<(), Ended> {
        let address = address.to_canonical();
        self.client.address = address;
        self.visitor.client = address;
        // The place that it had, it may have again.
        self.client.place = None;
        self.client.place = self.backend.clients().connect(address);
        match self.client.place {
            Some(_) => Ok(()),
            None => Err(Ended::Said(replies::TOO_MANY_CONNECTIONS)),
        }
    }

    /// Whether what has come is for commands.
    pub(super) fn is_past_header(&mut self) -> Result<bool, Ended> {
        if self.awaits_header {
            let (bytes, whose) = match proxy_protocol::parse(self.wire.input.rest()) {
                Beginning::Open => return Ok(false),
                Beginning::Malformed => return Err(Ended::Gone),
                Beginning::Other => (0, Whose::Own),
                Beginning::Header { bytes, whose } => (bytes, whose),
            };
            self.awaits_header = false;
            self.wire.input.take(bytes);
            match whose {
                Whose::Own => {}
                // Of all whom it cannot name, it is the address.
                Whose::Unknown => self.speak_for(self.client.address)?,
                Whose::Of(client) => self.speak_for(client)?,
            }
        }
        Ok(true)
    }
}
