//! `/proxies`.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::response::Response;
use keygate_wire::records::Position;
use serde_json::{Value, json};

use super::input::Path;
use super::{App, Error, reply};
use crate::clock;
use crate::operations::proxies;
use crate::permission::Caller;
use crate::push::{ProcessStatus, ProxyStatus, Quarantine};
use crate::store::Change;

/// GET /proxies
pub(super) async fn list(State(app): State<App>, caller: Caller) -> Result<Response, Error> {
    Ok(reply::list(&proxies::list(&app.publisher, &caller)?, view))
}

/// GET /proxies/{proxy}
pub(super) async fn show(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Response, Error> {
    Ok(reply::one(view(&proxies::find(&app.publisher, &caller, &name)?)))
}

/// DELETE /proxies/{proxy}
pub(super) async fn forget(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Response, Error> {
    to_the_end(async move {
        let (publisher, proxy) = (app.publisher.clone(), name.clone());
        let written =
            app.change(caller, async move |change, caller| proxies::forget(change, &publisher, caller, &proxy).await).await?;
        proxies::forgotten(&app.publisher, &name, &written.value)?;
        Ok(reply::gone(&written))
    })
    .await
}

/// DELETE /proxies/{proxy}/former
pub(super) async fn forget_former(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Response, Error> {
    to_the_end(async move {
        let (publisher, proxy) = (app.publisher.clone(), name.clone());
        let note =
            async move |change: &mut Change<'_>, caller: &Caller| proxies::forget_former(change, &publisher, caller, &proxy);
        let written = app.change(caller, note).await?;
        app.publisher.forget_kept_out(&name, &written.value);
        Ok(reply::gone(&written))
    })
    .await
}

/// Whoever asked may hang up: what storage has forgotten must be so at the push, too.
async fn to_the_end(work: impl Future<Output = Result<Response, Error>> + Send + 'static) -> Result<Response, Error> {
    tokio::spawn(work).await.map_err(|error| Error::unavailable(&error))?
}

fn view(proxy: &ProxyStatus) -> Value {
    json!({
        "name": proxy.name,
        "identity": proxy.identity.map(|identity| identity.to_string()),
        "connected": proxy.connected,
        "processes": proxy.processes.iter().map(process).collect::<Vec<_>>(),
        "filterVersion": versions(proxy),
        "position": position(proxy.position),
        "acknowledged": proxy.acknowledged,
        "lagMs": milliseconds(proxy.lag),
        "lastHeard": second(proxy.last_heard),
        "clockOffsetMs": proxy.clock_offset_ms,
        "stalenessLimitSeconds": proxy.staleness_limit_seconds,
        "lastRefusal": proxy.last_refusal,
        "quarantined": quarantined(proxy.quarantined.as_ref()),
        "edge": if proxy.closed { "closed" } else { "open" },
    })
}

fn process(process: &ProcessStatus) -> Value {
    json!({
        // Enough to tell them apart.
        "instance": process.instance.map(|[a, b, c, d, ..]| hex::encode([a, b, c, d])),
        "identity": process.identity.map(|identity| identity.to_string()),
        "connected": process.connected,
        "since": second(process.since),
        "filterVersion": process.filter_version,
        "position": position(process.position),
        "acknowledged": process.acknowledged,
        "lagMs": milliseconds(process.lag),
        "lastHeard": second(process.last_heard),
        "clockOffsetMs": process.clock_offset_ms,
        "stalenessLimitSeconds": process.staleness_limit_seconds,
        "lastRefusal": process.last_refusal,
        "quarantined": quarantined(process.quarantined.as_ref()),
    })
}

/// The versions of the filter that its processes run: `0.1.0`, or `0.1.0, 0.2.0` during an upgrade.
fn versions(proxy: &ProxyStatus) -> Option<String> {
    let versions: BTreeSet<_> = proxy.processes.iter().map(|process| process.filter_version.as_str()).collect();
    let versions = versions.into_iter().filter(|version| !version.is_empty()).collect::<Vec<_>>().join(", ");
    (!versions.is_empty()).then_some(versions)
}

fn quarantined(quarantine: Option<&Quarantine>) -> Option<Value> {
    let Quarantine { revision, reason, since } = quarantine?;
    Some(json!({"revision": revision, "reason": reason, "since": second(Some(*since))}))
}

fn position(position: Option<Position>) -> Option<Value> {
    position.map(|at| json!({"epoch": hex::encode(at.epoch), "revision": at.revision}))
}

fn second(time: Option<SystemTime>) -> Option<String> {
    time.map(clock::second_of).map(clock::rfc3339)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
