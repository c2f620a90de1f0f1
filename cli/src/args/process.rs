use std::path::PathBuf;

use clap::ValueEnum;

use super::value;

/// What every service process takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Process")]
pub struct Process {
    /// A TOML file whose keys are the names of these flags; an unknown key is an error
    #[arg(long, value_name = "FILE", env = "VULCAN_CONFIG")]
    pub config: Option<PathBuf>,
    /// What is logged, on stderr: error, warn, info, debug, trace or a filter such as `info,dataplane=debug`
    #[arg(long, value_name = "FILTER", env = "VULCAN_LOG", default_value = "info", value_parser = value::log_filter)]
    pub log: String,
    /// How it is logged
    #[arg(long, value_name = "FORMAT", env = "VULCAN_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}
