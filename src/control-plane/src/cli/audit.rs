//! `keygate audit`: what its commands ask of the API. Never sends anything itself.

use clap::{Args, Subcommand, value_parser};
use keygate_decision::UnixSeconds;

use super::action::Action;
use super::client::{Call, Reference};
use super::output::{Column, View};
use crate::clock::{Clock, rfc3339};

const RECORD: View = &[
    Column::new("ID", "id"),
    Column::new("TIME", "time"),
    Column::new("ACTOR", "actor"),
    Column::new("ACTION", "action"),
    Column::new("OBJECT", "object"),
    Column::new("DETAIL", "detail"),
];

/// The commands of `keygate audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List what was done and what was refused, newest first
    List {
        #[command(flatten)]
        filter: Filter,
    },
}

/// Which records to list.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// From this time on: 2026-11-21T20:00:00Z, or how long ago, such as 24h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true)]
    since: Option<String>,
    /// Before this time: 2026-11-21T20:00:00Z, or how long ago
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true)]
    until: Option<String>,
    /// Done by this account (name or id), or to it
    #[arg(long)]
    account: Option<Reference>,
    /// Done with this key or login (id), or to it
    #[arg(long, value_name = "ID")]
    key: Option<Reference>,
    /// At most so many, up to 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u32).range(1..=1000), allow_hyphen_values = true)]
    limit: u32,
    /// Older than this record: the last one of the page before
    #[arg(long, value_name = "ID")]
    before: Option<Reference>,
}

impl From<AuditCommand> for Action {
    fn from(command: AuditCommand) -> Self {
        let AuditCommand::List { filter } = command;
        let Filter { since, until, account, key, limit, before } = filter;
        let call = Call::get(&["audit"]).with_query("since", since).with_query("until", until);
        let call = call.with_query("account", account).with_query("key", key);
        Self::ListSome(call.with_query("limit", Some(limit)).with_query("before", before), RECORD, limit)
    }
}

fn parse_time(text: &str) -> Result<String, String> {
    time_before(Clock::system().now(), text)
}

fn time_before(now: UnixSeconds, text: &str) -> Result<String, String> {
    if humantime::parse_rfc3339(text).is_ok() {
        return Ok(text.to_owned());
    }
    let ago = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write 2026-11-21T20:00:00Z, or 24h or 7d for how long ago"))?;
    Ok(rfc3339(UnixSeconds(now.0.saturating_sub(ago.as_secs()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_one_in_utc_or_how_long_ago() {
        let now = UnixSeconds(1_800_000_000);
        assert_eq!(time_before(now, "2026-11-21T20:00:00Z").as_deref(), Ok("2026-11-21T20:00:00Z"));
        assert_eq!(time_before(now, "1h").as_deref(), Ok("2027-01-15T07:00:00Z"));
        assert_eq!(time_before(now, "1000y").as_deref(), Ok("1970-01-01T00:00:00Z"));
        for text in ["", "yesterday", "24", "2026-11-21"] {
            assert!(time_before(now, text).is_err(), "{text}");
        }
    }
}
