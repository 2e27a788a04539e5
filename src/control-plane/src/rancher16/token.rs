//! `token`: logging in and out with a password. The token leaves in one place, the answer to a login, and in the answers to whoever
//! shows it.

use axum::http::{HeaderMap, Method, StatusCode};
use keygate_decision::Digest;
use serde_json::{Value, json};

use super::error::Error;
use super::request::{Asked, Kind};
use super::{caller, forget_cookie, identities, list_of, resource};
use crate::api::App;
use crate::dialect::Answer;
use crate::dialect::field::text;
use crate::login::{Password, Source};
use crate::model::{Account, AccountRef, Purpose, shared_id};
use crate::operations::accounts;
use crate::operations::callers::{self, Identity};
use crate::operations::logins::{self, Attempt};
use crate::permission::Caller;
use crate::setting::LOGIN_ENABLED;
use crate::store::setting;

const PROVIDER: &str = "localAuthConfig";

/// Everything about tokens.
pub(super) async fn answer(app: &App, source: Source, headers: &HeaderMap, asked: &Asked) -> Result<Answer, Error> {
    match (&asked.method, &asked.id) {
        (&Method::POST, None) => log_in(app, source, asked).await,
        (&Method::GET, id) => {
            let enabled = enabled(app).await?;
            let shown = match login(app, headers).await? {
                Some((caller, digest)) => {
                    let account = account_of(app, &caller).await?;
                    view(asked, enabled, Some(&account), caller::token(headers, &digest).as_deref())
                }
                None => view(asked, enabled, None, None),
            };
            if id.is_some() {
                return Ok(Answer::ok(shown));
            }
            Ok(Answer::ok(list_of("token", &asked.base.url(&["tokens"]), vec![shown])))
        }
        (&Method::DELETE, Some(_)) => log_out(app, headers).await,
        _ => Err(Error::method_not_allowed("POST logs in, GET shows, DELETE /token/current logs out")),
    }
}

async fn log_in(app: &App, source: Source, asked: &Asked) -> Result<Answer, Error> {
    if asked.fields.get("code").is_some_and(Value::is_null) {
        return Err(Error::bad_request("codeInvalid", "code must be user:password"));
    }
    let written = resource::of(Kind::Token).writable(&asked.fields, true, false)?;
    let code = text(&written, "code").unwrap_or_default();
    let (name, password) = code.split_once(':').ok_or_else(Error::forbidden)?;
    // What cannot be a password is nobody's.
    let password = Password::parse(password).map_err(|_| Error::unauthorized(false))?;
    let attempt = Attempt { name: name.to_owned(), password, source, trial: true };
    // Before the login is made: what failed behind it would leave one whose token nobody has.
    let enabled = enabled(app).await?;
    let (written, token) = logins::log_in(&app.store, &app.gate, &app.refusals, attempt, None).await?;
    let shown = view(asked, enabled, Some(&written.value.account), Some(token.expose()));
    Ok(Answer::new(StatusCode::CREATED, shown))
}

async fn log_out(app: &App, headers: &HeaderMap) -> Result<Answer, Error> {
    let digest = caller::digest(headers).ok_or_else(Error::no_token)?;
    let now = app.store.clock().now();
    let identity = callers::identify(&mut *app.store.read().await?, &digest, now).await?;
    // A token that has ended already is gone: that is all that was asked.
    logins::end_presented(&app.store, identity).await?;
    Ok(Answer::empty(StatusCode::NO_CONTENT).with([forget_cookie()]))
}

/// The login that a request shows, if it shows one that may pass, and its digest.
async fn login(app: &App, headers: &HeaderMap) -> Result<Option<(Caller, Digest)>, Error> {
    let Some(digest) = caller::digest(headers) else { return Ok(None) };
    let now = app.store.clock().now();
    match callers::identify(&mut *app.store.read().await?, &digest, now).await? {
        Identity::Passes(caller) if caller.purpose == Purpose::Login => Ok(Some((caller, digest))),
        _ => Ok(None),
    }
}

async fn account_of(app: &App, caller: &Caller) -> Result<Account, Error> {
    let own = caller.standing.account().ok_or_else(Error::not_found)?;
    Ok(accounts::show(&mut *app.store.read().await?, caller, &AccountRef::Id(own)).await?)
}

/// Whether logins pass. Whatever it says, nothing passes without a credential.
async fn enabled(app: &App) -> Result<bool, Error> {
    Ok(setting::value(&mut *app.store.read().await?, &LOGIN_ENABLED).await?)
}

fn view(asked: &Asked, enabled: bool, account: Option<&Account>, token: Option<&str>) -> Value {
    let identity = account.map(|account| identities::view(&asked.base, account));
    json!({
        "id": null, "type": "token", "links": {}, "actions": {}, "jwt": token, "code": null,
        "user": account.map(|account| account.name.as_str()), "userType": account.map(|account| account.kind.as_str()),
        "accountId": account.map(|account| shared_id(account.id)), "security": true, "enabled": enabled, "authProvider": PROVIDER,
        "redirectUrl": null, "originalLogin": null, "userIdentity": identity,
        "identities": identity.as_ref().map(|identity| json!([identity])),
    })
}
