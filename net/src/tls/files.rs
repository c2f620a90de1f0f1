//! What is in the files, and whether they have changed.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::CertificatesError;

/// A chain and its key are a few KiB, and all authorities of a system a few hundred.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How files stood when they were looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamps(Vec<Option<Stamp>>);

/// Device, inode, bytes, and the time of the last change in seconds and nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

impl Stamps {
    pub fn of<'a>(paths: impl Iterator<Item = &'a Path>) -> Stamps {
        let of = |path: &Path| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.dev(), file.ino(), file.size(), file.ctime(), file.ctime_nsec()))
        };
        Stamps(paths.map(of).collect())
    }
}

/// At least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificatesError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes(path)?).collect();
    let certificates = certificates.map_err(|error| CertificatesError::of(path, error))?;
    match certificates.is_empty() {
        true => Err(CertificatesError::of(path, "it holds no certificate in PEM")),
        false => Ok(certificates),
    }
}

pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificatesError> {
    // The error of a key says nothing of what it is.
    PrivateKeyDer::from_pem_slice(&bytes(path)?)
        .map_err(|_| CertificatesError::of(path, "it holds no private key in PEM"))
}

/// Authorities.
pub fn roots(path: &Path) -> Result<RootCertStore, CertificatesError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| CertificatesError::of(path, error))?;
    }
    Ok(roots)
}

fn bytes(path: &Path) -> Result<Vec<u8>, CertificatesError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(count) if count as u64 > FILE_BYTES_MAX => {
            let detail = format!("it has more than {FILE_BYTES_MAX} bytes");
            Err(CertificatesError::of(path, detail))
        }
        Ok(_) => Ok(bytes),
        Err(error) => Err(CertificatesError::of(path, error)),
    }
}
