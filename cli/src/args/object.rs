//! The objects of the configuration, each with the same verbs: list, get, put, patch, delete.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::people::Remote;
use super::value;

mod authorizer;
mod limit;
mod service;
mod upstream;

pub use authorizer::Authorizer;
pub use limit::{AccountKey, Limit};
pub use service::{Service, ServiceFields};
pub use upstream::{Upstream, UpstreamFields};

/// What every write takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Writing")]
pub struct Write {
    /// What to wait for [default: what fits the change]
    #[arg(long, value_name = "STATE", env = "VULCAN_WAIT")]
    pub wait: Option<Goal>,
    /// How long to wait [default: 15s, or for a drain what the service allows and 5s]
    #[arg(long, value_name = "DURATION", env = "VULCAN_TIMEOUT", value_parser = value::wait)]
    pub timeout: Option<Duration>,
    /// Only if the object is still at this revision; `*`: at any
    #[arg(long, value_name = "REVISION", value_parser = value::tag)]
    pub if_match: Option<String>,
    #[command(flatten)]
    pub remote: Remote,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Goal {
    /// Return when it is committed
    None,
    /// Every proxy serves it
    Applied,
    /// And every proxy finds the upstream well
    Healthy,
    /// And nothing is in flight any more to what was taken out
    Drained,
}

impl Goal {
    /// As the API names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Goal::None => "none",
            Goal::Applied => "applied",
            Goal::Healthy => "healthy",
            Goal::Drained => "drained",
        }
    }
}

/// A document in JSON, from one of two places.
#[derive(Debug, clap::Args)]
pub struct Document {
    /// The document itself
    #[arg(value_name = "JSON")]
    pub json: Option<String>,
    /// A file that holds it; `-` is stdin
    #[arg(short, long, value_name = "FILE", conflicts_with = "json")]
    pub file: Option<PathBuf>,
}

/// What a PUT takes besides.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Writing")]
pub struct Creation {
    /// Only if there is no such object yet
    #[arg(long, conflicts_with = "if_match")]
    pub if_none_match: bool,
}
