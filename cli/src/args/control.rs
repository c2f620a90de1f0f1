use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use controlplane::StoreUrl;

use super::value;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Control plane")]
pub struct Control {
    /// Where the log is kept: `redb:PATH`, a file on a local disk, or `cassandra://HOST[:PORT],.../KEYSPACE`
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
    /// Speak TLS on --admin, and show this PEM file's certificate and its chain; read again when it changes
    #[arg(long, value_name = "FILE", env = "VULCAN_ADMIN_TLS_CERT")]
    pub admin_tls_cert: Option<PathBuf>,
    /// A PEM file of the private key of --admin-tls-cert; read again when it changes
    #[arg(long, value_name = "FILE", env = "VULCAN_ADMIN_TLS_KEY")]
    pub admin_tls_key: Option<PathBuf>,
    /// Ask every client of --admin for a certificate of an authority in this PEM file; tokens are asked for beside it
    #[arg(long, value_name = "FILE", env = "VULCAN_ADMIN_CLIENT_CA")]
    pub admin_client_ca: Option<PathBuf>,
    /// Where other control planes of the same Cassandra reach this one [default: the address of --admin]
    #[arg(long, value_name = "URL", env = "VULCAN_ADVERTISE")]
    pub advertise: Option<value::Url>,
    /// A file that holds the token which control planes of one Cassandra present to each other
    #[arg(long, value_name = "FILE", env = "VULCAN_PEER_TOKEN_FILE")]
    pub peer_token_file: Option<PathBuf>,
    #[command(flatten)]
    pub cassandra: Cassandra,
}

/// How to get into the Cassandra of --store.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Cassandra")]
pub struct Cassandra {
    /// The user, where Cassandra asks for one
    #[arg(long, value_name = "USER", env = "VULCAN_CASSANDRA_USER")]
    pub cassandra_user: Option<String>,
    /// A file that holds the user's password
    #[arg(long, value_name = "FILE", env = "VULCAN_CASSANDRA_PASSWORD_FILE")]
    pub cassandra_password_file: Option<PathBuf>,
    /// Connect by TLS, and trust nodes whose certificate is of an authority in this PEM file and names their address
    #[arg(long, value_name = "FILE", env = "VULCAN_CASSANDRA_CA")]
    pub cassandra_ca: Option<PathBuf>,
    /// The data centre whose nodes decide alone; the same for all control planes of a store [default: all decide together]
    #[arg(long, value_name = "DC", env = "VULCAN_CASSANDRA_DC")]
    pub cassandra_dc: Option<String>,
    /// Copies of each row in each data centre, if the keyspace has to be created [default: 3, or as many as there are nodes]
    #[arg(long, value_name = "N", env = "VULCAN_CASSANDRA_REPLICATION", value_parser = clap::value_parser!(u16).range(1..=99))]
    pub cassandra_replication: Option<u16>,
}

impl Cassandra {
    /// Nothing when no flag is given.
    pub fn options(&self) -> controlplane::CassandraOptions {
        controlplane::CassandraOptions {
            user: self.cassandra_user.clone(),
            password_file: self.cassandra_password_file.clone(),
            ca: self.cassandra_ca.clone(),
            dc: self.cassandra_dc.clone(),
            replication: self.cassandra_replication,
        }
    }
}
