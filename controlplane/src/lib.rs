//! The control plane: it keeps the log, pushes it to every proxy, and answers a write when it is true on all of them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use net::announce::Announce;
use net::duplex::Credentials;
use net::listen::ListenError;
use net::tls::{Certificates, Trust};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub mod api;
pub mod changelog;
mod dashboard;
pub mod heartbeats;
pub mod holds;
pub mod limits;
pub mod planes;
pub mod push;
pub mod registry;
pub mod restore;
pub mod store;

use api::{Access, Api, TokenError, Tokens};
use changelog::Changelog;
use heartbeats::Heartbeats;
use limits::Limits;
use planes::Sharing;
use push::Fleet;
use shared::quota::Settings;
use shared::stream::planes::PlaneId;
use store::{Log, OpenError, ReadError};

pub use store::StoreUrl;
pub use store::cassandra::Options as CassandraOptions;

#[derive(Clone)]
pub struct Config {
    pub store: StoreUrl,
    /// Of the API and of the stream; without `tokens` a loopback address.
    pub admin: SocketAddr,
    /// A proxy absent for so long leaves the roster.
    pub forget_after: Duration,
    /// TOML, read again when it changes.
    pub tokens: Option<PathBuf>,
    /// What the admin port shows; none: nothing there is encrypted. To be loaded for `PROTOCOLS`.
    pub tls: Option<Arc<Certificates>>,
    /// Where other control planes reach this one; the admin address if that says it.
    pub advertise: Option<String>,
    /// What control planes present to each other.
    pub peer_token: Option<Arc<str>>,
    /// Which other control planes are believed.
    pub trust: Arc<Trust>,
}

/// What the admin port speaks over TLS.
pub const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

/// Why a control plane does not start.
#[derive(Debug)]
pub enum Error {
    Config(String),
    Tokens(TokenError),
    Store(OpenError),
    /// The store was opened, and what is in it cannot be read.
    Log(ReadError),
    Listen(ListenError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Config(detail) => f.write_str(detail),
            Error::Tokens(error) => error.fmt(f),
            Error::Store(error) => error.fmt(f),
            Error::Log(error) => error.fmt(f),
            Error::Listen(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

/// Between two attempts to read a store that was there a moment ago.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Writes that are under way when everybody else is gone.
const FINISH_WITHIN: Duration = Duration::from_secs(4);

/// The log, read; waits for a shared store that goes away meanwhile.
async fn open(store: &StoreUrl) -> Result<(Arc<dyn Log>, Arc<Changelog>, JoinHandle<()>), Error> {
    let log = store::open(store).await.map_err(Error::Store)?;
    loop {
        match Changelog::start(log.clone()).await {
            Err(ReadError::Unavailable(detail)) if log.tail_every().is_some() => {
                tracing::warn!(%store, "waiting for the store: {detail}");
                tokio::time::sleep(READ_AGAIN).await;
            }
            Err(error) => return Err(Error::Log(error)),
            Ok((changelog, writing)) => return Ok((log, changelog, writing)),
        }
    }
}

/// Serves until `stop`; returns once every connection is finished or cut.
pub async fn run(config: Config, announce: Announce, stop: CancellationToken) -> Result<(), Error> {
    let tokens = config
        .tokens
        .as_deref()
        .map(Tokens::open)
        .transpose()
        .map_err(Error::Tokens)?
        .map(Arc::new);
    let access = Access::of(tokens.clone(), config.peer_token.as_deref(), config.admin).ok_or_else(|| {
        let admin = config.admin;
        Error::Config(format!(
            "--admin {admin} is open to other machines: without --tokens it must be a loopback address"
        ))
    })?;
    let (log, changelog, writing) = tokio::select! {
        opened = open(&config.store) => opened?,
        // A store that cannot be reached is waited for; a signal ends that.
        () = stop.cancelled() => return Ok(()),
    };
    let rows = log.rows();
    let own = rows.as_ref().map(|_| PlaneId(Uuid::new_v4()));
    let fleet = Fleet::new(changelog.clone(), own);

    let cannot = ListenError::of("--admin", config.admin);
    let listen = |error| Error::Listen(cannot(error));
    let listener = net::listen::bind(config.admin)
        .and_then(TcpListener::from_std)
        .map_err(listen)?;
    let admin = listener.local_addr().map_err(listen)?;
    announce.listening("admin", admin);

    let mut tasks = JoinSet::new();
    tasks.spawn(fleet.clone().keep(config.forget_after, stop.clone()));
    tasks.spawn(holds::keep(
        changelog.clone(),
        Uuid::new_v4().as_u64_pair().0,
        stop.clone(),
    ));
    if let Some(tokens) = tokens {
        let stop = stop.clone();
        tasks.spawn(async move { tokens.follow(stop).await });
    }
    match config.tls.clone() {
        Some(tls) => drop(tasks.spawn(tls.keep(stop.clone()))),
        None if admin.ip().is_loopback() => {}
        None => tracing::warn!(%admin, "tokens cross the network in the clear; --admin-tls-cert encrypts them"),
    }
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let url: Arc<str> = config.advertise.unwrap_or_else(|| format!("{scheme}://{admin}")).into();
    let credentials = Credentials {
        token: config.peer_token,
        trust: config.trust,
    };
    let sharing = own.zip(rows).map(|(id, rows)| Sharing {
        id,
        url: url.clone(),
        credentials: credentials.clone(),
        rows,
    });
    if let Some(sharing) = sharing.clone() {
        tasks.spawn(planes::keep(sharing, changelog.clone(), fleet.clone(), stop.clone()));
    }
    let mut asking = None;
    let mut among_planes = planes::router(fleet.clone(), stop.clone());
    let heartbeats = Heartbeats::new(changelog.clone(), fleet.clone(), sharing.clone());
    if sharing.is_some() {
        among_planes = among_planes.merge(heartbeats::router(heartbeats.clone(), stop.clone()));
    }
    tasks.spawn(heartbeats.clone().keep(stop.clone()));
    if let Some(cells) = log.cells() {
        let setup = limits::Setup {
            changelog: changelog.clone(),
            fleet: fleet.clone(),
            cells,
            clock: Arc::new(limits::MachineClock),
            settings: Settings::default(),
            sharing,
        };
        let limits = Limits::new(setup);
        asking = Some(limits.asking());
        among_planes = among_planes.merge(limits.router(stop.clone()));
        tasks.spawn(limits.keep(stop.clone()));
    }
    let api = Api::new(
        changelog,
        fleet.clone(),
        heartbeats,
        asking,
        url,
        credentials,
        stop.clone(),
    );
    let streams = push::router(fleet, stop.clone()).merge(among_planes);
    let router = api::router(api.clone(), streams, Arc::new(access));
    api.set_ready();
    announce.ready();
    drop(api);
    api::server::serve(listener, config.tls, router, stop).await;
    while tasks.join_next().await.is_some() {}
    if tokio::time::timeout(FINISH_WITHIN, writing).await.is_err() {
        tracing::warn!("the store did not answer the last write before the end");
    }
    Ok(())
}
