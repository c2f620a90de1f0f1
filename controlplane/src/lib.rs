//! The control plane: it keeps the log, pushes it to every proxy, and answers a write when it is true on all of them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub mod changelog;
pub mod registry;
pub mod store;

pub use store::StoreUrl;

#[derive(Clone, Debug)]
pub struct Config {
    pub store: StoreUrl,
    /// Of the API and of the stream; without `tokens` a loopback address.
    pub admin: SocketAddr,
    /// A proxy absent for so long leaves the roster.
    pub forget_after: Duration,
    /// TOML, read again when it changes.
    pub tokens: Option<PathBuf>,
}

#[derive(Debug)]
pub enum Error {
    Config(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Config(detail) => f.write_str(detail),
        }
    }
}

impl std::error::Error for Error {}

/// Serves until `stop`; returns once every connection is finished or cut.
pub async fn run(_config: Config, _announce: net::announce::Announce, _stop: CancellationToken) -> Result<(), Error> {
    unimplemented!()
}
