//! `/proxies`.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::input::Path;
use super::{App, Error, reply};
use crate::clock;
use crate::operations::proxies;
use crate::permission::Caller;
use crate::push::ProxyStatus;

/// GET /proxies
pub(super) async fn list(State(app): State<App>, caller: Caller) -> Result<Response, Error> {
    Ok(reply::list(&proxies::list(&app.publisher, &caller)?, view))
}

/// DELETE /proxies/{proxy}
pub(super) async fn forget(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Response, Error> {
    // Whoever asked may hang up: what storage has forgotten must be so at the push, too.
    let forgotten = tokio::spawn(async move {
        let (publisher, proxy) = (app.publisher.clone(), name.clone());
        let written =
            app.change(caller, async move |change, caller| proxies::forget(change, &publisher, caller, &proxy).await).await?;
        proxies::forgotten(&app.publisher, &name, &written.value)?;
        Ok::<_, Error>(written)
    });
    Ok(reply::gone(&forgotten.await.map_err(|error| Error::unavailable(&error))??))
}

fn view(proxy: &ProxyStatus) -> Value {
    let position = proxy.position.as_ref();
    json!({
        "name": proxy.name,
        "identity": proxy.identity.map(|identity| identity.to_string()),
        "connected": proxy.connected,
        "position": position.map(|at| json!({"epoch": hex::encode(at.epoch), "revision": at.revision})),
        "acknowledged": proxy.acknowledged,
        "lastHeard": proxy.last_heard.map(clock::second_of).map(clock::rfc3339),
        "stalenessLimitSeconds": proxy.staleness_limit_seconds,
        "lastRefusal": proxy.last_refusal,
        "edge": if proxy.closed { "closed" } else { "open" },
    })
}
