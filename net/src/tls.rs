//! The certificate that TLS listeners show: read from files, and again whenever those change.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A chain and its key are a few KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

pub struct Certificates {
    chain: PathBuf,
    key: PathBuf,
    config: ArcSwap<ServerConfig>,
    seen: Mutex<Stamps>,
}

/// How the files stood when they were looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamps {
    chain: Option<Stamp>,
    key: Option<Stamp>,
}

/// Device, inode, bytes, and the time of the last change in seconds and nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

#[derive(Debug)]
pub struct CertificatesError {
    path: PathBuf,
    detail: String,
}

impl fmt::Display for CertificatesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be used: {}", self.path.display(), self.detail)
    }
}

impl std::error::Error for CertificatesError {}

impl Certificates {
    /// Both in PEM: the chain with the server's own certificate first, and its private key.
    pub fn load(chain: &Path, key: &Path) -> Result<Certificates, CertificatesError> {
        let seen = Stamps::of(chain, key);
        let config = read(chain, key)?;
        Ok(Certificates {
            chain: chain.to_owned(),
            key: key.to_owned(),
            config: ArcSwap::from_pointee(config),
            seen: Mutex::new(seen),
        })
    }

    /// With the newest files that could be used. Connections that have begun keep theirs.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }

    /// Takes over what the files hold when they have changed: whether they have. A pair that cannot be used, as one that
    /// is half written, changes nothing, and is tried again when it has changed once more.
    pub fn look(&self) -> Result<bool, CertificatesError> {
        let stamps = Stamps::of(&self.chain, &self.key);
        let before = std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), stamps);
        if before == stamps {
            return Ok(false);
        }
        self.config.store(Arc::new(read(&self.chain, &self.key)?));
        Ok(true)
    }

    /// Looks every second, until `stop`.
    pub async fn keep(self: Arc<Certificates>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let certificates = self.clone();
            match tokio::task::spawn_blocking(move || certificates.look()).await {
                Ok(Ok(false)) | Err(_) => {}
                Ok(Ok(true)) => tracing::info!(chain = %self.chain.display(), "the certificate changed"),
                Ok(Err(error)) => tracing::error!(%error, "the certificate stays as it was"),
            }
        }
    }
}

impl Stamps {
    fn of(chain: &Path, key: &Path) -> Stamps {
        let of = |path: &Path| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.dev(), file.ino(), file.size(), file.ctime(), file.ctime_nsec()))
        };
        Stamps {
            chain: of(chain),
            key: of(key),
        }
    }
}

fn read(chain: &Path, key: &Path) -> Result<ServerConfig, CertificatesError> {
    let wrong = |path: &Path, detail: String| CertificatesError {
        path: path.to_owned(),
        detail,
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes(chain)?).collect();
    let certificates = certificates.map_err(|error| wrong(chain, error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong(chain, "it holds no certificate in PEM".to_owned()));
    }
    // The error of a key says nothing of what it is.
    let private = PrivateKeyDer::from_pem_slice(&bytes(key)?);
    let private = private.map_err(|_| wrong(key, "it holds no private key in PEM".to_owned()))?;
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, private))
        .map_err(|error| wrong(chain, error.to_string()))
}

fn bytes(path: &Path) -> Result<Vec<u8>, CertificatesError> {
    let wrong = |detail: String| CertificatesError {
        path: path.to_owned(),
        detail,
    };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(count) if count as u64 > FILE_BYTES_MAX => Err(wrong(format!("it has more than {FILE_BYTES_MAX} bytes"))),
        Ok(_) => Ok(bytes),
        Err(error) => Err(wrong(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
