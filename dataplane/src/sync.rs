//! Following a control plane: the stream, what is kept on disk, and the table of now.
//!
//! Every decision is the subscriber's (`shared::stream::subscriber`); here its outputs are carried out, one after another
//! and in its order, and their results handed back.

pub mod directory;
mod driver;
mod fetch;
mod mark;
pub mod media;
mod record;
pub mod store;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use net::duplex::{Address, AddressError, Credentials};
use shared::quota::ProxyId;
use shared::stream::subscriber::{self, Loaded, Settings, Subscriber};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::config::Config;
use crate::limiter::Identity;
use crate::phase::PhaseSender;
use crate::view::Views;
use crate::worker::Barrier;

use directory::{Begun, Directory};
use driver::Driver;

/// How the proxy ends.
#[derive(Clone, Debug, Default)]
pub struct Leave {
    /// The listeners close.
    pub stopping: CancellationToken,
    /// The listeners are closed, and nothing is in flight any more.
    pub drained: CancellationToken,
}

#[derive(Debug)]
pub enum Error {
    Address(AddressError),
    Directory {
        path: PathBuf,
        error: io::Error,
    },
    /// Another process has it.
    InUse {
        path: PathBuf,
    },
    /// A task panicked.
    Defect,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Address(error) => error.fmt(f),
            Error::Directory { path, error } => write!(f, "data directory {}: {error}", path.display()),
            Error::InUse { path } => write!(f, "data directory {}: another proxy uses it", path.display()),
            Error::Defect => f.write_str("the synchronisation has failed unexpectedly"),
        }
    }
}

impl std::error::Error for Error {}

/// Runs until the proxy has left; ends earlier only with an error. The workers of `barrier` read `views`.
pub async fn run(
    config: Arc<Config>,
    views: Arc<Views>,
    barrier: Barrier,
    phase: PhaseSender,
    leave: Leave,
) -> Result<(), Error> {
    let addresses = config
        .controlplanes
        .iter()
        .map(|given| Address::parse(given).map_err(Error::Address))
        .collect::<Result<Vec<_>, _>>()?;
    let path = config.data.clone();
    let opened = tokio::task::spawn_blocking(move || Directory::open(path)).await;
    let Directory { lock, begun } = opened.map_err(|_| Error::Defect)??;
    let lock = Arc::new(lock);
    let Begun {
        store,
        instance,
        boot,
        mark,
        state,
        disk,
    } = begun;
    views.limiter().begin(Identity {
        id: ProxyId { instance, boot },
        accounts: config.limit_accounts,
        is_marked: mark.is_set(),
    });
    let _marking = AbortOnDropHandle::new(tokio::spawn(mark.keep(views.limiter().clone(), lock.clone())));
    let settings = Settings {
        identity: subscriber::Identity {
            name: config.name.as_str().into(),
            instance,
            boot,
            build: env!("CARGO_PKG_VERSION").into(),
        },
        lease: config.lease,
        on_lease_end: config.on_lease_end,
        urls: addresses.len(),
        seed: instance.as_u64_pair().1 ^ boot,
    };
    let loaded = Loaded { state, disk };
    let (subscriber, outputs) = Subscriber::new(settings, loaded, net::clock::boottime());
    let credentials = Credentials {
        token: config.token.as_deref().map(Into::into),
        trust: config.trust.clone(),
    };
    let driver = Driver::new(
        subscriber,
        store,
        views,
        barrier,
        phase,
        driver::Peers { addresses, credentials },
    );
    let ended = driver.run(outputs, leave).await;
    drop(lock);
    ended
}
