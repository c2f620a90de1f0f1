//! What went wrong with TLS, in words for whoever has to set it right.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// The error and what is behind it; of TLS what is to be done, in the place of either.
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let of_tls = error.downcast_ref::<rustls::Error>().or_else(|| inside(error));
        if let Some(error) = of_tls {
            return in_words(error);
        }
        let said = error.to_string();
        if !text.ends_with(&said) {
            let colon = if text.is_empty() { "" } else { ": " };
            text += &format!("{colon}{said}");
        }
        next = error.source();
    }
    text
}

/// An error of I/O does not name what it holds as its source.
fn inside<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}

fn in_words(error: &rustls::Error) -> String {
    use AlertDescription as Alert;
    match error {
        rustls::Error::InvalidCertificate(wrong) => certificate(wrong),
        rustls::Error::InvalidMessage(_) => "no TLS is spoken there: http://, perhaps".to_owned(),
        rustls::Error::NoApplicationProtocol | rustls::Error::AlertReceived(Alert::NoApplicationProtocol) => {
            "no HTTP is spoken there that is known here".to_owned()
        }
        rustls::Error::AlertReceived(Alert::CertificateRequired) => {
            "a client certificate is asked for: --client-cert and --client-key".to_owned()
        }
        rustls::Error::AlertReceived(
            alert @ (Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::DecryptError
            | Alert::AccessDenied),
        ) => format!("the client certificate is not believed there ({alert:?})"),
        other => format!("TLS: {other}"),
    }
}

fn certificate(wrong: &CertificateError) -> String {
    match wrong {
        // The signature is wrong where another authority of the same name is known.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the certificate shown there is of no authority that is believed here; --ca names one".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the certificate shown there is another one's: {wrong}")
        }
        CertificateError::ApplicationVerificationFailure => {
            "the certificate shown there is not the one in the file".to_owned()
        }
        other => format!("the certificate shown there is not valid: {other}"),
    }
}
