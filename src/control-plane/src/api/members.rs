//! `/environments/{environment}/members`.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::input::{Body, Path, text};
use super::{App, Error, accounts, environments, reply};
use crate::clock::rfc3339;
use crate::model::{Member, Role};
use crate::operations::members;
use crate::permission::Caller;

/// GET /environments/{environment}/members
pub(super) async fn list(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Response, Error> {
    let (members, _) = members::list(&mut *app.store.read().await?, &caller, &environments::reference(&id)?).await?;
    Ok(reply::list(&members, view))
}

/// PUT /environments/{environment}/members/{account}
pub(super) async fn put(
    State(app): State<App>,
    caller: Caller,
    Path((id, account)): Path<(String, String)>,
    body: Body,
) -> Result<Response, Error> {
    let (id, account) = (environments::reference(&id)?, accounts::reference(&account)?);
    let role = body.read(|fields| fields.required("role", text(Role::parse)))?;
    let written = app.change(caller, async move |change, caller| members::put(change, caller, &id, &account, role).await).await?;
    Ok(reply::changed(&written, view))
}

/// DELETE /environments/{environment}/members/{account}
pub(super) async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path((id, account)): Path<(String, String)>,
) -> Result<Response, Error> {
    let (id, account) = (environments::reference(&id)?, accounts::reference(&account)?);
    let written = app.change(caller, async move |change, caller| members::remove(change, caller, &id, &account).await).await?;
    Ok(reply::gone(&written))
}

fn view(member: &Member) -> Value {
    json!({
        "environment": member.environment.as_str(),
        "account": member.account.as_str(),
        "role": member.role.as_str(),
        "created": rfc3339(member.created),
    })
}
