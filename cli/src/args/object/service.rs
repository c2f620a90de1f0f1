use clap::Subcommand;

use super::{Creation, Document, Write};
use crate::args::Remote;

/// Services: which requests they take, and what becomes of those
#[derive(Debug, Subcommand)]
pub enum Service {
    /// List the services
    #[command(after_help = "Example:  vulcan service list")]
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a service whole, with its defaults filled in
    #[command(after_help = "Example:  vulcan service get shop --output json >shop.json")]
    Get {
        /// Its name
        service: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create or replace a service, and return when every proxy serves it
    ///
    /// The document is the whole of it: what it does not say has its default from then on, also where it had another value
    /// before. `patch` changes single fields. In place of a document the most common fields can be given as flags, which
    /// make a document that says these and nothing else.
    #[command(
        after_help = "Examples:\n  vulcan service put shop --host shop.example.com --health-check /healthz\n  \
                      vulcan service put mail --recipient example.com\n  \
                      vulcan service put shop -f shop.json --if-match 42",
        override_usage = "vulcan service put [OPTIONS] <SERVICE> <JSON|--file FILE|FIELDS>"
    )]
    Put {
        /// Its name
        service: String,
        #[command(flatten)]
        document: Document,
        #[command(flatten)]
        fields: ServiceFields,
        #[command(flatten)]
        creation: Creation,
        #[command(flatten)]
        write: Write,
    },
    /// Change single fields of a service, and return when every proxy serves it
    ///
    /// The document is a JSON merge patch (RFC 7396): it says the fields that change; null is the default; a list is
    /// replaced whole.
    #[command(
        after_help = "Example:  vulcan service patch shop '{\"timeouts\": {\"response\": \"5s\"}}'",
        override_usage = "vulcan service patch [OPTIONS] <SERVICE> <JSON|--file FILE>"
    )]
    Patch {
        /// Its name
        service: String,
        #[command(flatten)]
        document: Document,
        #[command(flatten)]
        write: Write,
    },
    /// Delete a service with its upstreams, and return when nothing is in flight to them any more
    ///
    /// A service that is not there is deleted already: that is a success, and waits too.
    #[command(
        after_help = "Example:  vulcan service delete shop",
        override_usage = "vulcan service delete [OPTIONS] <SERVICE>"
    )]
    Delete {
        /// Its name
        service: String,
        #[command(flatten)]
        write: Write,
    },
}

/// The fields that most services say, in place of a document.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Fields")]
#[group(id = "fields", multiple = true, conflicts_with_all = ["json", "file"])]
pub struct ServiceFields {
    /// A host whose requests it takes, as shop.example.com, *.example.com or *; may be repeated
    #[arg(long, value_name = "HOST")]
    pub host: Vec<String>,
    /// Only paths that begin with this
    #[arg(long, value_name = "PATH")]
    pub path_prefix: Option<String>,
    /// Only paths that match this whole
    #[arg(long, value_name = "REGEX", conflicts_with = "path_prefix")]
    pub path_regex: Option<String>,
    /// Only requests of this method; may be repeated
    #[arg(long, value_name = "METHOD")]
    pub method: Vec<String>,
    /// Mail that it takes: a domain, *.domain, an address or *; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub recipient: Vec<String>,
    /// It takes nothing from outside, and is there for an authorizer to ask
    #[arg(long, conflicts_with_all = ["host", "path_prefix", "path_regex", "method", "recipient"])]
    pub internal: bool,
    /// The authorizer that says who may
    #[arg(long, value_name = "NAME")]
    pub authorizer: Option<String>,
    /// The path by which proxies check that an upstream is well
    #[arg(long, value_name = "PATH")]
    pub health_check: Option<String>,
}
