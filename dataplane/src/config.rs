use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
pub use shared::stream::subscriber::OnLeaseEnd;

#[derive(Clone)]
pub struct Config {
    /// URLs; tried in turn.
    pub controlplanes: Vec<String>,
    /// The proxy's name on the roster.
    pub name: String,
    /// The instance's own directory: its identity and its copy of the configuration.
    pub data: PathBuf,
    pub http: SocketAddr,
    pub status: Option<SocketAddr>,
    pub lease: Duration,
    pub on_lease_end: OnLeaseEnd,
    /// How long what is in flight may go on after the listeners are closed.
    pub drain_timeout: Duration,
    /// Whose `X-Forwarded-*` are believed.
    pub trusted: Vec<IpNet>,
    /// A client's FIN while its answer is pending is a half-close, not its end.
    pub half_close: bool,
    /// At least 1.
    pub workers: usize,
    /// Accounts of limits that are decided about without asking, at 64 bytes each.
    pub limit_accounts: usize,
    /// Presented to the control plane.
    pub token: Option<String>,
}
