use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use controlplane::StoreUrl;

use super::value;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Control plane")]
pub struct Control {
    /// Where the log is kept: `redb:PATH`, a file on a local disk
    #[arg(long, value_name = "URL", env = "VULCAN_STORE")]
    pub store: Option<StoreUrl>,
    /// Where the API answers and proxies connect; any address but a loopback one needs --tokens
    #[arg(long, value_name = "ADDR", env = "VULCAN_ADMIN", default_value = "127.0.0.1:8182", value_parser = value::address)]
    pub admin: SocketAddr,
    /// A proxy that was away for so long leaves the fleet
    #[arg(long, value_name = "DURATION", env = "VULCAN_FORGET_AFTER", default_value = "24h", value_parser = value::forget)]
    pub forget_after: Duration,
    /// A TOML file of those who may use the API, by the SHA-256 of their token; read again when it changes
    #[arg(long, value_name = "FILE", env = "VULCAN_TOKENS")]
    pub tokens: Option<PathBuf>,
}
