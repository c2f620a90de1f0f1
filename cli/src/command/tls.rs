//! What the flags about TLS come to.

use std::path::PathBuf;
use std::sync::Arc;

use ::controlplane::PROTOCOLS;
use net::tls::{Believed, Certificates, Files, Identity, Trust};

use crate::args::{Control, Tls};
use crate::failure::Failure;

/// The admin port's; none: it is not encrypted.
pub fn admin_certificates(control: &Control) -> Result<Option<Arc<Certificates>>, Failure> {
    let clients = control.admin_client_ca.clone();
    match (control.admin_tls_cert.clone(), control.admin_tls_key.clone()) {
        (Some(chain), Some(key)) => {
            let loaded = Certificates::load_for(Files { chain, key, clients }, PROTOCOLS);
            let refused =
                |error| Failure::usage(format!("--admin-tls-cert, --admin-tls-key, --admin-client-ca: {error}"));
            loaded.map(|certificates| Some(certificates.into())).map_err(refused)
        }
        (None, None) if clients.is_some() => Err(Failure::usage(
            "--admin-client-ca needs --admin-tls-cert and --admin-tls-key",
        )),
        (None, None) => Ok(None),
        _ => Err(Failure::usage("--admin-tls-cert and --admin-tls-key belong together")),
    }
}

/// By the authorities that the flags name.
pub fn trust(tls: &Tls) -> Result<Arc<Trust>, Failure> {
    let believed = tls.ca.clone().map_or(Believed::System, Believed::Authorities);
    let is_given = tls.ca.is_some() || tls.client_cert.is_some();
    let trust = Trust::new(believed, identity(tls)?);
    if is_given {
        let refused = |error| Failure::usage(format!("--ca, --client-cert, --client-key: {error}"));
        trust.check().map_err(refused)?;
    }
    Ok(trust.into())
}

/// Of the control plane in this process, whose certificate is in the file `chain`, for whatever name it is.
pub fn trust_itself(chain: PathBuf, tls: &Tls) -> Result<Arc<Trust>, Failure> {
    Ok(Trust::new(Believed::Itself(chain), identity(tls)?).into())
}

fn identity(tls: &Tls) -> Result<Option<Identity>, Failure> {
    match (tls.client_cert.clone(), tls.client_key.clone()) {
        (Some(chain), Some(key)) => Ok(Some(Identity { chain, key })),
        (None, None) => Ok(None),
        _ => Err(Failure::usage("--client-cert and --client-key belong together")),
    }
}
