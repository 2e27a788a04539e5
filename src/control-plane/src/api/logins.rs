//! `/login` and `/logins`. A token is drawn by [`log_in`], shown in its reply, and exists nowhere else.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::input::{Body, Parameters, Path, text};
use super::{App, Error, reply};
use crate::clock::rfc3339;
use crate::login::{Password, Source};
use crate::model::{AccountRef, Login, key_id};
use crate::name::Label;
use crate::operations::Missing;
use crate::operations::logins::{self, Attempt};
use crate::permission::Caller;

/// POST /login
pub(super) async fn log_in(
    State(app): State<App>,
    source: Source,
    parameters: Parameters,
    body: Body,
) -> Result<Response, Error> {
    parameters.read(|_| Ok(()))?;
    let (name, password) = body.read(|fields| {
        let name = fields.required("name", text(|name| Ok::<_, String>(name.to_owned())))?;
        Ok((name, fields.required("password", text(Password::parse))?))
    })?;
    let attempt = Attempt { name, password, source, trial: false };
    let (written, token) = logins::log_in(&app.store, &app.gate, &app.refusals, attempt, None).await?;
    Ok(reply::created(&written, |login| {
        let mut value = view(login);
        if let Some(object) = value.as_object_mut() {
            object.insert("token".to_owned(), token.expose().into());
        }
        value
    }))
}

/// DELETE /login
pub(super) async fn log_out(State(app): State<App>, caller: Caller) -> Result<Response, Error> {
    Ok(reply::gone(&logins::log_out(&app.store, caller).await?))
}

/// GET /logins
pub(super) async fn list(State(app): State<App>, caller: Caller, parameters: Parameters) -> Result<Response, Error> {
    let account = parameters.read(|fields| fields.optional("account", text(AccountRef::parse)))?;
    let now = app.store.clock().now();
    let logins = logins::list(&mut *app.store.read().await?, &caller, account.as_ref(), now).await?;
    Ok(reply::list(&logins, view))
}

/// DELETE /logins/{login}
pub(super) async fn end(State(app): State<App>, caller: Caller, Path(login): Path<String>) -> Result<Response, Error> {
    let login = key_id(&login).ok_or_else(|| Missing::login("of such an id"))?;
    let written = app.change(caller, async move |change, caller| logins::end(change, caller, login).await).await?;
    Ok(reply::gone(&written))
}

fn view(login: &Login) -> Value {
    json!({
        "id": login.id.0.to_string(),
        "name": login.label.as_ref().map(Label::as_str),
        "account": login.account.name.as_str(),
        "kind": login.account.kind.as_str(),
        "created": rfc3339(login.created),
        "expires": rfc3339(login.expires),
    })
}
