//! Certificates: what listeners show, and whom clients believe. Both are read from files, and again whenever those change.

mod explain;
mod files;
mod trust;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use files::Stamps;

pub use explain::explain;
pub use trust::{Believed, Identity, Trust};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a listener shows, and whom it lets speak.
pub struct Certificates {
    files: Files,
    /// By which clients and it agree on what they speak (ALPN), the preferred one first; none: they know.
    protocols: &'static [&'static [u8]],
    config: ArcSwap<ServerConfig>,
    seen: Mutex<Stamps>,
}

/// All in PEM.
#[derive(Clone, Debug)]
pub struct Files {
    /// The listener's own certificate first.
    pub chain: PathBuf,
    /// Of the listener's own certificate.
    pub key: PathBuf,
    /// Authorities: clients have to show a certificate of one of them. None: they show none.
    pub clients: Option<PathBuf>,
}

#[derive(Debug)]
pub struct CertificatesError {
    path: PathBuf,
    detail: String,
}

impl CertificatesError {
    fn of(path: &Path, detail: impl fmt::Display) -> CertificatesError {
        CertificatesError {
            path: path.to_owned(),
            detail: detail.to_string(),
        }
    }
}

impl fmt::Display for CertificatesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be used: {}", self.path.display(), self.detail)
    }
}

impl std::error::Error for CertificatesError {}

impl Certificates {
    /// For anybody, who knows what is spoken.
    pub fn load(chain: &Path, key: &Path) -> Result<Certificates, CertificatesError> {
        let files = Files {
            chain: chain.to_owned(),
            key: key.to_owned(),
            clients: None,
        };
        Certificates::load_for(files, &[])
    }

    pub fn load_for(files: Files, protocols: &'static [&'static [u8]]) -> Result<Certificates, CertificatesError> {
        let seen = Stamps::of(files.paths());
        let config = read(&files, protocols)?;
        Ok(Certificates {
            files,
            protocols,
            config: ArcSwap::from_pointee(config),
            seen: Mutex::new(seen),
        })
    }

    /// With the newest files that could be used. Connections that have begun keep theirs.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }

    /// Takes over what the files hold when they have changed: whether they have. What cannot be used, as a pair that is
    /// half written, changes nothing, and is tried again when it has changed once more.
    pub fn look(&self) -> Result<bool, CertificatesError> {
        let stamps = Stamps::of(self.files.paths());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == stamps {
            return Ok(false);
        }
        *seen = stamps;
        drop(seen);
        self.config.store(Arc::new(read(&self.files, self.protocols)?));
        Ok(true)
    }

    /// Looks every second, until `stop`.
    pub async fn keep(self: Arc<Certificates>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let certificates = self.clone();
            match tokio::task::spawn_blocking(move || certificates.look()).await {
                Ok(Ok(false)) | Err(_) => {}
                Ok(Ok(true)) => tracing::info!(chain = %self.files.chain.display(), "the certificate changed"),
                Ok(Err(error)) => tracing::error!(%error, "the certificate stays as it was"),
            }
        }
    }
}

impl Files {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.chain, &self.key]
            .into_iter()
            .chain(&self.clients)
            .map(PathBuf::as_path)
    }
}

fn read(files: &Files, protocols: &[&[u8]]) -> Result<ServerConfig, CertificatesError> {
    let chain = files::certificates(&files.chain)?;
    let key = files::key(&files.key)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| CertificatesError::of(&files.chain, error))?;
    let builder = match &files.clients {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(files::roots(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| CertificatesError::of(path, error))?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| CertificatesError::of(&files.chain, error))?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

#[cfg(test)]
mod tests;
