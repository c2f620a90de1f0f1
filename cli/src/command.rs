//! One file per command: each puts its parts together. What two of them share is here.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::controlplane::StoreUrl;
use ::dataplane::access_log::{AccessLog, Target};
use net::tls::{Certificates, Trust};

use crate::args::{Cassandra, Control, Proxy, Tls};
use crate::failure::Failure;

pub mod apply;
pub mod backup;
pub mod completions;
pub mod controlplane;
pub mod dataplane;
pub mod explain;
pub mod export;
pub mod fleet;
pub mod forget;
mod given;
pub mod hold;
pub mod leave;
pub mod object;
mod pages;
mod place;
pub mod restore;
pub mod revert;
pub mod revisions;
pub mod revoke;
pub mod succeed;
mod tls;
pub mod up;
pub mod watch;
mod written;

pub use tls::trust;

/// `VULCAN_TOKEN`, or the file that holds it; a token on a command line would be seen by every user of the machine.
const TOKEN: &str = "VULCAN_TOKEN";

fn control_config(control: &Control, tls: &Tls, store: StoreUrl) -> Result<::controlplane::Config, Failure> {
    if control.tokens.is_none() && !control.admin.ip().is_loopback() {
        let admin = control.admin;
        return Err(Failure::usage(format!(
            "--admin {admin} can be reached from outside: it needs --tokens FILE"
        )));
    }
    let alone = matches!(store, StoreUrl::Redb(_));
    let shared_only = [
        ("--advertise", control.advertise.is_some()),
        ("--peer-token-file", control.peer_token_file.is_some()),
    ];
    if let Some((flag, _)) = shared_only.iter().find(|(_, given)| *given && alone) {
        return Err(Failure::usage(format!(
            "--store {store} is of one control plane alone: {flag} is for those that share a Cassandra"
        )));
    }
    if !alone && control.admin.ip().is_unspecified() && control.advertise.is_none() {
        let admin = control.admin;
        return Err(Failure::usage(format!(
            "--admin {admin} does not say where other control planes reach this one: it needs --advertise URL"
        )));
    }
    if !alone && control.tokens.is_some() && control.peer_token_file.is_none() {
        return Err(Failure::usage(
            "--tokens on a shared store needs --peer-token-file FILE: control planes have to let each other in",
        ));
    }
    let peer_token = control.peer_token_file.as_deref();
    let peer_token = peer_token.map(|file| token_in("--peer-token-file", file)).transpose()?;
    Ok(::controlplane::Config {
        store: with_options(store, &control.cassandra)?,
        admin: control.admin,
        forget_after: control.forget_after,
        tokens: control.tokens.clone(),
        tls: tls::admin_certificates(control)?,
        advertise: control.advertise.as_ref().map(ToString::to_string),
        peer_token: peer_token.map(Into::into),
        trust: tls::trust(tls)?,
    })
}

/// The store, with how to get into it.
fn with_options(mut store: StoreUrl, cassandra: &Cassandra) -> Result<StoreUrl, Failure> {
    let options = cassandra.options();
    match &mut store {
        StoreUrl::Cassandra(_) if options.user.is_some() != options.password_file.is_some() => {
            return Err(Failure::usage(
                "--cassandra-user and --cassandra-password-file belong together",
            ));
        }
        StoreUrl::Cassandra(place) => place.options = options,
        StoreUrl::Redb(_) if options != Default::default() => {
            return Err(Failure::usage(format!(
                "--store {store} takes no flag that begins with --cassandra"
            )));
        }
        StoreUrl::Redb(_) => {}
    }
    Ok(store)
}

fn proxy_config(
    proxy: &Proxy,
    controlplanes: Vec<String>,
    trust: Arc<Trust>,
    data: &Path,
) -> Result<::dataplane::Config, Failure> {
    let name = name(proxy)?;
    Ok(::dataplane::Config {
        controlplanes,
        access_log: access_log(proxy, &name)?,
        name,
        data: data.to_owned(),
        http: proxy.http,
        smtp: proxy.smtp,
        smtps: proxy.smtps,
        tls: certificates(proxy)?,
        mail_hostname: mail_hostname(proxy)?,
        spool: data.to_owned(),
        status: proxy.status,
        lease: proxy.lease,
        on_lease_end: proxy.on_lease_end.into(),
        drain_timeout: proxy.drain_timeout,
        trusted: proxy.trusted.clone(),
        half_close: proxy.half_close,
        limit_accounts: proxy.limit_accounts as usize,
        workers: workers(proxy),
        token: token(proxy.token_file.as_deref())?,
        trust,
    })
}

