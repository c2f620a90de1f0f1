use std::path::PathBuf;

use clap::Subcommand;

use super::{Creation, Document, Write};
use crate::args::Remote;

/// Limits: how many requests of whom may pass in a period, in the whole fleet
#[derive(Debug, Subcommand)]
pub enum Limit {
    /// List the limits
    #[command(after_help = "Example:  vulcan limit list")]
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a limit whole, with its defaults filled in
    #[command(after_help = "Example:  vulcan limit get 5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b")]
    Get {
        /// Its UUID
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create or replace a limit, and return when every proxy keeps it
    ///
    /// The document is the whole of it: what it does not say has its default from then on. Whoever creates a limit names it,
    /// by a UUID.
    #[command(
        after_help = "Example:  vulcan limit put $(uuidgen) '{\"threshold\": 100, \"period\": 60, \"path\": \"/login\"}'",
        override_usage = "vulcan limit put [OPTIONS] <ID> <JSON|--file FILE>"
    )]
    Put {
        /// Its UUID
        id: String,
        #[command(flatten)]
        document: Document,
        #[command(flatten)]
        creation: Creation,
        #[command(flatten)]
        write: Write,
    },
    /// Change single fields of a limit, and return when every proxy keeps it
    ///
    /// The document is a JSON merge patch (RFC 7396): it says the fields that change; null is the default.
    #[command(
        after_help = "Example:  vulcan limit patch 5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b '{\"threshold\": 200}'",
        override_usage = "vulcan limit patch [OPTIONS] <ID> <JSON|--file FILE>"
    )]
    Patch {
        /// Its UUID
        id: String,
        #[command(flatten)]
        document: Document,
        #[command(flatten)]
        write: Write,
    },
    /// Delete a limit, and return when no proxy refuses by it any more
    #[command(
        after_help = "Example:  vulcan limit delete 5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b",
        override_usage = "vulcan limit delete [OPTIONS] <ID>"
    )]
    Delete {
        /// Its UUID
        id: String,
        #[command(flatten)]
        write: Write,
    },
    /// Show how much of a limit a requester has used
    #[command(
        after_help = "Example:  vulcan limit usage 5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b --key user@example.com",
        override_usage = "vulcan limit usage [OPTIONS] <ID>"
    )]
    Usage {
        /// Its UUID
        id: String,
        #[command(flatten)]
        account: AccountKey,
        #[command(flatten)]
        remote: Remote,
    },
    /// Let the count of a requester begin anew, and return when no proxy refuses by the old one
    ///
    /// One of --key and --key-file is required.
    #[command(
        after_help = "Example:  vulcan limit reset 5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b --key user@example.com",
        override_usage = "vulcan limit reset [OPTIONS] <ID> <--key KEY|--key-file FILE>"
    )]
    Reset {
        /// Its UUID
        id: String,
        #[command(flatten)]
        account: AccountKey,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Whose count it is about.
#[derive(Debug, clap::Args)]
pub struct AccountKey {
    /// What is counted under: the auth_token, the authorizer's limit_key or the client's address, as the limit says; empty
    /// is whoever did not authenticate
    #[arg(long)]
    pub key: Option<String>,
    /// A file that holds it, `-` is stdin: every user of this machine sees a command line
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub key_file: Option<PathBuf>,
}
