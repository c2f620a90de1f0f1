//! An authority of a test's own, and the certificates that it issues, in files as processes read them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore};

pub struct Authority {
    /// PEM
    pub ca: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    roots: Arc<RootCertStore>,
}

/// Both in PEM.
pub struct Issued {
    pub chain: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// Its own certificate is `<directory>/<name>.ca.pem`.
    pub fn create(directory: &Path, name: &str) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(own.der().clone()).expect("it was made just now");
        let ca = directory.join(format!("{name}.ca.pem"));
        put(&ca, &own.pem());
        Authority {
            ca,
            issuer: Issuer::new(params, key),
            roots: Arc::new(roots),
        }
    }

    /// A certificate for `names` in `<directory>/<file>.pem`, its key in `.key`; what is there is replaced.
    pub fn issue(&self, directory: &Path, file: &str, names: &[&str]) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("plain names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let issued = Issued {
            chain: directory.join(format!("{file}.pem")),
            key: directory.join(format!("{file}.key")),
        };
        put(&issued.chain, &certificate.pem());
        put(&issued.key, &key.serialize_pem());
        issued
    }

    /// Believes this authority, and nobody else.
    pub fn trust(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider's own versions")
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// As those do who renew certificates: another file takes the place of the old one.
fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("a temporary directory takes files");
    std::fs::rename(&new, path).expect("a temporary directory takes files");
}
