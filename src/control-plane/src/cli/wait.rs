//! `--wait`: which proxies decide by a change, and how long that took.
//!
//! The time runs from sending the change until the answer that nobody is missing. Never reports success while a known proxy
//! may still decide by an older table: what cannot be asked counts as not acknowledged.

use std::time::{Duration, Instant};

use clap::Args;

use super::client::{Acknowledgement, Call, Client, Reply};
use super::failure::Failure;
use super::output;

/// The longest wait that the control plane grants.
const LIMIT_SECONDS: u16 = 300;

/// The option of every change.
#[derive(Debug, Clone, Copy, PartialEq, Args)]
pub(crate) struct WaitArgs {
    /// Wait until every known proxy acknowledged the change: `--wait` (10 seconds), `--wait 5` or `--wait=5`
    ///
    /// Prints how many acknowledged and in how many milliseconds; exit code 3 names those that did not. A number right after
    /// `--wait` is always seconds, never an id, so that a forgotten id cannot touch another key: write `key deactivate 7 --wait`,
    /// or the seconds too, `key deactivate --wait 5 7`.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "10", value_parser = parse_seconds)]
    wait: Option<u16>,
}

impl WaitArgs {
    /// For a change that alters no table: there is nothing to wait for.
    pub(super) const NONE: Self = Self { wait: None };

    /// For how long to wait, if at all.
    pub(super) fn seconds(self) -> Option<u16> {
        self.wait
    }
}

/// Succeeds if no proxy is missing at the revision of a reply, which either says so itself or is asked about now.
///
/// A change that takes away the key in use could not be asked about: its reply has to say so itself.
pub(super) async fn for_proxies(client: &Client, reply: Reply, seconds: u16, sent: Instant) -> Result<(), Failure> {
    let acknowledgement = match reply.acknowledgement {
        Some(acknowledgement) => acknowledgement,
        None => ask(client, reply.revision, seconds).await.map_err(|reason| {
            Failure::NotAcknowledged(format!("the change is made, but who acknowledged it is unknown: {reason}"))
        })?,
    };
    if acknowledgement.missing.is_empty() {
        output::print_note(&acknowledgement.summary(sent.elapsed()));
        return Ok(());
    }
    Err(Failure::NotAcknowledged(acknowledgement.complaint(seconds)))
}

impl Acknowledgement {
    fn summary(&self, elapsed: Duration) -> String {
        if self.acknowledged.is_empty() && self.closed.is_empty() {
            return "no proxy is known: none had to acknowledge".to_owned();
        }
        let acknowledged = format!("acknowledged by {} in {} ms", count(&self.acknowledged), elapsed.as_millis());
        if self.closed.is_empty() {
            return acknowledged;
        }
        format!(
            "{acknowledged}; {} closed for certain, past the staleness limit: {}",
            count(&self.closed),
            self.closed.join(", ")
        )
    }

    fn complaint(&self, seconds: u16) -> String {
        let missing = self.missing.join(", ");
        let did = count(&self.acknowledged);
        format!(
            "the change is made, but not acknowledged within {seconds} s by {missing}; {did} did. `keygate proxy show NAME` tells more; \
             for one that is gone for good: `keygate proxy forget NAME`"
        )
    }
}

async fn ask(client: &Client, revision: Option<u64>, seconds: u16) -> Result<Acknowledgement, String> {
    let revision = revision.ok_or("the control plane did not say which revision holds it")?.to_string();
    let reply =
        client.send(&Call::get(&["revisions", &revision]).waiting(seconds)).await.map_err(|failure| failure.to_string())?;
    serde_json::from_value(reply.body).map_err(|error| format!("the answer about the revision cannot be read ({error})"))
}

fn count(proxies: &[String]) -> String {
    match proxies.len() {
        1 => "1 proxy".to_owned(),
        number => format!("{number} proxies"),
    }
}

fn parse_seconds(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(seconds) if seconds <= LIMIT_SECONDS => Ok(seconds),
        _ => Err(format!("seconds are a number from 0 to {LIMIT_SECONDS}; anything else goes before --wait, or after --wait=10")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledgement(acknowledged: &[&str], closed: &[&str], missing: &[&str]) -> Acknowledgement {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Acknowledgement { acknowledged: names(acknowledged), closed: names(closed), missing: names(missing) }
    }

    #[test]
    fn the_summary_counts_proxies_and_milliseconds() {
        let in_7_ms = |state: Acknowledgement| state.summary(Duration::from_micros(7_900));
        assert_eq!(in_7_ms(acknowledgement(&["a", "b"], &[], &[])), "acknowledged by 2 proxies in 7 ms");
        assert_eq!(in_7_ms(acknowledgement(&["a"], &[], &[])), "acknowledged by 1 proxy in 7 ms");
        assert_eq!(in_7_ms(acknowledgement(&[], &[], &[])), "no proxy is known: none had to acknowledge");
        assert_eq!(
            in_7_ms(acknowledgement(&["a", "b"], &["edge-9"], &[])),
            "acknowledged by 2 proxies in 7 ms; 1 proxy closed for certain, past the staleness limit: edge-9"
        );
    }

    #[test]
    fn the_complaint_names_who_is_missing() {
        assert_eq!(
            acknowledgement(&["a"], &[], &["edge-2", "edge-3"]).complaint(10),
            "the change is made, but not acknowledged within 10 s by edge-2, edge-3; 1 proxy did. `keygate proxy show NAME` tells \
             more; for one that is gone for good: `keygate proxy forget NAME`"
        );
    }

    #[test]
    fn seconds_are_whole_and_within_the_limit() {
        assert_eq!(parse_seconds("0"), Ok(0));
        assert_eq!(parse_seconds("300"), Ok(300));
        for text in ["301", "-1", "", "5s", "alice", "99999"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
