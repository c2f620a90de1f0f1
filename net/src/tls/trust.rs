//! The side of a client: which servers it believes, and what it shows them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::CertificatesError;
use super::explain::explain;
use super::files::{self, Stamps};

/// Whose word it is that a server is who it says.
#[derive(Clone, Debug, Default)]
pub enum Believed {
    /// The authorities that this machine believes. An operator's own authority is often among them, so they are read where
    /// the system keeps them, and no list of public ones is built in.
    #[default]
    System,
    /// Those in a PEM file, and nobody else.
    Authorities(PathBuf),
    /// Nobody's: the server shows the first certificate of this very file, whatever name it is for.
    Itself(PathBuf),
}

/// What a client shows of itself, in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its own certificate first.
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// Reads its files when it is needed first, and when they have changed.
#[derive(Default)]
pub struct Trust {
    believed: Believed,
    identity: Option<Identity>,
    read: Mutex<Option<(Stamps, Arc<ClientConfig>)>>,
}

impl Trust {
    pub fn new(believed: Believed, identity: Option<Identity>) -> Trust {
        Trust {
            believed,
            identity,
            read: Mutex::default(),
        }
    }

    /// Whether its files can be used now.
    pub fn check(&self) -> Result<(), CertificatesError> {
        self.config().map(drop)
    }

    /// Speaks TLS as a client with `host`, a name or an address, and then `protocol` (ALPN).
    pub async fn connect<S>(
        self: Arc<Trust>,
        stream: S,
        host: &str,
        protocol: &'static [u8],
    ) -> Result<TlsStream<S>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no name of a certificate"))?;
        let config = tokio::task::spawn_blocking(move || self.config()).await;
        let config = config.map_err(|error| error.to_string())?;
        let mut config = ClientConfig::clone(&*config.map_err(|error| error.to_string())?);
        config.alpn_protocols = vec![protocol.to_vec()];
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        connecting.await.map_err(|error| explain(&error))
    }

    /// Blocks. What was read last and could be used, where the files cannot be now.
    fn config(&self) -> Result<Arc<ClientConfig>, CertificatesError> {
        let stamps = Stamps::of(self.paths());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((seen, config)) = &*read
            && *seen == stamps
        {
            return Ok(config.clone());
        }
        match (&mut *read, self.read()) {
            (_, Ok(config)) => {
                let config = Arc::new(config);
                *read = Some((stamps, config.clone()));
                Ok(config)
            }
            (Some((seen, config)), Err(error)) => {
                tracing::error!(%error, "who is believed stays as it was");
                *seen = stamps;
                Ok(config.clone())
            }
            (None, Err(error)) => Err(error),
        }
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let believed = match &self.believed {
            Believed::System => None,
            Believed::Authorities(path) | Believed::Itself(path) => Some(path),
        };
        let identity = self.identity.iter().flat_map(|own| [&own.chain, &own.key]);
        believed.into_iter().chain(identity).map(PathBuf::as_path)
    }

    fn read(&self) -> Result<ClientConfig, CertificatesError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (verifier, path) = match &self.believed {
            Believed::System => (by_authorities(system()?, &provider), Path::new(SYSTEM)),
            Believed::Authorities(path) => (by_authorities(files::roots(path)?, &provider), path.as_path()),
            Believed::Itself(path) => (Ok(itself(files::certificates(path)?, &provider)), path.as_path()),
        };
        let verifier = verifier.map_err(|error| CertificatesError::of(path, error))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| CertificatesError::of(path, error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        match &self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some(Identity { chain, key }) => builder
                .with_client_auth_cert(files::certificates(chain)?, files::key(key)?)
                .map_err(|error| CertificatesError::of(chain, error)),
        }
    }
}

/// In an error's place of a path.
const SYSTEM: &str = "the system's list of authorities";

fn system() -> Result<RootCertStore, CertificatesError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Lists of systems hold some that nobody can read any more.
    roots.add_parsable_certificates(found.certs);
    match (roots.is_empty(), found.errors.first()) {
        (false, _) => Ok(roots),
        (true, Some(error)) => Err(CertificatesError::of(Path::new(SYSTEM), error)),
        (true, None) => Err(CertificatesError::of(Path::new(SYSTEM), "it is empty; --ca names one")),
    }
}

type Verifier = Arc<dyn ServerCertVerifier>;

fn by_authorities(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Verifier, rustls::client::VerifierBuilderError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    Ok(verifier)
}

fn itself(chain: Vec<CertificateDer<'static>>, provider: &Arc<CryptoProvider>) -> Verifier {
    Arc::new(Itself {
        certificate: chain.into_iter().next(),
        provider: provider.clone(),
    })
}

/// Believes one certificate. That the server has its key, the signatures of the handshake show.
#[derive(Debug)]
struct Itself {
    certificate: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Itself {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.certificate.as_ref().is_some_and(|known| known == shown) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
