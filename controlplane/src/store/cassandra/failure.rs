//! What is known after a statement failed.

use std::fmt;

use scylla::errors::{DbError, ExecutionError, PagerExecutionError, RequestAttemptError};

use crate::store::ReadError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was refused before anything was done, or never sent.
    NotTried(String),
    /// It may have been carried out, or may still be: a coordinator that stood still carries on where it was.
    Unknown(String),
}

impl Failure {
    pub fn detail(self) -> String {
        match self {
            Failure::NotTried(detail) | Failure::Unknown(detail) => detail,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotTried(detail) | Failure::Unknown(detail) => f.write_str(detail),
        }
    }
}

/// Whatever is not known to mean that nothing was done may mean that something was.
impl From<ExecutionError> for Failure {
    fn from(error: ExecutionError) -> Failure {
        use RequestAttemptError::{
            CqlRequestSerialization, DbError as Database, SerializationError, UnableToAllocStreamId,
        };
        let not_tried = match &error {
            ExecutionError::EmptyPlan
            | ExecutionError::BadQuery(_)
            | ExecutionError::PrepareError(_)
            | ExecutionError::ConnectionPoolError(_) => true,
            ExecutionError::LastAttemptError(error) => matches!(
                error,
                Database(DbError::Unavailable { .. }, _)
                    | SerializationError(_)
                    | CqlRequestSerialization(_)
                    | UnableToAllocStreamId
            ),
            _ => false,
        };
        match not_tried {
            true => Failure::NotTried(error.to_string()),
            false => Failure::Unknown(error.to_string()),
        }
    }
}

impl From<PagerExecutionError> for Failure {
    fn from(error: PagerExecutionError) -> Failure {
        Failure::Unknown(error.to_string())
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> ReadError {
        ReadError::Unavailable(failure.detail())
    }
}

/// An answer that is not of the form that the statement asks for.
pub fn malformed(error: impl fmt::Display) -> ReadError {
    ReadError::Corrupt(format!("Cassandra's answer cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use scylla::errors::WriteType;
    use scylla::statement::Consistency;

    use super::*;

    fn of_database(error: DbError) -> Failure {
        Failure::from(ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            error,
            String::new(),
        )))
    }

    #[test]
    fn only_what_was_not_tried_is_known_not_to_be_there() {
        let consistency = Consistency::LocalQuorum;
        let unavailable = DbError::Unavailable {
            consistency,
            required: 2,
            alive: 1,
        };
        assert!(matches!(of_database(unavailable), Failure::NotTried(_)));
        assert!(matches!(Failure::from(ExecutionError::EmptyPlan), Failure::NotTried(_)));

        let timeout = DbError::WriteTimeout {
            consistency,
            received: 1,
            required: 2,
            write_type: WriteType::Cas,
        };
        for error in [timeout, DbError::Overloaded, DbError::ServerError, DbError::Invalid] {
            assert!(matches!(of_database(error.clone()), Failure::Unknown(_)), "{error}");
        }
        let late = ExecutionError::RequestTimeout(Duration::from_secs(1));
        assert!(matches!(Failure::from(late), Failure::Unknown(_)));
    }
}
