//! What a data listener is for, and where it is.

use std::net::SocketAddr;

use net::listen::ListenError;

use crate::Config;

/// What is spoken on the connections of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    Http,
    /// In the clear, until the client asks for TLS.
    Smtp,
    /// TLS from the first byte (RFC 8314, 3.3).
    Smtps,
}

impl ListenerKind {
    pub const ALL: [ListenerKind; 3] = [ListenerKind::Http, ListenerKind::Smtp, ListenerKind::Smtps];

    /// As in `listening http 127.0.0.1:8080`.
    pub fn name(self) -> &'static str {
        match self {
            ListenerKind::Http => "http",
            ListenerKind::Smtp => "smtp",
            ListenerKind::Smtps => "smtps",
        }
    }

    fn flag(self) -> &'static str {
        match self {
            ListenerKind::Http => "--http",
            ListenerKind::Smtp => "--smtp",
            ListenerKind::Smtps => "--smtps",
        }
    }

    fn address(self, config: &Config) -> Option<SocketAddr> {
        match self {
            ListenerKind::Http => Some(config.http),
            ListenerKind::Smtp => config.smtp,
            ListenerKind::Smtps => config.smtps,
        }
    }
}

/// One address, at which all workers listen or none.
pub(super) struct Listener {
    pub kind: ListenerKind,
    /// As configured, and after the first bind with the port that it gave.
    pub address: SocketAddr,
    pub is_open: bool,
    pub announced: bool,
}

impl Listener {
    /// Those that the configuration asks for.
    pub fn all(config: &Config) -> Vec<Listener> {
        let wanted = ListenerKind::ALL.into_iter();
        let addressed = wanted.filter_map(|kind| Some((kind, kind.address(config)?)));
        let listeners = addressed.map(|(kind, address)| Listener {
            kind,
            address,
            is_open: false,
            announced: false,
        });
        listeners.collect()
    }

    pub fn refused(&self, error: std::io::Error) -> ListenError {
        ListenError::of(self.kind.flag(), self.address)(error)
    }
}
