use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use net::tls::{Certificates, Trust};
pub use shared::stream::subscriber::OnLeaseEnd;

use crate::access_log::AccessLog;

#[derive(Clone)]
pub struct Config {
    /// URLs; tried in turn.
    pub controlplanes: Vec<String>,
    /// The proxy's name on the roster.
    pub name: String,
    /// The instance's own directory: its identity and its copy of the configuration.
    pub data: PathBuf,
    pub http: SocketAddr,
    /// Where mail is taken in the clear, or after STARTTLS.
    pub smtp: Option<SocketAddr>,
    /// Where mail is taken under TLS from the first byte; needs `tls`.
    pub smtps: Option<SocketAddr>,
    /// None: no connection is encrypted.
    pub tls: Option<Arc<Certificates>>,
    /// By which the proxy greets mail clients and signs `Received` fields.
    pub mail_hostname: String,
    /// Where messages lie that are too long for memory, as long as they are on their way.
    pub spool: PathBuf,
    pub status: Option<SocketAddr>,
    pub lease: Duration,
    pub on_lease_end: OnLeaseEnd,
    /// How long what is in flight may go on after the listeners are closed.
    pub drain_timeout: Duration,
    /// Whose `X-Forwarded-*`, XCLIENT and PROXY headers are believed.
    pub trusted: Vec<IpNet>,
    /// A client's FIN while its answer is pending is a half-close, not its end.
    pub half_close: bool,
    /// At least 1.
    pub workers: usize,
    /// Accounts of limits that are decided about without asking, at 64 bytes each.
    pub limit_accounts: usize,
    /// None: nobody wants it.
    pub access_log: Option<Arc<AccessLog>>,
    /// Presented to the control plane.
    pub token: Option<String>,
    /// Which control planes are believed.
    pub trust: Arc<Trust>,
}
