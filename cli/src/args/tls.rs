use std::path::PathBuf;

/// How control planes are recognized that are reached by https://, and what is shown to them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "TLS to control planes")]
pub struct Tls {
    /// Believe control planes whose certificate is of an authority in this PEM file [default: the system's authorities]
    #[arg(long, value_name = "FILE", env = "VULCAN_CA")]
    pub ca: Option<PathBuf>,
    /// A PEM file of the certificate to show to control planes that ask for one, and of its chain
    #[arg(long, value_name = "FILE", env = "VULCAN_CLIENT_CERT")]
    pub client_cert: Option<PathBuf>,
    /// A PEM file of the private key of --client-cert
    #[arg(long, value_name = "FILE", env = "VULCAN_CLIENT_KEY")]
    pub client_key: Option<PathBuf>,
}
