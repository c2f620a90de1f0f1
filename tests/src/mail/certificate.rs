//! A certificate for loopback, in files as a proxy reads them, and the trust in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

#[derive(Clone)]
pub struct Certificate {
    /// PEM; a client that is told to trust it trusts nothing else.
    pub chain: PathBuf,
    /// PEM
    pub key: PathBuf,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// A new one, signed by itself, in `<directory>/<name>.pem` and `.key`: what is there is replaced.
    pub fn create(directory: &Path, name: &str) -> Certificate {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let pair = rcgen::generate_simple_self_signed(names).expect("two plain names");
        let place = |ending: &str| directory.join(format!("{name}.{ending}"));
        let certificate = Certificate {
            chain: place("pem"),
            key: place("key"),
            der: pair.cert.der().clone(),
        };
        std::fs::write(&certificate.chain, pair.cert.pem()).expect("a temporary directory takes files");
        std::fs::write(&certificate.key, pair.signing_key.serialize_pem()).expect("a temporary directory takes files");
        certificate
    }

    /// The arguments by which a proxy takes it.
    pub fn arguments(&self) -> [&str; 4] {
        ["--tls-cert", text(&self.chain), "--tls-key", text(&self.key)]
    }

    pub fn trust(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("it was made just now");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider's own versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}
