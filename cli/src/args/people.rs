use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::tls::Tls;
use super::value::{self, Url};

/// What every command for people takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Control plane")]
pub struct Remote {
    /// The control plane
    #[arg(long, env = "VULCAN_URL", default_value = "http://127.0.0.1:8182")]
    pub url: Url,
    /// A file that holds the token to present; else VULCAN_TOKEN is the token itself
    #[arg(long, value_name = "FILE", env = "VULCAN_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// `json` prints the body of the API's answer
    #[arg(long, value_name = "FORMAT", env = "VULCAN_OUTPUT", default_value = "table")]
    pub output: Output,
    #[command(flatten)]
    pub tls: Tls,
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

/// Show the proxies: who is present, what they have applied, what still drains
///
/// With a name, that one and how it finds its upstreams.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  vulcan fleet --watch\n  vulcan fleet edge-1",
    override_usage = "vulcan fleet [OPTIONS] [PROXY]"
)]
pub struct Fleet {
    /// The name of one proxy
    pub proxy: Option<String>,
    /// Look again every second, until `q`; where the output is no terminal, print it again when it has changed
    #[arg(long, env = "VULCAN_WATCH")]
    pub watch: bool,
    #[command(flatten)]
    pub remote: Remote,
}

/// Take a proxy that will not come back off the roster
///
/// Writes have not waited for it since its lease is over; from now on they do not name it either. Within its lease the
/// command waits for the end of that. A proxy that is connected is not forgotten, and one that comes back joins anew.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  vulcan forget edge-3",
    override_usage = "vulcan forget [OPTIONS] <PROXY>"
)]
pub struct Forget {
    /// Its name
    pub proxy: String,
    /// How long to wait for the end of its lease [default: 15s]
    #[arg(long, value_name = "DURATION", env = "VULCAN_TIMEOUT", value_parser = value::wait)]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    pub remote: Remote,
}

/// Let this control plane's store take over the proxies of another epoch
///
/// For a store that was lost, filled anew or put back: proxies refuse it until somebody says so. They take its
/// configuration in place of their own. Given its own epoch, a store that went back takes a new one that succeeds it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  vulcan succeed 413a7c1a-1751-4999-99d2-e85dc3a53df7",
    override_usage = "vulcan succeed [OPTIONS] <EPOCH>"
)]
pub struct Succeed {
    /// The epoch that the proxies follow, as their logs say when they refuse
    pub epoch: String,
    #[command(flatten)]
    pub write: Wait,
}

/// Make every proxy forget what an authorizer has answered, and return when they have
///
/// The next request of whoever is forgotten is asked about anew. What is in flight goes on. One of --auth-token,
/// --auth-token-file, --username and --all is required.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  vulcan revoke main --username anna\n  vulcan revoke main --auth-token-file - <token",
    override_usage = "vulcan revoke [OPTIONS] <AUTHORIZER> <WHOSE>"
)]
#[command(group = clap::ArgGroup::new("whose").required(true))]
pub struct Revoke {
    /// The authorizer's name
    pub authorizer: String,
    /// Answers with this auth_token; every user of this machine sees a command line
    #[arg(long, value_name = "TOKEN", group = "whose", help_heading = "Whose")]
    pub auth_token: Option<String>,
    /// Answers with the auth_token in this file; `-` is stdin
    #[arg(long, value_name = "FILE", group = "whose", help_heading = "Whose")]
    pub auth_token_file: Option<PathBuf>,
    /// Answers about this user
    #[arg(long, value_name = "NAME", group = "whose", help_heading = "Whose")]
    pub username: Option<String>,
    /// All answers of this authorizer
    #[arg(long, group = "whose", help_heading = "Whose")]
    pub all: bool,
    #[command(flatten)]
    pub write: Wait,
}

/// Of writes that always happen, whatever stands.
#[derive(Debug, clap::Args)]
pub struct Wait {
    /// How long to wait for every proxy [default: 15s]
    #[arg(long, value_name = "DURATION", env = "VULCAN_TIMEOUT", value_parser = value::wait)]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    pub remote: Remote,
}

/// Print changes as they come, until Ctrl-C
///
/// A line for each revision. When the connection is lost, it is made again and goes on where it was, so that no revision is
/// left out; after ten minutes without success the command gives up. With `--output json` the lines are those of the API,
/// its beats among them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  vulcan watch --since 0")]
pub struct Watch {
    /// Begin after this revision [default: the newest, so that only what comes is shown]
    #[arg(long, value_name = "REVISION", env = "VULCAN_SINCE")]
    pub since: Option<u64>,
    #[command(flatten)]
    pub remote: Remote,
}

/// Print what completes these commands in a shell
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  vulcan completions bash >/etc/bash_completion.d/vulcan\n  \
                  vulcan completions zsh >\"${fpath[1]}/_vulcan\"\n  \
                  vulcan completions fish >~/.config/fish/completions/vulcan.fish\n  \
                  vulcan completions powershell >>$PROFILE"
)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// List what was changed, when and by whom, the newest last
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  vulcan revisions --limit 5")]
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
