//! `/accounts`.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::input::{Body, Path, text};
use super::{App, Error, reply};
use crate::clock::rfc3339;
use crate::model::{Account, AccountRef, Kind};
use crate::name::AccountName;
use crate::operations::{Missing, accounts};
use crate::permission::Caller;

/// POST /accounts
pub(super) async fn create(State(app): State<App>, caller: Caller, body: Body) -> Result<Response, Error> {
    let (name, kind) = body
        .read(|fields| Ok((fields.required("name", text(AccountName::parse))?, fields.required("kind", text(Kind::parse))?)))?;
    let written = app.change(caller, async move |change, caller| accounts::create(change, caller, &name, kind).await).await?;
    Ok(reply::created(&written, view))
}

/// GET /accounts
pub(super) async fn list(State(app): State<App>, caller: Caller) -> Result<Response, Error> {
    let accounts = accounts::list(&mut *app.store.read().await?, &caller).await?;
    Ok(reply::list(&accounts, view))
}

/// GET /accounts/{account}
pub(super) async fn show(State(app): State<App>, caller: Caller, Path(account): Path<String>) -> Result<Response, Error> {
    let account = accounts::show(&mut *app.store.read().await?, &caller, &reference(&account)?).await?;
    Ok(reply::one(view(&account)))
}

/// POST /accounts/{account}/activate
pub(super) async fn activate(State(app): State<App>, caller: Caller, Path(account): Path<String>) -> Result<Response, Error> {
    let account = reference(&account)?;
    let written = app.change(caller, async move |change, caller| accounts::activate(change, caller, &account).await).await?;
    Ok(reply::changed(&written, view))
}

/// POST /accounts/{account}/deactivate
pub(super) async fn deactivate(State(app): State<App>, caller: Caller, Path(account): Path<String>) -> Result<Response, Error> {
    let account = reference(&account)?;
    let written = app.change(caller, async move |change, caller| accounts::deactivate(change, caller, &account).await).await?;
    Ok(reply::changed(&written, view))
}

/// DELETE /accounts/{account}
pub(super) async fn delete(State(app): State<App>, caller: Caller, Path(account): Path<String>) -> Result<Response, Error> {
    let account = reference(&account)?;
    let written = app.change(caller, async move |change, caller| accounts::delete(change, caller, &account).await).await?;
    Ok(reply::gone(&written))
}

/// What is neither a number nor a name names no account.
pub(super) fn reference(segment: &str) -> Result<AccountRef, Missing> {
    AccountRef::parse(segment).map_err(|_| Missing::account("of such a name"))
}

fn view(account: &Account) -> Value {
    json!({
        "id": account.id.0.to_string(),
        "name": account.name.as_str(),
        "kind": account.kind.as_str(),
        "state": account.state.as_str(),
        "created": rfc3339(account.created),
    })
}
