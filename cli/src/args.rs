//! The command line: every flag, its variable and its default. `config` adds the file.

use clap::{Arg, CommandFactory, Parser, Subcommand};

mod applying;
mod backup;
mod control;
mod object;
mod people;
mod process;
mod proxy;
mod tls;
mod topic;
mod value;

pub use applying::{Apply, Explain, Export, Format, Revert};
pub use backup::{Backup, Restore};
pub use control::{Cassandra, Control};
pub use object::{
    AccountKey, Authorizer, Creation, Document, Goal, Limit, Service, ServiceFields, Upstream, UpstreamFields, Write,
};
pub use people::{Completions, Fleet, Forget, Hold, Leave, Output, Remote, Resume, Revisions, Revoke, Succeed, Watch};
pub use process::{LogFormat, Process};
pub use proxy::{Proxy, Uplink};
pub use tls::Tls;
pub use value::{Url, mail_hostname, proxy_name};

/// A reverse proxy fleet in which a change is live everywhere when the call that made it returns.
///
/// `vulcan up` runs everything in one process. A fleet is `vulcan controlplane`, one or several on one store, and any number of `vulcan dataplane`.
#[derive(Debug, Parser)]
#[command(name = "vulcan", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// One line each, under the topic that `vulcan help` lists it by.
#[rustfmt::skip]
#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(display_order = topic::SERVE)] Up(Box<Up>),
    #[command(display_order = topic::SERVE)] Controlplane(Box<Controlplane>),
    #[command(display_order = topic::SERVE)] Dataplane(Box<Dataplane>),
    #[command(display_order = topic::DEPLOY, subcommand)] Upstream(Box<Upstream>),
    #[command(display_order = topic::DEPLOY)] Leave(Leave),
    #[command(display_order = topic::DEPLOY)] Hold(Hold),
    #[command(display_order = topic::DEPLOY)] Resume(Resume),
    #[command(display_order = topic::CONFIGURE, subcommand)] Service(Box<Service>),
    #[command(display_order = topic::CONFIGURE, subcommand)] Limit(Box<Limit>),
    #[command(display_order = topic::CONFIGURE, subcommand)] Authorizer(Box<Authorizer>),
    #[command(display_order = topic::CONFIGURE)] Revoke(Revoke),
    #[command(display_order = topic::CONFIGURE)] Apply(Apply),
    #[command(display_order = topic::CONFIGURE)] Export(Export),
    #[command(display_order = topic::CONFIGURE)] Revert(Revert),
    #[command(display_order = topic::LOOK)] Explain(Explain),
    #[command(display_order = topic::LOOK)] Fleet(Fleet),
    #[command(display_order = topic::LOOK)] Revisions(Revisions),
    #[command(display_order = topic::LOOK)] Watch(Watch),
    #[command(display_order = topic::OPERATE)] Backup(Backup),
    #[command(display_order = topic::OPERATE)] Restore(Box<Restore>),
    #[command(display_order = topic::OPERATE)] Forget(Forget),
    #[command(display_order = topic::OPERATE)] Succeed(Succeed),
    #[command(display_order = topic::OPERATE)] Completions(Completions),
}

/// The whole command line, as it is parsed, shown and completed.
pub fn command() -> clap::Command {
    topic::grouped(Cli::command())
}

const SERVICE_HELP: &str = "\
Every flag can be set by its variable or by a key of its name in the file of --config; the flag wins over the variable, \
the variable over the file. SIGTERM or SIGINT closes the listeners, lets what is in flight finish and exits with 0; a \
second one exits at once.

Each listener is one line on stdout once it is bound, `listening <kind> <address>`; `ready` follows when all is ready.";

/// Run the control plane and one proxy in this process
#[derive(Debug, clap::Args)]
#[command(after_help = SERVICE_HELP)]
#[command(mut_arg("store", |store| explained(store, "[default: redb:DIR/controlplane/log.redb, DIR being that of --data]")))]
#[command(mut_arg("smtp", |smtp| smtp.default_value("127.0.0.1:2525")))]
pub struct Up {
    #[command(flatten)]
    pub control: Control,
    #[command(flatten)]
    pub proxy: Proxy,
    #[command(flatten)]
    pub tls: Tls,
    #[command(flatten)]
    pub process: Process,
}

/// Run the control plane: the log of the configuration, its API, and the stream to the proxies
#[derive(Debug, clap::Args)]
#[command(after_help = SERVICE_HELP, override_usage = "vulcan controlplane --store <URL> [OPTIONS]")]
#[command(mut_arg("store", |store| explained(store, "[required]")))]
pub struct Controlplane {
    #[command(flatten)]
    pub control: Control,
    #[command(flatten)]
    pub tls: Tls,
    #[command(flatten)]
    pub process: Process,
}

/// Run one proxy
#[derive(Debug, clap::Args)]
#[command(after_help = SERVICE_HELP, override_usage = "vulcan dataplane --controlplane <URL,...> [OPTIONS]")]
#[command(mut_arg("smtp", |smtp| explained(smtp, "[default: nowhere]")))]
pub struct Dataplane {
    #[command(flatten)]
    pub uplink: Uplink,
    #[command(flatten)]
    pub proxy: Proxy,
    #[command(flatten)]
    pub tls: Tls,
    #[command(flatten)]
    pub process: Process,
}

/// The same flag is required by one command, has a default in another, or the default depends on a second flag.
fn explained(arg: Arg, note: &str) -> Arg {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.help(format!("{help} {note}"))
}
