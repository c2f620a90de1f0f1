use clap::Subcommand;

use super::{Creation, Document, Write};
use crate::args::Remote;

/// Authorizers: the servers that say who may use a service
#[derive(Debug, Subcommand)]
pub enum Authorizer {
    /// List the authorizers
    #[command(after_help = "Example:  vulcan authorizer list")]
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Show an authorizer whole, with its defaults filled in
    #[command(after_help = "Example:  vulcan authorizer get main")]
    Get {
        /// Its name
        authorizer: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create or replace an authorizer, and return when every proxy asks it
    ///
    /// The document is the whole of it: what it does not say has its default from then on. The service that it asks has to be
    /// there.
    #[command(
        after_help = "Example:  vulcan authorizer put main '{\"service\": \"auth\", \"path\": \"/authorize\"}'",
        override_usage = "vulcan authorizer put [OPTIONS] <AUTHORIZER> <JSON|--file FILE>"
    )]
    Put {
        /// Its name
        authorizer: String,
        #[command(flatten)]
        document: Document,
        #[command(flatten)]
        creation: Creation,
        #[command(flatten)]
        write: Write,
    },
    /// Change single fields of an authorizer, and return when that is true on every proxy
    ///
    /// The document is a JSON merge patch (RFC 7396): it says the fields that change; null is the default.
    #[command(
        after_help = "Example:  vulcan authorizer patch main '{\"timeout\": \"1s\"}'",
        override_usage = "vulcan authorizer patch [OPTIONS] <AUTHORIZER> <JSON|--file FILE>"
    )]
    Patch {
        /// Its name
        authorizer: String,
        #[command(flatten)]
        document: Document,
        #[command(flatten)]
        write: Write,
    },
    /// Delete an authorizer that no service names any more
    #[command(
        after_help = "Example:  vulcan authorizer delete main",
        override_usage = "vulcan authorizer delete [OPTIONS] <AUTHORIZER>"
    )]
    Delete {
        /// Its name
        authorizer: String,
        #[command(flatten)]
        write: Write,
    },
}
