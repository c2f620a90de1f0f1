//! The session with Cassandra: who coordinates, how long a statement may take, how many replicas have to agree.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::ExecutionError;
use scylla::policies::host_filter::DcHostFilter;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::response::query_result::QueryResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, SerialConsistency, Statement};

use super::coordinators::{Aim, Coordinators};
use super::failure::Failure;
use super::place::{Options, Place};

/// For one attempt at one statement. A write has three seconds, and repeats what was not answered.
pub const ATTEMPT: Duration = Duration::from_secs(1);

/// For a statement that changes the schema, and for all nodes to agree on it.
pub const SCHEMA: Duration = Duration::from_secs(30);

/// Between two looks whether they do.
const AGREEMENT: Duration = Duration::from_millis(50);

const CONNECT: Duration = Duration::from_secs(10);

/// Between two signs of life, and for each; then a connection counts as broken.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// Why there is no store yet.
#[derive(Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Somebody has to do something about it.
    Refused(String),
    /// Trying again later may do.
    Away(String),
}

impl From<Failure> for Obstacle {
    fn from(failure: Failure) -> Obstacle {
        Obstacle::Away(failure.detail())
    }
}

/// How many have to agree: a quorum of one data centre, or of all. Never a mixture: a write that one data centre decided
/// is not seen by a decision of all.
#[derive(Clone, Copy, Debug)]
pub struct Levels {
    pub plain: Consistency,
    pub serial: SerialConsistency,
    pub serial_read: Consistency,
}

impl Levels {
    fn of(options: &Options) -> Levels {
        match options.dc {
            Some(_) => Levels {
                plain: Consistency::LocalQuorum,
                serial: SerialConsistency::LocalSerial,
                serial_read: Consistency::LocalSerial,
            },
            None => Levels::ALL,
        }
    }

    pub const ALL: Levels = Levels {
        plain: Consistency::Quorum,
        serial: SerialConsistency::Serial,
        serial_read: Consistency::Serial,
    };
}

pub struct Client {
    pub session: Session,
    pub levels: Levels,
    keyspace: String,
    coordinators: Arc<Coordinators>,
}

impl Client {
    pub async fn connect(place: &Place) -> Result<Client, Obstacle> {
        let options = &place.options;
        let levels = Levels::of(options);
        let coordinators = Arc::new(Coordinators::new(options.dc.clone()));
        let profile = ExecutionProfile::builder()
            .consistency(levels.plain)
            .serial_consistency(Some(levels.serial))
            .request_timeout(Some(ATTEMPT))
            .load_balancing_policy(coordinators.clone())
            .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
            .build();
        let mut builder = SessionBuilder::new()
            .known_nodes(&place.contacts)
            .keyspaces_to_fetch([&place.keyspace])
            .default_execution_profile_handle(profile.into_handle())
            .connection_timeout(CONNECT / 2)
            .keepalive_interval(KEEPALIVE)
            .keepalive_timeout(KEEPALIVE)
            .schema_agreement_timeout(SCHEMA)
            .schema_agreement_interval(AGREEMENT)
            // After a keyspace was created somebody asks for it; nothing else of the schema is looked at.
            .refresh_metadata_on_auto_schema_agreement(false)
            .disallow_shard_aware_port(true);
        if let Some(dc) = &options.dc {
            builder = builder.host_filter(Arc::new(DcHostFilter::new(dc.clone())));
        }
        if let Some(user) = &options.user {
            builder = builder.user(user, password(options)?);
        }
        if let Some(tls) = tls(options)? {
            builder = builder.tls_context(Some(tls));
        }
        match tokio::time::timeout(CONNECT, builder.build()).await {
            Ok(Ok(session)) => Ok(Client {
                session,
                levels,
                keyspace: place.keyspace.clone(),
                coordinators,
            }),
            Ok(Err(error)) => Err(Obstacle::Away(error.to_string())),
            Err(_) => Err(Obstacle::Away(format!("no answer within {} s", CONNECT.as_secs()))),
        }
    }

    /// Prepared at the plain level. Tables are named as `{keyspace}.table`: what a name means must not depend on the
    /// connection that it is prepared on.
    pub async fn prepare(&self, text: &str) -> Result<PreparedStatement, Failure> {
        let prepared = tokio::time::timeout(CONNECT, self.session.prepare(self.in_full(text))).await;
        let late = || Failure::NotTried(format!("a statement was not prepared within {} s", CONNECT.as_secs()));
        prepared
            .map_err(|_| late())?
            .map_err(|error| Failure::NotTried(error.to_string()))
    }

    /// Prepared as a read that no decision can have overtaken.
    pub async fn prepare_serial_read(&self, text: &str) -> Result<PreparedStatement, Failure> {
        let mut statement = self.prepare(text).await?;
        statement.set_consistency(self.levels.serial_read);
        Ok(statement)
    }

    /// Prepared for what all data centres decide together, whoever decides about the log.
    pub async fn prepare_everywhere(&self, text: &str, consistency: Consistency) -> Result<PreparedStatement, Failure> {
        let mut statement = self.prepare(text).await?;
        statement.set_consistency(consistency);
        statement.set_serial_consistency(Some(Levels::ALL.serial));
        Ok(statement)
    }

    /// One attempt, with one coordinator.
    pub async fn run(&self, statement: &PreparedStatement, values: impl SerializeRow) -> Result<QueryResult, Failure> {
        let aim = Aim::new(&self.coordinators);
        let mut statement = statement.clone();
        statement.set_load_balancing_policy(Some(aim.clone()));
        let outcome = self.session.execute_unpaged(&statement, values).await;
        Ok(outcome.inspect_err(|error| note(error, &aim))?)
    }

    fn in_full(&self, text: &str) -> String {
        text.replace("{keyspace}", &self.keyspace)
    }

    /// A statement that is seldom said, at `levels`.
    pub async fn say(&self, text: &str, values: impl SerializeRow, levels: Levels) -> Result<QueryResult, Failure> {
        let aim = Aim::new(&self.coordinators);
        let mut statement = Statement::new(self.in_full(text));
        statement.set_consistency(levels.plain);
        statement.set_serial_consistency(Some(levels.serial));
        statement.set_load_balancing_policy(Some(aim.clone()));
        let outcome = self.session.query_unpaged(statement, values).await;
        Ok(outcome.inspect_err(|error| note(error, &aim))?)
    }
}

fn note(error: &ExecutionError, aim: &Aim) {
    if matches!(error, ExecutionError::RequestTimeout(_)) {
        aim.missed();
    }
}

fn password(options: &Options) -> Result<String, Obstacle> {
    let Some(path) = &options.password_file else {
        return Ok(String::new());
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Obstacle::Refused(format!("the password cannot be read: {}: {error}", path.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn tls(options: &Options) -> Result<Option<Arc<ClientConfig>>, Obstacle> {
    let Some(path) = &options.ca else { return Ok(None) };
    let refused =
        |detail: String| Obstacle::Refused(format!("no certificate authority in {}: {detail}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| refused(error.to_string()))? {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refused("it holds no certificate".into()));
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(Arc::new(config)))
}
