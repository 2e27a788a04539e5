//! For those who watch the process. Neither needs a credential.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::{App, Error, reply};

/// GET /healthz: 200 while the process runs.
pub(super) async fn alive() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// GET /readyz: 200 while storage takes changes and proxies can connect.
pub(super) async fn ready(State(app): State<App>) -> Result<Response, Error> {
    if let Err(error) = app.store.check().await {
        tracing::warn!(%error, "not ready");
        return Err(Error::not_ready("storage is not available; the log says why"));
    }
    if !app.sync_is_up.load(Ordering::Acquire) {
        return Err(Error::not_ready("proxies cannot connect; the log says why"));
    }
    Ok(reply::one(json!({"status": "ready"})))
}
