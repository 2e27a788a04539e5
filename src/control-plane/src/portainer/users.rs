//! `users`: the accounts, as an administrator or they themselves see them. A user's id is the account's number.

use axum::http::{Method, StatusCode};
use keygate_decision::AccountId;
use serde_json::{Value, json};

use super::error::Error;
use super::passwords;
use super::request::{Asked, Payload, account_id};
use crate::api::App;
use crate::dialect::Answer;
use crate::login::{Password, Source};
use crate::model::{Account, AccountRef, Kind, State};
use crate::name::AccountName;
use crate::operations::{Refusal, accounts, passwords as operations};
use crate::permission::Caller;

/// GET and POST /users
pub(super) async fn answer(app: &App, caller: &Caller, asked: &Asked<'_>) -> Result<Answer, Error> {
    // A list that holds only its reader is no list of users: others are refused, as Portainer does.
    if !caller.standing.sees_all() {
        return Err(Error::access_denied());
    }
    if asked.method == Method::POST {
        return create(app, caller, &asked.payload()?).await;
    }
    let accounts = accounts::list(&mut *app.store.read().await?, caller).await?;
    Ok(Answer::ok(accounts.iter().map(view).collect()))
}

async fn create(app: &App, caller: &Caller, payload: &Payload) -> Result<Answer, Error> {
    let name = name(payload.text("username")?)?;
    let kind = match payload.number("role")? {
        1 => Kind::Admin,
        2 => Kind::User,
        _ => return Err(Error::invalid_payload(ROLES)),
    };
    let password = Password::parse(payload.text("password")?).map_err(|why| Error::weak_password(&why))?;
    let wish = operations::NewAccount { name, kind, state: State::Active, password };
    let made = operations::create_account(&app.store, &app.gate, caller.clone(), wish).await?;
    Ok(Answer::ok(view(&made.value)))
}

const ROLES: &str = "Invalid role value. Value must be one of: 1 (administrator) or 2 (regular user)";

fn name(text: &str) -> Result<AccountName, Error> {
    if text.is_empty() || text.contains(' ') {
        return Err(Error::invalid_payload("Invalid username. Must not contain any whitespace"));
    }
    AccountName::parse(text).map_err(|why| Error::invalid_payload(&format!("Invalid username. It {why}")))
}

/// GET /users/me
pub(super) async fn me(app: &App, caller: &Caller) -> Result<Answer, Error> {
    // A key of an environment, or one that is limited to it, is nobody here.
    let own = caller.standing.account().ok_or_else(Error::access_denied)?;
    let account = accounts::show(&mut *app.store.read().await?, caller, &AccountRef::Id(own)).await?;
    let mut shown = view(&account);
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("forceChangePassword".to_owned(), false.into());
    }
    Ok(Answer::ok(shown))
}

/// GET, PUT and DELETE /users/{id}
pub(super) async fn answer_one(
    app: &App,
    caller: &Caller,
    source: Source,
    asked: &Asked<'_>,
    user: &str,
) -> Result<Answer, Error> {
    if asked.method == Method::DELETE {
        return remove(app, caller, user).await;
    }
    let id = account_id(user)?;
    if asked.method == Method::PUT {
        let account = find(app, caller, id, || Error::denied("Permission denied to update user")).await?;
        return update(app, caller, source, &account, &asked.payload()?).await;
    }
    let account = find(app, caller, id, || Error::resource_denied("Permission denied inspect user")).await?;
    Ok(Answer::ok(view(&account)))
}

async fn remove(app: &App, caller: &Caller, user: &str) -> Result<Answer, Error> {
    if !caller.standing.sees_all() {
        return Err(Error::access_denied());
    }
    let id = account_id(user)?;
    accounts::not_the_first(id)?;
    accounts::not_oneself(caller, id)?;
    let reference = AccountRef::Id(id);
    let removed = app.change(caller.clone(), async move |change, caller| accounts::delete(change, caller, &reference).await);
    match removed.await {
        Ok(_) => Ok(Answer::empty(StatusCode::NO_CONTENT)),
        Err(Refusal::Missing(_)) => Err(Error::no_such_user()),
        Err(other) => Err(other.into()),
    }
}

/// Of all that Portainer changes here, a password; names and roles stay what they are.
async fn update(app: &App, caller: &Caller, source: Source, account: &Account, payload: &Payload) -> Result<Answer, Error> {
    let (username, role) = (payload.text("username")?, payload.number("role")?);
    if !caller.standing.sees_all() && role != 0 {
        return Err(Error::resource_denied("Permission denied to update user to administrator role"));
    }
    if role > 2 {
        return Err(Error::invalid_payload(ROLES));
    }
    let renames = !username.is_empty() && !username.eq_ignore_ascii_case(account.name.as_str());
    if renames || (role != 0 && role != self::role(account)) {
        return Err(Error::invalid_payload("a user's name and role cannot be changed; make another user, and delete this one"));
    }
    match payload.text("newpassword")? {
        "" if !payload.text("password")?.is_empty() => {
            return Err(Error::invalid_payload("newPassword is missing: password is the one that holds now"));
        }
        "" => {}
        new => passwords::set(app, caller, source, account.id, payload.text("password")?, new).await?,
    }
    Ok(Answer::ok(view(account)))
}

/// The account of this number. Whoever may not see it gets `denied`, whether or not it exists.
pub(super) async fn find(app: &App, caller: &Caller, id: AccountId, denied: impl FnOnce() -> Error) -> Result<Account, Error> {
    let found = accounts::show(&mut *app.store.read().await?, caller, &AccountRef::Id(id)).await;
    found.map_err(|refusal| match refusal {
        Refusal::Missing(_) if caller.standing.sees_all() => Error::no_such_user(),
        other => denied().hiding(other),
    })
}

fn role(account: &Account) -> u64 {
    match account.kind {
        Kind::Admin => 1,
        Kind::User => 2,
    }
}

fn view(account: &Account) -> Value {
    json!({"Id": account.id.0, "Username": account.name.as_str(), "Role": role(account)})
}
