use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::tls::Tls;
use super::value::{self, Url};

/// What every command for people takes.
#[derive(Debug, clap::Args)]
pub struct Remote {
    /// The control plane
    #[arg(long, env = "VULCAN_URL", default_value = "http://127.0.0.1:8182")]
    pub url: Url,
    /// A file that holds the token to present; else VULCAN_TOKEN is the token itself
    #[arg(long, value_name = "FILE", env = "VULCAN_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    #[command(flatten)]
    pub tls: Tls,
    /// `json` prints the body of the API's answer
    #[arg(long, value_name = "FORMAT", env = "VULCAN_OUTPUT", default_value = "table")]
    pub output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
}

/// Unregister an address everywhere, and return when no proxy sends it anything any more
///
/// All registrations of the address go in one revision, whatever service they are of. Exit status 0 means that nothing is
/// in flight to it on any proxy and nothing will be: it is safe to stop. Repeating the command waits again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  vulcan leave 10.0.0.5:3001 && kill $PID",
    override_usage = "vulcan leave [OPTIONS] <ADDRESS>"
)]
pub struct Leave {
    /// host:port as it was registered
    pub address: String,
    /// How long to wait [default: the longest drain of the services concerned and 5 s]
    #[arg(long, value_name = "DURATION", env = "VULCAN_TIMEOUT", value_parser = value::wait)]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    pub remote: Remote,
}

/// Let new requests of a service wait on every proxy, and return when nothing is in flight there any more
///
/// Requests that were under way finish. From exit status 0 on nothing is in flight at the service's upstreams on any proxy,
/// and nothing will be until `vulcan resume`, or until the time of --max is over: it begins with this command, not with its
/// end. Clients notice nothing but the delay. A hold that this command gave up on, or was interrupted in, stands: resume it.
/// WebSockets and other upgraded connections are in flight until they end. A held service that is held again is held for
/// --max from then on.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  vulcan hold shop --max 60s && fail-over; vulcan resume shop",
    override_usage = "vulcan hold [OPTIONS] <SERVICE>"
)]
pub struct Hold {
    /// Its name
    pub service: String,
    /// When requests go on by themselves, whatever becomes of whoever held them: 1s to 10m
    #[arg(long, value_name = "DURATION", env = "VULCAN_MAX", default_value = "30s", value_parser = value::hold)]
    pub max: Duration,
    /// How long to wait for what is in flight [default: that of --max]
    #[arg(long, value_name = "DURATION", env = "VULCAN_TIMEOUT", value_parser = value::wait)]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    pub remote: Remote,
}

/// Let the requests of a held service go on, and return when they do on every proxy
///
/// It may be repeated, and does nothing to a service that is not held.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  vulcan resume shop",
    override_usage = "vulcan resume [OPTIONS] <SERVICE>"
)]
pub struct Resume {
    /// Its name
    pub service: String,
    /// How long to wait for every proxy [default: 15s]
    #[arg(long, value_name = "DURATION", env = "VULCAN_TIMEOUT", value_parser = value::wait)]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    pub remote: Remote,
}

/// List the proxies: who is present, what they have applied, what still drains
#[derive(Debug, clap::Args)]
pub struct Fleet {
    #[command(flatten)]
    pub remote: Remote,
}

/// List what was changed, when and by whom, the newest last
#[derive(Debug, clap::Args)]
pub struct Revisions {
    /// Start after this revision [default: so that the newest are shown]
    #[arg(long, value_name = "REVISION", env = "VULCAN_SINCE")]
    pub since: Option<u64>,
    /// How many
    #[arg(long, value_name = "N", env = "VULCAN_LIMIT", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub limit: u64,
    #[command(flatten)]
    pub remote: Remote,
}
