//! The `vulcan` binary: the command line, and the only place where the parts are put together.

use std::ffi::OsString;
use std::process::ExitCode;

use args::{Cli, Command};
use config::Unparsed;
use failure::Failure;

mod args;
mod changes;
mod client;
mod columns;
mod command;
mod config;
mod document;
mod failure;
mod process;
mod terminal;
mod waiting;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let cli = match config::parse(&args) {
        Ok(cli) => cli,
        // Clap knows which stream and which status each has.
        Err(Unparsed::Usage(error)) => error.exit(),
        Err(Unparsed::File(detail)) => return Failure::usage(detail).report(),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// One line each, as in args.rs.
#[rustfmt::skip]
fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Up(args) => command::up::run(*args),
        Command::Controlplane(args) => command::controlplane::run(*args),
        Command::Dataplane(args) => command::dataplane::run(*args),
        Command::Upstream(verb) => command::object::upstream(*verb),
        Command::Leave(args) => command::leave::run(args),
        Command::Hold(args) => command::hold::run(args),
        Command::Resume(args) => command::hold::resume(args),
        Command::Service(verb) => command::object::service(*verb),
        Command::Limit(verb) => command::object::limit(*verb),
        Command::Authorizer(verb) => command::object::authorizer(*verb),
        Command::Revoke(args) => command::revoke::run(args),
        Command::Fleet(args) => command::fleet::run(args),
        Command::Revisions(args) => command::revisions::run(args),
        Command::Backup(args) => command::backup::run(args),
        Command::Restore(args) => command::restore::run(*args),
        Command::Apply(args) => command::apply::run(args),
        Command::Export(args) => command::export::run(args),
        Command::Revert(args) => command::revert::run(args),
        Command::Explain(args) => command::explain::run(args),
        Command::Watch(args) => command::watch::run(args),
        Command::Forget(args) => command::forget::run(args),
        Command::Succeed(args) => command::succeed::run(args),
        Command::Completions(args) => command::completions::run(args),
    }
}
