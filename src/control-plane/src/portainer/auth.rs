//! `auth`: logging in and out with a password. The login's token leaves in one place, the answer to a login, in the field where Portainer
//! has a JWT: it is opaque, and tells nothing to who looks into it.

use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use serde_json::json;

use super::caller::{self, COOKIE};
use super::error::Error;
use super::request::Asked;
use crate::api::App;
use crate::dialect::{Answer, Site};
use crate::login::{Password, Source};
use crate::operations::Refusal;
use crate::operations::logins::{self, Attempt};
use crate::setting;

/// POST /auth
pub(super) async fn log_in(app: &App, source: Source, site: &Site, asked: &Asked<'_>) -> Result<Answer, Error> {
    let payload = asked.payload()?;
    let (name, password) = (payload.text("username")?, payload.text("password")?);
    if name.is_empty() {
        return Err(Error::invalid_payload("Invalid username"));
    }
    if password.is_empty() {
        return Err(Error::invalid_payload("Invalid password"));
    }
    // What cannot be a password is nobody's.
    let password = Password::parse(password).map_err(|_| Error::invalid_credentials())?;
    let attempt = Attempt { name: name.to_owned(), password, source, trial: false };
    let logged_in = logins::log_in(&app.store, &app.gate, &app.refusals, attempt, Some(&setting::PORTAINER_LOGIN_TTL)).await;
    let (written, token) = logged_in.map_err(|refusal| match refusal {
        Refusal::WrongPassword => Error::invalid_credentials(),
        Refusal::Forbidden(why) => Error::refused(why),
        other => other.into(),
    })?;
    let login = written.value;
    let seconds = login.expires.0.saturating_sub(login.created.0);
    let secure = site.secure();
    let cookie = format!("{COOKIE}={}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", token.expose());
    let mut cookie = HeaderValue::try_from(cookie).map_err(|error| Error::unavailable(&error))?;
    cookie.set_sensitive(true);
    Ok(Answer::ok(json!({"jwt": token.expose()})).with([(header::SET_COOKIE, cookie)]))
}

/// POST /auth/logout: ends the login that is shown, if one is; a key is none, and stays.
pub(super) async fn log_out(app: &App, asked: &Asked<'_>) -> Result<Answer, Error> {
    match caller::find(app, asked).await {
        Ok(identity) => logins::end_presented(&app.store, identity).await?,
        Err(error) if error.is_unauthenticated() => {}
        Err(error) => return Err(error),
    }
    const GONE: &str = "portainer_api_key=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly; SameSite=Strict";
    Ok(Answer::empty(StatusCode::NO_CONTENT).with([(header::SET_COOKIE, HeaderValue::from_static(GONE))]))
}
