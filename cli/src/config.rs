//! Where a setting comes from: its flag, else its `VULCAN_*` variable, else the file of `--config`, else its default.
//!
//! Flags and variables are clap's own. The file's values become the defaults of the flags of the same name, so a key has
//! the type, the checks and the rank of its flag, and a key without a flag is an error.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::builder::{OsStr, Resettable};
use clap::{Arg, ArgAction, Command, FromArgMatches};

use crate::args::Cli;

/// Longer is a mistake, not a configuration.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why there is nothing to run.
#[derive(Debug)]
pub enum Unparsed {
    /// The command line, as clap explains it; help and version come this way too.
    Usage(clap::Error),
    File(String),
}

impl From<clap::Error> for Unparsed {
    fn from(error: clap::Error) -> Unparsed {
        Unparsed::Usage(error)
    }
}

pub fn parse(args: &[OsString]) -> Result<Cli, Unparsed> {
    let mut command = crate::args::command();
    let mut matches = command.clone().try_get_matches_from(args)?;
    if let Some((name, sub)) = matches.subcommand()
        && let Ok(Some(path)) = sub.try_get_one::<PathBuf>("config")
    {
        command = over_file(command, name, path)?;
        matches = command.clone().try_get_matches_from(args)?;
    }
    Ok(Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?)
}

/// `command` with the file's values in place of the defaults of its subcommand `name`.
fn over_file(command: Command, name: &str, path: &Path) -> Result<Command, Unparsed> {
    let found = read(path).and_then(|text| match command.find_subcommand(name) {
        Some(sub) => settings(sub, &text),
        None => Ok(Vec::new()),
    });
    let settings = found.map_err(|problem| Unparsed::File(format!("--config {}: {problem}", path.display())))?;
    Ok(command.mut_subcommand(name, |sub| {
        settings.into_iter().fold(sub, |sub, (id, values)| {
            sub.mut_arg(id, |arg| arg.default_values(values.into_iter().map(OsStr::from)))
        })
    }))
}

fn read(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("{size} bytes is too long for a configuration"));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}

/// The ids of the flags that the file sets, each with its values; or everything that is wrong with the file.
fn settings(command: &Command, text: &str) -> Result<Vec<(String, Vec<String>)>, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let mut settings = Vec::new();
    let mut wrong = Vec::new();
    for (key, value) in &table {
        match setting(command, key, value) {
            Ok(setting) => settings.push(setting),
            Err(problem) => wrong.push(format!("{key}: {problem}")),
        }
    }
    if wrong.is_empty() {
        Ok(settings)
    } else {
        Err(wrong.join("\n  "))
    }
}

fn setting(command: &Command, key: &str, value: &toml::Value) -> Result<(String, Vec<String>), String> {
    let arg = command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(key) && arg.get_id() != "config");
    let arg = arg.ok_or_else(|| format!("unknown key; `vulcan {}` has no flag --{key}", command.get_name()))?;
    let values = values(arg, value)?;
    check(arg, key, &values)?;
    Ok((arg.get_id().to_string(), values))
}

fn values(arg: &Arg, value: &toml::Value) -> Result<Vec<String>, String> {
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let is_list = matches!(arg.get_action(), ArgAction::Append);
    match value {
        toml::Value::Boolean(on) if is_switch => Ok(vec![on.to_string()]),
        _ if is_switch => Err("must be true or false".to_owned()),
        toml::Value::Array(items) if is_list => items.iter().map(scalar).collect(),
        value => Ok(vec![scalar(value)?]),
    }
}

fn scalar(value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        other => Err(format!("does not take a value of type {}", other.type_str())),
    }
}

/// Parses the values as the flag would. Done here also for those that a flag or a variable overrides: a file is right or
/// wrong as a whole, not depending on what else was said.
fn check(arg: &Arg, key: &str, values: &[String]) -> Result<(), String> {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return Ok(());
    }
    let alone = Command::new("file")
        .no_binary_name(true)
        .disable_help_flag(true)
        .arg(arg.clone().env(Resettable::Reset));
    match alone.try_get_matches_from(values.iter().map(|value| format!("--{key}={value}"))) {
        Ok(_) => Ok(()),
        Err(error) => Err(message(&error)),
    }
}

