//! How a command ends when it did not do what it was asked.

use std::fmt::Display;
use std::process::ExitCode;

#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The flags contradict each other or are missing: status 2.
    Usage(String),
    /// It was refused, could not be done, or was not reached in time: status 1.
    Refused(String),
    /// The same, as the body that the API answered, for whoever asked for JSON: status 1.
    Body(String),
}

impl Failure {
    pub fn usage(detail: impl Into<String>) -> Failure {
        Failure::Usage(detail.into())
    }

    pub fn refused(detail: impl Display) -> Failure {
        Failure::Refused(detail.to_string())
    }

    /// What it is, in words or as the API put it.
    pub fn detail(&self) -> &str {
        match self {
            Failure::Usage(detail) | Failure::Refused(detail) | Failure::Body(detail) => detail.trim_end(),
        }
    }

    /// Says it on stderr, and which status the process ends with.
    pub fn report(self) -> ExitCode {
        match self {
            Failure::Usage(detail) => {
                eprintln!("error: {detail}\n\nFor more information, try '--help'.");
                ExitCode::from(2)
            }
            Failure::Refused(detail) => {
                eprintln!("error: {detail}");
                ExitCode::from(1)
            }
            Failure::Body(body) => {
                eprintln!("{}", body.trim_end());
                ExitCode::from(1)
            }
        }
    }
}
