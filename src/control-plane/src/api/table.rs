//! `/table`.

use axum::extract::State;
use axum::response::Response;
use keygate_wire::embedded::entry_text;
use serde_json::{Map, json};

use super::{App, Error, reply};
use crate::operations::table;
use crate::permission::Caller;

/// GET /table: the revision, and each digest with its grant as a filter's configuration carries them. No secret follows from a digest.
pub(super) async fn show(State(app): State<App>, caller: Caller) -> Result<Response, Error> {
    let (revision, table) = table::export(&mut *app.store.read_long().await?, &caller).await?;
    let texts = table.iter().map(|(digest, grant)| entry_text(digest, grant));
    let entries: Map<_, _> = texts.map(|(digest, grant)| (digest, grant.into())).collect();
    Ok(reply::one(json!({"revision": revision, "entries": entries})))
}
