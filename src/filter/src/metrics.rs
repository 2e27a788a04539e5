//! What the filter counts, in Envoy's own statistics: every request by its outcome, and what the table is like. They are named
//! `wasmcustom.keygate.<table>.…`; envoy/edge.yaml makes tags of the parts that vary.

use keygate_decision::Reason;

use crate::host::{Counter, Gauge};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It passed with a credential.
    Allowed,
    /// It passed without one, by a public rule.
    Public,
    /// It asked whether the filter is ready.
    Readiness,
    /// It was refused.
    Denied(Reason),
    /// It passed although it would have been refused.
    Shadowed(Reason),
}

/// The filter's statistics. One that cannot be defined is not counted: the operator may have switched it off.
pub(crate) struct Metrics {
    allowed: Option<Counter>,
    public: Option<Counter>,
    readiness: Option<Counter>,
    denied: Vec<(Reason, Option<Counter>)>,
    shadowed: Vec<(Reason, Option<Counter>)>,
    revision: Option<Gauge>,
    /// How many credentials the table lets pass.
    pub(crate) keys: Option<Gauge>,
    age_seconds: Option<Gauge>,
    shadow: Option<Gauge>,
}

impl Metrics {
    /// Defines the statistics of a table's filter.
    pub(crate) fn define(table: &str) -> Self {
        let counter = |outcome: &str| Counter::define(&format!("keygate.{table}.requests.{outcome}")).ok();
        let gauge = |name: &str| Gauge::define(&format!("keygate.{table}.{name}")).ok();
        let by_reason =
            |outcome: &str| Reason::ALL.map(|reason| (reason, counter(&format!("{outcome}.{}", reason.code())))).to_vec();
        Self {
            allowed: counter("allowed"),
            public: counter("public"),
            readiness: counter("readiness"),
            denied: by_reason("denied"),
            shadowed: by_reason("shadowed"),
            revision: gauge("table_revision"),
            keys: gauge("table_keys"),
            age_seconds: gauge("table_age_seconds"),
            shadow: gauge("shadow"),
        }
    }

    /// Counts a request.
    pub(crate) fn count(&self, outcome: Outcome) {
        let by_reason = |counters: &[(Reason, Option<Counter>)], reason: Reason| {
            counters.iter().find(|(own, _)| *own == reason).and_then(|(_, counter)| *counter)
        };
        let counter = match outcome {
            Outcome::Allowed => self.allowed,
            Outcome::Public => self.public,
            Outcome::Readiness => self.readiness,
            Outcome::Denied(reason) => by_reason(&self.denied, reason),
            Outcome::Shadowed(reason) => by_reason(&self.shadowed, reason),
        };
        if let Some(counter) = counter {
            // A statistic that the host does not take is no reason to treat the request otherwise.
            let _ = counter.increment();
        }
    }

    /// Shows what the table is like.
    pub(crate) fn show_table(&self, revision: u64, age_seconds: u64) {
        set(self.revision, revision);
        set(self.age_seconds, age_seconds);
    }

    /// Shows whether anything is only reported.
    pub(crate) fn show_shadow(&self, on: bool) {
        set(self.shadow, u64::from(on));
    }
}

/// Shows a number, if the statistic is there.
pub(crate) fn set(gauge: Option<Gauge>, value: u64) {
    if let Some(gauge) = gauge {
        // As with counters.
        let _ = gauge.set(value);
    }
}
