//! `/whoami`: what the presented key stands for.

use axum::extract::State;
use axum::response::Response;
use keygate_decision::EnvironmentId;
use serde_json::json;

use super::{App, Error, reply};
use crate::model::AccountRef;
use crate::operations::accounts;
use crate::permission::{Caller, Standing};

/// GET /whoami
pub(super) async fn show(State(app): State<App>, caller: Caller) -> Result<Response, Error> {
    let account = match caller.standing.account() {
        Some(own) => Some(accounts::show(&mut *app.store.read().await?, &caller, &AccountRef::Id(own)).await?),
        None => None,
    };
    Ok(reply::one(json!({
        "key": caller.key.0.to_string(),
        "account": account.as_ref().map(|account| account.name.as_str()),
        "kind": account.as_ref().map(|account| account.kind.as_str()),
        "environment": caller.standing.environment().map(EnvironmentId::as_str),
        "limited": matches!(caller.standing, Standing::Limited(..)),
    })))
}
