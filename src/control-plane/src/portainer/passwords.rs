//! `users/{id}/passwd`: changing a password. Logins end with it, access tokens stay.

use axum::http::StatusCode;
use keygate_decision::AccountId;

use super::error::Error;
use super::request::{Asked, account_id};
use super::users;
use crate::api::App;
use crate::dialect::Answer;
use crate::login::{Password, Source};
use crate::model::AccountRef;
use crate::operations::passwords::{self, Wish};
use crate::permission::Caller;

/// PUT /users/{id}/passwd
pub(super) async fn change(app: &App, caller: &Caller, source: Source, asked: &Asked<'_>, user: &str) -> Result<Answer, Error> {
    let id = account_id(user)?;
    users::find(app, caller, id, || Error::denied("Permission denied to update user")).await?;
    let payload = asked.payload()?;
    let (former, new) = (payload.text("password")?, payload.text("newpassword")?);
    if former.is_empty() {
        return Err(Error::invalid_payload("Invalid current password"));
    }
    if new.is_empty() {
        return Err(Error::invalid_payload("Invalid new password"));
    }
    set(app, caller, source, id, former, new).await?;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

/// Sets an account's password; `former` may be empty where none is needed.
pub(super) async fn set(
    app: &App,
    caller: &Caller,
    source: Source,
    account: AccountId,
    former: &str,
    new: &str,
) -> Result<(), Error> {
    let password = Password::parse(new).map_err(|why| Error::weak_password(&why))?;
    let former = match former {
        "" => None,
        // What cannot be a password is nobody's.
        text => Some(Password::parse(text).map_err(|_| Error::wrong_password())?),
    };
    let wish = Wish { account: AccountRef::Id(account), password, former, source };
    passwords::set(&app.store, &app.gate, caller.clone(), wish).await?;
    Ok(())
}