fn name(proxy: &Proxy) -> Result<String, Failure> {
    if let Some(name) = &proxy.name {
        return Ok(name.clone());
    }
    let host = host_name();
    crate::args::proxy_name(&host).map_err(|detail| {
        Failure::usage(format!(
            "the host name `{host}` cannot name a proxy ({detail}): give --name"
        ))
    })
}

fn mail_hostname(proxy: &Proxy) -> Result<String, Failure> {
    if let Some(name) = &proxy.mail_hostname {
        return Ok(name.clone());
    }
    let host = host_name();
    crate::args::mail_hostname(&host).map_err(|detail| {
        Failure::usage(format!(
            "the host name `{host}` cannot greet mail clients ({detail}): give --mail-hostname"
        ))
    })
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn certificates(proxy: &Proxy) -> Result<Option<Arc<Certificates>>, Failure> {
    match (&proxy.tls_cert, &proxy.tls_key) {
        (Some(chain), Some(key)) => {
            let certificates = Certificates::load(chain, key);
            let refused = |error| Failure::usage(format!("--tls-cert and --tls-key: {error}"));
            certificates
                .map(|certificates| Some(certificates.into()))
                .map_err(refused)
        }
        (None, None) if proxy.smtps.is_some() => Err(Failure::usage("--smtps needs --tls-cert and --tls-key")),
        (None, None) => Ok(None),
        _ => Err(Failure::usage("--tls-cert and --tls-key belong together")),
    }
}

/// Opened at once: whoever asks for it is told when it cannot be.
fn access_log(proxy: &Proxy, name: &str) -> Result<Option<Arc<AccessLog>>, Failure> {
    let Some(file) = &proxy.access_log else {
        return Ok(None);
    };
    let target = match file.as_os_str() == "-" {
        true => Target::Stdout,
        false => Target::File(file.clone()),
    };
    let refused = |error| Failure::refused(format!("--access-log {}: {error}", file.display()));
    let log = AccessLog::open(target, proxy.access_log_format.into(), name).map_err(refused)?;
    Ok(Some(log.into()))
}

fn workers(proxy: &Proxy) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    proxy.workers.map_or_else(cores, usize::from)
}

pub fn token(file: Option<&Path>) -> Result<Option<String>, Failure> {
    match (file, std::env::var(TOKEN)) {
        (Some(file), _) => token_in("--token-file", file).map(Some),
        (None, Ok(text)) => a_token(TOKEN, &text).map(Some),
        (None, Err(_)) => Ok(None),
    }
}

fn token_in(flag: &str, file: &Path) -> Result<String, Failure> {
    let source = format!("{flag} {}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("{source}: {error}")))?;
    a_token(&source, &text)
}

fn a_token(source: &str, text: &str) -> Result<String, Failure> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::usage(format!(
            "{source}: a token is one word of visible ASCII"
        )));
    }
    Ok(token.to_owned())
}

/// What a write waits for proxies where neither caller nor kind of write says anything else; it is the API's.
const WAIT: Duration = Duration::from_secs(15);
/// The longest that the API lets a write wait.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// For the commit before the wait, and for the way.
const BESIDE_WAIT: Duration = Duration::from_secs(15);

fn with_timeout(path: &str, timeout: Option<Duration>) -> String {
    match timeout {
        Some(timeout) => format!("{path}?timeout={}ms", timeout.as_millis()),
        None => path.to_owned(),
    }
}

/// A reader that closed the pipe has seen enough; what could not be written otherwise is missed by somebody.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::refused(format!("the output could not be written: {error}")))
        }
        _ => Ok(()),
    }
}
