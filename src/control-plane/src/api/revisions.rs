//! `/revisions`: which proxies have a revision in force. This is how a caller waits until a change holds everywhere.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::input::{Parameters, Path};
use super::{App, Error, reply, wait};
use crate::operations::proxies;
use crate::permission::Caller;
use crate::store::history;

/// GET /revisions/{revision}
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(revision): Path<String>,
    parameters: Parameters,
) -> Result<Response, Error> {
    proxies::may_await(&caller)?;
    let wait = parameters.read(wait::seconds)?.unwrap_or(Duration::ZERO);
    let newest = history::revision(&mut *app.store.read().await?).await?;
    let number = revision.parse().ok().filter(|number| *number <= newest);
    let number: u64 = number.ok_or_else(|| Error::unknown_revision(&revision, newest))?;
    let answer = app.publisher.acknowledged(number, wait).await;
    Ok(reply::one(json!({
        "revision": number,
        "acknowledged": answer.acknowledged,
        "closed": answer.closed,
        "missing": answer.missing,
    })))
}
