use clap::{Subcommand, ValueEnum};

use super::{Creation, Document, Write};
use crate::args::Remote;

/// Upstreams: the servers of a service, which deployments register and unregister
#[derive(Debug, Subcommand)]
pub enum Upstream {
    /// List the upstreams of a service, or whatever is registered at an address
    #[command(
        after_help = "Examples:\n  vulcan upstream list shop --status\n  vulcan upstream list --address 10.0.0.5:3001",
        override_usage = "vulcan upstream list [OPTIONS] <SERVICE|--address ADDRESS>"
    )]
    List {
        /// The service
        #[arg(required_unless_present = "address")]
        service: Option<String>,
        /// Every registration at this address, of all services
        #[arg(long, value_name = "ADDRESS", conflicts_with = "service")]
        address: Option<String>,
        /// Ask every proxy how it finds them
        #[arg(long)]
        status: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show an upstream
    #[command(after_help = "Example:  vulcan upstream get shop 10.0.0.5:3001")]
    Get {
        /// The service
        service: String,
        /// The upstream's id
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Register an upstream, and return when every proxy sends it requests
    ///
    /// Without --address the id is the address. What is not said has its default, also where it had another value before,
    /// but for the weight and the state of one that has a ttl and is put with one again; an upstream that stands like that
    /// already is left as it is, and waited for. With a health check of the service, the command returns when every proxy has
    /// found the upstream well.
    #[command(
        after_help = "Examples:\n  vulcan upstream put shop 10.0.0.5:3001\n  \
                      vulcan upstream put shop blue --address 10.0.0.5:3001 --weight 5",
        override_usage = "vulcan upstream put [OPTIONS] <SERVICE> <ID> [JSON]"
    )]
    Put {
        /// The service
        service: String,
        /// The upstream's id
        id: String,
        #[command(flatten)]
        document: Document,
        #[command(flatten)]
        fields: UpstreamFields,
        #[command(flatten)]
        creation: Creation,
        #[command(flatten)]
        write: Write,
    },
    /// Change single fields of an upstream, and return when that is true on every proxy
    ///
    /// The document is a JSON merge patch (RFC 7396). With `{"state": "draining"}` the upstream stays registered and gets
    /// no new requests; the command returns when nothing is in flight to it any more. Its heartbeats, if it has a ttl, leave
    /// the state and the weight as they are unless they say them.
    #[command(
        after_help = "Example:  vulcan upstream patch shop blue '{\"weight\": 5}'",
        override_usage = "vulcan upstream patch [OPTIONS] <SERVICE> <ID> <JSON|--file FILE>"
    )]
    Patch {
        /// The service
        service: String,
        /// The upstream's id
        id: String,
        #[command(flatten)]
        document: Document,
        #[command(flatten)]
        write: Write,
    },
    /// Unregister an upstream, and return when no proxy sends it anything any more
    ///
    /// Exit status 0 means that nothing is in flight to this registration on any proxy and nothing will be. Where the same
    /// address is registered besides, a note says as what; `vulcan leave` takes all of them out.
    #[command(
        after_help = "Example:  vulcan upstream delete shop 10.0.0.5:3001 && kill $PID",
        override_usage = "vulcan upstream delete [OPTIONS] <SERVICE> <ID>"
    )]
    Delete {
        /// The service
        service: String,
        /// The upstream's id
        id: String,
        #[command(flatten)]
        write: Write,
    },
}

/// All that there is to say of an upstream, in place of a document.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Fields")]
#[group(id = "fields", multiple = true, conflicts_with_all = ["json", "file"])]
pub struct UpstreamFields {
    /// host:port or [v6]:port [default: the id]
    #[arg(long)]
    pub address: Option<String>,
    /// Its share of the requests, 0 to 1000; 0 gets no new ones [default: 1]
    #[arg(long, value_name = "N")]
    pub weight: Option<u64>,
    /// Whether it gets new requests [default: active]
    #[arg(long)]
    pub state: Option<State>,
    /// It is unregistered unless this is repeated within so long [default: it stays]
    #[arg(long, value_name = "DURATION")]
    pub ttl: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum State {
    Active,
    Draining,
}

impl State {
    /// As the API names it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Draining => "draining",
        }
    }
}
