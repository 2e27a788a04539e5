//! `/accounts/{account}/password`. A password is never shown, not even as a hash.

use axum::extract::State;
use axum::response::Response;

use super::input::{Body, Path, text};
use super::{App, Error, accounts, reply};
use crate::login::{Password, Source};
use crate::operations::{Refusal, passwords};
use crate::permission::Caller;

/// PUT /accounts/{account}/password
pub(super) async fn set(
    State(app): State<App>,
    caller: Caller,
    source: Source,
    Path(account): Path<String>,
    body: Body,
) -> Result<Response, Error> {
    let account = accounts::reference(&account)?;
    let wish = body.read(|fields| {
        let password = fields.required("password", text(Password::parse))?;
        let former = fields.optional("oldPassword", text(Password::parse))?;
        Ok(passwords::Wish { account, password, former, source })
    })?;
    let set = passwords::set(&app.store, &app.gate, caller, wish).await.map_err(|refusal| match refusal {
        Refusal::WrongPassword => Error::wrong_former_password(),
        other => other.into(),
    });
    Ok(reply::gone(&set?))
}
