use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use ipnet::IpNet;

use super::value::{self, Url};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Proxy")]
pub struct Proxy {
    /// The folder that holds what this process must not forget; one process at a time
    #[arg(long, value_name = "DIR", env = "VULCAN_DATA", default_value = "./vulcan-data")]
    pub data: PathBuf,
    /// The name in the fleet, unique in it [default: the host name]
    #[arg(long, env = "VULCAN_NAME", value_parser = value::proxy_name)]
    pub name: Option<String>,
    /// Where HTTP is proxied
    #[arg(long, value_name = "ADDR", env = "VULCAN_HTTP", default_value = "127.0.0.1:8080", value_parser = value::address)]
    pub http: SocketAddr,
    /// Where mail is taken, in the clear or after STARTTLS
    #[arg(long, value_name = "ADDR", env = "VULCAN_SMTP", value_parser = value::address)]
    pub smtp: Option<SocketAddr>,
    /// Where mail is taken under TLS from the first byte; needs --tls-cert and --tls-key [default: nowhere]
    #[arg(long, value_name = "ADDR", env = "VULCAN_SMTPS", value_parser = value::address)]
    pub smtps: Option<SocketAddr>,
    /// A PEM file of the certificate that mail clients are shown, and of its chain; read again when it changes
    #[arg(long, value_name = "FILE", env = "VULCAN_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// A PEM file of the private key of --tls-cert; read again when it changes
    #[arg(long, value_name = "FILE", env = "VULCAN_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// By which mail clients are greeted, and where mail to `postmaster` alone belongs [default: the host name]
    #[arg(long, value_name = "NAME", env = "VULCAN_MAIL_HOSTNAME", value_parser = value::mail_hostname)]
    pub mail_hostname: Option<String>,
    /// Where /healthz, /readyz and /metrics of the proxy answer [default: nowhere]
    #[arg(long, value_name = "ADDR", env = "VULCAN_STATUS", value_parser = value::address)]
    pub status: Option<SocketAddr>,
    /// Without contact for so long, the proxy counts as detached: writes no longer wait for it
    #[arg(long, value_name = "DURATION", env = "VULCAN_LEASE", default_value = "10s", value_parser = value::lease)]
    pub lease: Duration,
    /// What the proxy does then
    #[arg(long, value_name = "WHAT", env = "VULCAN_ON_LEASE_END", default_value = "serve")]
    pub on_lease_end: OnLeaseEnd,
    /// How long a shutdown waits for what is in flight before it is cut
    #[arg(long, value_name = "DURATION", env = "VULCAN_DRAIN_TIMEOUT", default_value = "30s", value_parser = value::drain)]
    pub drain_timeout: Duration,
    /// Networks whose Forwarded and X-Forwarded-* headers, XCLIENT and PROXY protocol are believed [default: none]
    #[arg(long, value_name = "CIDR,...", env = "VULCAN_TRUSTED", value_delimiter = ',', value_parser = value::network)]
    pub trusted: Vec<IpNet>,
    /// Take a client's end of stream as a half-close, not as its leaving
    #[arg(long, env = "VULCAN_HALF_CLOSE")]
    pub half_close: bool,
    /// Threads that proxy [default: one per core]
    #[arg(long, value_name = "N", env = "VULCAN_WORKERS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
    /// Accounts of limits that are decided about without asking the control plane, at 128 bytes each from the first limit on
    #[arg(long, value_name = "N", env = "VULCAN_LIMIT_ACCOUNTS", default_value_t = 131_072, value_parser = clap::value_parser!(u32).range(1_024..=16_777_216))]
    pub limit_accounts: u32,
    /// Where a line is written for each request and message, `-` being stdout; opened again at SIGHUP [default: nowhere]
    #[arg(long, value_name = "FILE", env = "VULCAN_ACCESS_LOG")]
    pub access_log: Option<PathBuf>,
    /// How
    #[arg(
        long,
        value_name = "FORMAT",
        env = "VULCAN_ACCESS_LOG_FORMAT",
        default_value = "json"
    )]
    pub access_log_format: AccessLogFormat,
    /// A file that holds the token to present to the control plane; else VULCAN_TOKEN is the token itself
    #[arg(long, value_name = "FILE", env = "VULCAN_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AccessLogFormat {
    /// One object a line
    Json,
    /// As Apache and nginx write it, without the query
    Combined,
}

impl From<AccessLogFormat> for dataplane::access_log::Format {
    fn from(format: AccessLogFormat) -> dataplane::access_log::Format {
        match format {
            AccessLogFormat::Json => dataplane::access_log::Format::Json,
            AccessLogFormat::Combined => dataplane::access_log::Format::Combined,
        }
    }
}

/// How a proxy that runs on its own reaches its control plane.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Proxy")]
pub struct Uplink {
    /// One or several control planes of one fleet, http://HOST:PORT or https://HOST:PORT; the proxy uses one that answers [required]
    #[arg(long, value_name = "URL,...", env = "VULCAN_CONTROLPLANE", value_delimiter = ',')]
    pub controlplane: Vec<Url>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnLeaseEnd {
    /// Go on with the last table, marked as stale
    Serve,
    /// Go on, and answer 503 to /readyz
    Unready,
    /// Close the listeners and cut what is in flight
    Stop,
}

impl From<OnLeaseEnd> for dataplane::OnLeaseEnd {
    fn from(what: OnLeaseEnd) -> dataplane::OnLeaseEnd {
        match what {
            OnLeaseEnd::Serve => dataplane::OnLeaseEnd::Serve,
            OnLeaseEnd::Unready => dataplane::OnLeaseEnd::Unready,
            OnLeaseEnd::Stop => dataplane::OnLeaseEnd::Stop,
        }
    }
}
