//! `keygate filter`: a filter's configuration, looked at before it reaches Envoy. Parsed, judged and explained by the very code that the
//! filter is made of; only `--as` asks the control plane, for one key's grant. Never prints a secret.
//!
//! `check.rs` shows what a configuration comes to. `explain.rs` makes the request and finds the verdict (`verdict.rs`, with `grant.rs` for
//! `--as` and `upstream.rs` for what travels on), `report.rs` shows it.

mod check;
mod explain;
mod grant;
mod report;
mod upstream;
mod verdict;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use keygate_wire::{FilterConfig, InvalidConfig};
use serde_json::Value;

use super::connection::ConnectionArgs;
use super::export::configuration_inside;
use super::failure::Failure;
use super::output::OutputFormat;
use crate::clock::Clock;

/// The commands of `keygate filter`.
#[derive(Debug, Subcommand)]
pub(crate) enum FilterCommand {
    /// Validate a configuration, and show the rules that it comes to
    Check {
        /// The filter's JSON: the text in `configuration.value` of an Envoy configuration, or an Envoy file in JSON that holds it; - reads
        /// standard input
        file: PathBuf,
    },
    /// Explain rule by rule what a request would get, and why
    ///
    /// Decides with the filter's own code, for a filter whose table is there and not stale. The exit code is 0 whatever the verdict.
    Explain(explain::ExplainArgs),
}

impl FilterCommand {
    /// Runs the command.
    pub(super) async fn run(self, connection: &ConnectionArgs, output: OutputFormat) -> Result<(), Failure> {
        match self {
            Self::Check { file } => check::run(&load(&file)?, Clock::system().now(), output),
            Self::Explain(args) => explain::run(&load(&args.file)?, &args, connection, output).await,
        }
    }
}

/// Reads and parses a configuration.
fn load(file: &Path) -> Result<FilterConfig, Failure> {
    let read = if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    parse(&read.map_err(|error| Failure::Unusable(format!("cannot read {}: {error}", file.display())))?)
}

fn parse(bytes: &[u8]) -> Result<FilterConfig, Failure> {
    let unusable = |error: InvalidConfig| Failure::Unusable(error.to_string());
    match (FilterConfig::parse(bytes), is_envoys(bytes)) {
        (Ok(config), _) => Ok(config),
        (Err(error), false) => Err(unusable(error)),
        (Err(_), true) => match configuration_inside(bytes) {
            Some(inside) => FilterConfig::parse(inside.as_bytes()).map_err(unusable),
            None => Err(Failure::Unusable(
                "this is a configuration of Envoy, not of the filter: give the JSON that stands in it as text, in the filter's \
                 configuration.value"
                    .to_owned(),
            )),
        },
    }
}

/// Whether unusable text looks like a configuration, or a part of one, that is meant for Envoy itself, in JSON or YAML.
fn is_envoys(bytes: &[u8]) -> bool {
    const FIELDS: [&str; 9] = [
        "@type",
        "admin",
        "configuration",
        "dynamic_resources",
        "http_filters",
        "resources",
        "static_resources",
        "typed_config",
        "vm_config",
    ];
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(fields)) => FIELDS.iter().any(|field| fields.contains_key(*field)),
        Ok(_) => false,
        Err(_) => {
            let text = String::from_utf8_lossy(bytes);
            let first_words = text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).split_once(':'));
            !text.trim_start().starts_with('{') && first_words.into_iter().any(|(word, _)| FIELDS.contains(&word))
        }
    }
}

#[cfg(test)]
mod tests;
