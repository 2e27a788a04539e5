//! What is known of proxies, for people and for statistics. It decides nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::process::Process;
use crate::push::moments::Moments;
use crate::push::{ProcessStatus, ProxyStatus};

/// What is known of a proxy with these processes.
pub(super) fn proxy(name: &str, processes: &[Process], closed: bool, published: &Moments, now: Instant) -> ProxyStatus {
    let processes: Vec<_> = processes.iter().map(|known| process(known, published, now)).collect();
    let furthest_behind = processes.iter().min_by_key(|process| process.acknowledged);
    ProxyStatus {
        name: name.to_owned(),
        identity: processes.iter().rev().find_map(|process| process.identity),
        connected: processes.iter().any(|process| process.connected),
        position: furthest_behind.and_then(|process| process.position),
        acknowledged: furthest_behind.and_then(|process| process.acknowledged),
        lag: processes.iter().map(|process| process.lag).max().unwrap_or(Duration::ZERO),
        last_heard: processes.iter().filter_map(|process| process.last_heard).max(),
        clock_offset_ms: processes
            .iter()
            .filter_map(|process| process.clock_offset_ms)
            .max_by_key(|offset| offset.unsigned_abs()),
        staleness_limit_seconds: processes.iter().map(|process| process.staleness_limit_seconds).max().unwrap_or(0),
        closed,
        // The newest process's word counts most.
        last_refusal: processes.iter().rev().find_map(|process| process.last_refusal.clone()),
        quarantined: processes.iter().rev().find_map(|process| process.quarantined.clone()),
        processes,
    }
}

fn process(known: &Process, published: &Moments, now: Instant) -> ProcessStatus {
    ProcessStatus {
        instance: known.instance,
        identity: known.identity,
        connected: known.stream().is_some(),
        since: known.since,
        filter_version: known.filter_version.clone(),
        position: known.position,
        acknowledged: known.acknowledged,
        lag: published.lag(known.acknowledged, now),
        last_heard: known.last_heard,
        clock_offset_ms: known.clock_offset_ms,
        staleness_limit_seconds: known.staleness_limit_seconds,
        last_refusal: known.last_refusal.clone(),
        quarantined: known.quarantined.clone(),
    }
}
