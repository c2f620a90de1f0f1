use std::path::PathBuf;

use controlplane::StoreUrl;
use uuid::Uuid;

use super::control::Cassandra;
use super::people::{Output, Remote};

/// Save the whole configuration of a control plane in a file
///
/// The file is in its place only once it was read back and is whole. It holds the configuration, the list of the proxies
/// and the epochs that the store succeeds: no history, and no counts of limits.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  vulcan backup -o /var/backups/vulcan.snapshot")]
pub struct Backup {
    /// Where to; a file that is there is replaced [default: vulcan-REVISION.snapshot]
    #[arg(short = 'o', long = "file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub remote: Remote,
}

/// Fill an empty store from a backup, before a control plane is started on it
///
/// Objects keep their revisions, and the log goes on from the backup's. The store has an epoch of its own, which proxies of
/// the old one refuse, unless it succeeds theirs: that is what --succeed is for.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  vulcan restore --store redb:/var/lib/vulcan/log.redb --succeed $EPOCH vulcan-42.snapshot",
    override_usage = "vulcan restore --store <URL> [OPTIONS] <FILE>"
)]
pub struct Restore {
    /// What `vulcan backup` saved
    pub file: PathBuf,
    /// The empty store: `redb:PATH`, created if it is not there, or `cassandra://HOST[:PORT],.../KEYSPACE`
    #[arg(long, value_name = "URL", env = "VULCAN_STORE")]
    pub store: StoreUrl,
    /// Take over the proxies of this epoch: the one that `vulcan backup` printed. Nobody else may serve them any more
    #[arg(long, value_name = "EPOCH")]
    pub succeed: Option<Uuid>,
    /// `json` prints one object in place of the table
    #[arg(long, value_name = "FORMAT", env = "VULCAN_OUTPUT", default_value = "table")]
    pub output: Output,
    #[command(flatten)]
    pub cassandra: Cassandra,
}
