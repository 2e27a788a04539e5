//! `/whoami`: what the presented key stands for.

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::{App, Error, reply};
use crate::model::AccountRef;
use crate::operations::accounts;
use crate::permission::{Caller, Standing};

/// GET /whoami
pub(super) async fn show(State(app): State<App>, caller: Caller) -> Result<Response, Error> {
    let limited = matches!(caller.standing, Standing::Limited(..));
    let (account, environment) = match &caller.standing {
        Standing::Admin(id) | Standing::User(id) => {
            let own = AccountRef::Id(*id);
            (Some(accounts::show(&mut *app.store.read().await?, &caller, &own).await?), None)
        }
        Standing::Environment(id) | Standing::Limited(_, id) => (None, Some(id.as_str())),
    };
    Ok(reply::one(json!({
        "key": caller.key.0.to_string(),
        "account": account.as_ref().map(|account| account.name.as_str()),
        "kind": account.as_ref().map(|account| account.kind.as_str()),
        "environment": environment,
        "limited": limited,
    })))
}
