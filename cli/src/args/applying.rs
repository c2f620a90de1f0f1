use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::object::Goal;
use super::people::Remote;
use super::value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Json,
    Yaml,
    Toml,
}

/// Change many objects at once, so that they are as a file says, and return when that is true on every proxy
///
/// The file holds services with their upstreams, limits and authorizers, in the form that `vulcan export` prints. All of it
/// is one revision, up to a MiB; what is more takes several, and the answer says which. A file with an error changes nothing,
/// and applying the same file again changes nothing and waits again. Exit status 0 means that everything is live, what was
/// registered has passed its health check, and nothing is in flight to what was retired.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  vulcan apply -f fleet.yaml --dry-run && vulcan apply -f fleet.yaml",
    override_usage = "vulcan apply [OPTIONS] --file <FILE>"
)]
pub struct Apply {
    /// JSON, YAML or TOML, as its extension says; `-` is the standard input, JSON or YAML
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// In which form the file is, whatever it is called
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Print what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Delete every service, upstream, limit and authorizer that the file does not hold
    #[arg(long)]
    pub prune: bool,
    /// What to wait for [default: what fits each change]
    #[arg(long, value_name = "STATE", env = "VULCAN_WAIT")]
    pub wait: Option<Goal>,
    /// How long to wait [default: the longest drain of the services concerned and 5 s]
    #[arg(long, value_name = "DURATION", env = "VULCAN_TIMEOUT", value_parser = value::wait)]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    pub remote: Remote,
}

/// Print the configuration as a document that `vulcan apply` takes
///
/// Services with their upstreams, limits and authorizers; what stands at its default is left out. The same configuration is
/// printed the same, byte for byte.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  vulcan export --format yaml -o fleet.yaml")]
pub struct Export {
    /// Write it there instead of on the standard output; a file that is there is replaced once all of it has come
    #[arg(short = 'o', long, value_name = "FILE")]
    pub into: Option<PathBuf>,
    /// [default: what the extension of the file says, else json]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    #[command(flatten)]
    pub remote: Remote,
}

/// Take back everything that was changed after a revision, in one revision of its own
///
/// Every service, upstream, limit and authorizer that was changed since stands as it stood then. Proxies on the roster, holds
/// and revocations are no configuration, and stay as they are.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  vulcan revisions; vulcan revert 41 --dry-run && vulcan revert 41",
    override_usage = "vulcan revert [OPTIONS] <REVISION>"
)]
pub struct Revert {
    /// The last one that stays in force
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub revision: u64,
    /// Print what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// What to wait for [default: what fits each change]
    #[arg(long, value_name = "STATE", env = "VULCAN_WAIT")]
    pub wait: Option<Goal>,
    /// How long to wait [default: the longest drain of the services concerned and 5 s]
    #[arg(long, value_name = "DURATION", env = "VULCAN_TIMEOUT", value_parser = value::wait)]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    pub remote: Remote,
}

/// Say where a request would go, and why it would not go elsewhere
///
/// It is routed by the code and the table of the proxies, and sent nowhere: no authorizer is asked.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  vulcan explain http://shop.example.com/cart -H 'x-tenant: blue'",
    override_usage = "vulcan explain [OPTIONS] <URL|--recipient <ADDRESS>>"
)]
pub struct Explain {
    /// http://HOST/PATH, or a part of it
    #[arg(
        value_name = "URL",
        required_unless_present = "recipient",
        conflicts_with = "recipient"
    )]
    pub target: Option<String>,
    #[arg(short = 'X', long, value_name = "METHOD", help = "[default: GET]")]
    pub method: Option<String>,
    /// A header of the request; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// Of mail: to whom
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["method", "header"])]
    pub recipient: Option<String>,
    /// How this proxy sees the upstreams
    #[arg(long, value_name = "NAME")]
    pub proxy: Option<String>,
    /// What the authorizer would say, for the limits that count under it
    #[arg(long, value_name = "TOKEN")]
    pub auth_token: Option<String>,
    #[command(flatten)]
    pub remote: Remote,
}
