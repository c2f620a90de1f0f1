//! What surrounds a service: its log, its signals, its runtime.

use std::future::Future;
use std::io::{self, IsTerminal};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::args::{LogFormat, Process};
use crate::failure::Failure;

/// For blocking work that a shutdown left behind; after it the process ends regardless.
const LEFTOVERS: Duration = Duration::from_secs(2);

/// Runs a service until it ends by itself or by a signal: `stop` is cancelled at the first, the second ends the process.
pub fn run<F, S>(process: &Process, service: S) -> Result<(), Failure>
where
    S: FnOnce(CancellationToken) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    log(process)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("vulcan")
        .build()
        .map_err(|error| Failure::refused(format!("no runtime: {error}")))?;
    let outcome = runtime.block_on(async {
        let signals = Signals::listen().map_err(|error| Failure::refused(format!("no signal handlers: {error}")))?;
        let stop = CancellationToken::new();
        let watch = tokio::spawn(signals.stop(stop.clone()));
        let outcome = service(stop).await;
        watch.abort();
        outcome
    });
    runtime.shutdown_timeout(LEFTOVERS);
    outcome
}

/// What the driver of Cassandra tells by itself, unless it is asked for: the store says what matters of it.
const DRIVER: &str = "scylla=off";

fn log(process: &Process) -> Result<(), Failure> {
    let wanted = match process.log.contains("scylla") {
        true => process.log.clone(),
        false => format!("{DRIVER},{}", process.log),
    };
    let filter = EnvFilter::try_new(wanted).map_err(|error| Failure::usage(format!("--log: {error}")))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let installed = match process.log_format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| Failure::refused(format!("no log: {error}")))
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn stop(mut self, stop: CancellationToken) {
        self.next().await;
        tracing::info!("shutting down; a second signal ends the process at once");
        stop.cancel();
        self.next().await;
        tracing::warn!("ended by a second signal");
        std::process::exit(1);
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
