//! The log on standard error: what is logged, and how. Nothing is logged before it is started, and it never ends the process.

use std::io::IsTerminal as _;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, registry};

/// What is logged unless somebody says otherwise.
pub(crate) const USUAL: &str = "info";

/// How log lines are written.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// What is logged: a level, and levels of modules.
#[derive(Clone, Debug)]
pub(crate) struct LogFilter(Targets);

impl FromStr for LogFilter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A variable that is set to nothing counts as missing.
        let text = if text.trim().is_empty() { USUAL } else { text };
        // A lone word that is no level, be it for a blank beside it, would be the name of a module, and silence everything else.
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
        let targets = parts.iter().all(|part| part.contains('=') || is_level(part)).then(|| parts.join(",").parse());
        let usable = targets.and_then(Result::ok).map(Self);
        usable.ok_or("must be error, warn, info, debug, trace or off, or such as info,keygate::push=debug")
    }
}

/// Starts the log of a command that serves nobody: what it cannot say itself.
pub(crate) fn start_for_errors() {
    start(LogFormat::Text, LogFilter(Targets::new().with_default(LevelFilter::ERROR)));
}

/// Starts the log.
pub(crate) fn start(format: LogFormat, LogFilter(targets): LogFilter) {
    // Where standard error cannot be written, there is nobody to tell; a log that tried to would end the process.
    let lines = fmt::layer().log_internal_errors(false).with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    registry().with(lines.with_filter(targets)).init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused_rather_than_silencing_errors() {
        let filter = |text: &str| text.parse().ok().map(|LogFilter(targets)| targets);
        for (text, usable) in [
            ("error", "error"),
            ("INFO", "info"),
            ("off", "off"),
            ("keygate=trace", "keygate=trace"),
            ("warn, keygate=debug", "warn,keygate=debug"),
            (" ", "info"),
            ("info ", "info"),
            (" error\r", "error"),
        ] {
            assert_eq!(filter(text), usable.parse().ok(), "{text:?}");
        }
        for unusable in ["verbose", "info,verbose", "keygate=loud", ",", "info,"] {
            assert_eq!(filter(unusable), None, "{unusable}");
        }
    }
}