/// What is wrong, without clap's advice on usage.
fn message(error: &clap::Error) -> String {
    if let Some(source) = std::error::Error::source(error) {
        return source.to_string();
    }
    let text = error.to_string();
    let text = text.split("\n\n").next().unwrap_or_default();
    text.trim_start_matches("error: ")
        .split('\n')
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory;

    use super::*;
    use crate::args::Command as Chosen;

    fn settings_of(name: &str, text: &str) -> Result<Vec<(String, Vec<String>)>, String> {
        settings(Cli::command().find_subcommand(name).unwrap(), text)
    }

    fn parse_with(file: &str, flags: &[&str]) -> Result<Chosen, Unparsed> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vulcan.toml");
        fs::write(&path, file).unwrap();
        let mut args: Vec<OsString> = vec!["vulcan".into(), "dataplane".into(), "--config".into(), path.into()];
        args.extend(flags.iter().map(OsString::from));
        parse(&args).map(|cli| cli.command)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn has_its_variable(sub: &Command, arg: &Arg, may_be_without: bool) {
        let Some(long) = arg.get_long() else { return };
        let variable = format!("VULCAN_{}", long.to_uppercase().replace('-', "_"));
        let name = sub.get_name();
        match arg.get_env() {
            None => assert!(may_be_without, "vulcan {name} --{long}"),
            Some(env) => assert_eq!(env, OsStr::from(variable), "vulcan {name} --{long}"),
        }
    }

    /// What their flags say is of that one call and no other: a variable that was left over would change it.
    const SINGLE: [&str; 7] = ["apply", "backup", "explain", "export", "restore", "revert", "revoke"];

    #[test]
    fn every_flag_has_its_variable() {
        for sub in Cli::command().get_subcommands() {
            for arg in sub.get_arguments() {
                has_its_variable(sub, arg, SINGLE.contains(&sub.get_name()));
            }
            for verb in sub.get_subcommands() {
                for arg in verb.get_arguments() {
                    has_its_variable(verb, arg, true);
                }
            }
        }
    }

    #[test]
    fn a_file_sets_every_kind_of_flag() {
        let file = "
            controlplane = [\"http://10.0.0.1:8182\", \"http://10.0.0.2:8182\"]
            http = \"127.0.0.1:0\"
            lease = \"1500ms\"
            half-close = true
            workers = 4
            trusted = \"10.0.0.0/8\"
        ";
        let Chosen::Dataplane(args) = parse_with(file, &[]).unwrap() else {
            panic!("another command")
        };
        assert_eq!(args.uplink.controlplane.len(), 2);
        assert_eq!(args.proxy.http.port(), 0);
        assert_eq!(args.proxy.lease, Duration::from_millis(1500));
        assert!(args.proxy.half_close);
        assert_eq!(args.proxy.workers, Some(4));
        assert_eq!(args.proxy.trusted[0].to_string(), "10.0.0.0/8");
        assert_eq!(
            args.proxy.drain_timeout,
            Duration::from_secs(30),
            "not in the file: the default"
        );
    }

    #[test]
    fn a_flag_wins_over_the_file_and_replaces_a_list() {
        let file = "lease = \"20s\"\ntrusted = [\"10.0.0.0/8\", \"192.168.0.0/16\"]";
        let flags = ["--lease", "5s", "--trusted", "127.0.0.0/8"];
        let Chosen::Dataplane(args) = parse_with(file, &flags).unwrap() else {
            panic!("another command")
        };
        assert_eq!(args.proxy.lease, Duration::from_secs(5));
        assert_eq!(args.proxy.trusted.len(), 1);
    }

    #[test]
    fn everything_wrong_is_named_at_once() {
        let wrong = settings_of(
            "dataplane",
            "colour = 1\nlease = 10\ntrusted = [\"10.0.0.0/33\"]\nhalf-close = \"yes\"\non-lease-end = \"panic\"\nhttp = 1.5",
        )
        .unwrap_err();
        for part in [
            "colour: unknown key; `vulcan dataplane` has no flag --colour",
            "lease: a duration is a whole number with a unit",
            "trusted: `10.0.0.0/33` is no network",
            "half-close: must be true or false",
            "on-lease-end: invalid value 'panic'",
            "http: does not take a value of type float",
        ] {
            assert!(wrong.contains(part), "no {part:?} in:\n{wrong}");
        }
    }

    #[test]
    fn a_wrong_value_is_wrong_even_where_a_flag_overrides_it() {
        let Unparsed::File(error) = parse_with("lease = \"soon\"", &["--lease", "5s"]).unwrap_err() else {
            panic!("it is the file that is wrong")
        };
        assert!(
            error.starts_with("--config /") && error.contains("vulcan.toml: lease: "),
            "{error}"
        );
    }

    #[test]
    fn a_key_of_another_command_and_the_file_itself_are_unknown() {
        assert!(
            settings_of("controlplane", "http = \"127.0.0.1:80\"")
                .unwrap_err()
                .starts_with("http: unknown key")
        );
        assert!(
            settings_of("up", "config = \"other.toml\"")
                .unwrap_err()
                .starts_with("config: unknown key")
        );
    }

    #[test]
    fn a_list_where_one_value_belongs_is_refused() {
        assert!(
            settings_of("up", "admin = [\"127.0.0.1:1\"]")
                .unwrap_err()
                .starts_with("admin: ")
        );
    }

    #[test]
    fn a_file_that_is_no_toml_shows_where() {
        assert!(settings_of("up", "admin = \n").unwrap_err().contains("line 1"));
    }
}
