use std::fs;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::*;

mod trust;

struct Folder {
    folder: tempfile::TempDir,
}

/// A certificate for `name`, and its key.
fn pair(name: &str) -> (String, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

impl Folder {
    fn new() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        Folder { folder }
    }

    fn chain(&self) -> PathBuf {
        self.folder.path().join("chain.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// As those do who renew certificates: another file takes the place of the old one.
    fn put(&self, path: &Path, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, path).unwrap();
    }

    fn load(&self) -> Result<Certificates, CertificatesError> {
        Certificates::load(&self.chain(), &self.key())
    }
}

/// Whether who trusts only `chain` reaches `name` there.
async fn shows(certificates: &Certificates, chain: &str, name: &'static str) -> bool {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(chain.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = tokio::io::duplex(1 << 16);
    let acceptor = certificates.acceptor();
    let server = tokio::spawn(async move { acceptor.accept(far).await.is_ok() });
    let name = ServerName::try_from(name).unwrap();
    let reached = TlsConnector::from(Arc::new(client)).connect(name, near).await;
    server.await.unwrap() && reached.is_ok()
}

#[tokio::test]
async fn a_renewed_pair_is_shown_and_half_of_one_is_not() {
    let files = Folder::new();
    let (old, old_key) = pair("old.example");
    files.put(&files.chain(), &old);
    files.put(&files.key(), &old_key);
    let certificates = files.load().unwrap();
    assert!(shows(&certificates, &old, "old.example").await);
    assert!(!certificates.look().unwrap());

    let (new, new_key) = pair("new.example");
    files.put(&files.chain(), &new);
    let half = certificates.look().unwrap_err().to_string();
    assert!(half.contains("chain.pem"), "{half}");
    assert!(shows(&certificates, &old, "old.example").await);
    assert!(!certificates.look().unwrap(), "it is said once");
    files.put(&files.key(), &new_key);
    assert!(certificates.look().unwrap());
    assert!(shows(&certificates, &new, "new.example").await);
    assert!(!shows(&certificates, &old, "old.example").await);

    fs::remove_file(files.key()).unwrap();
    assert!(certificates.look().is_err());
    assert!(shows(&certificates, &new, "new.example").await);
}

#[test]
fn what_cannot_be_used_is_named_and_not_shown() {
    let files = Folder::new();
    let (chain, key) = pair("a.example");
    let (_, other) = pair("a.example");
    for (chain, key, named) in [
        (None, Some(key.as_str()), "chain.pem cannot be used"),
        (Some(chain.as_str()), None, "key.pem cannot be used"),
        (
            Some("x"),
            Some(key.as_str()),
            "chain.pem cannot be used: it holds no certificate",
        ),
        (
            Some(chain.as_str()),
            Some("x"),
            "key.pem cannot be used: it holds no private key",
        ),
        (Some(chain.as_str()), Some(other.as_str()), "chain.pem cannot be used"),
    ] {
        for (path, text) in [(files.chain(), chain), (files.key(), key)] {
            let _ = fs::remove_file(&path);
            text.inspect(|text| files.put(&path, text));
        }
        let error = files.load().err().unwrap().to_string();
        assert!(error.contains(named) && !error.contains("PRIVATE"), "{error}");
    }
}
