//! Who asks: the same credentials as everywhere, in the carriers of Rancher 2: `Authorization` as Bearer or Basic, and only without that
//! the cookie `R_SESS`. It never logs a header's value.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use keygate_decision::request::Reading;
use keygate_decision::{Carrier, Carriers, Request as Presented};
use serde_json::json;

use super::error::Error;
use super::render::Base;
use super::request::Asked;
use crate::api::{App, note_refused};
use crate::operations::callers::{self, Identity};
use crate::permission::Caller;

/// The cookie that carries a token.
const SESSION: &str = "R_SESS";

/// Who asks. A credential that is limited to an environment counts nowhere but at that environment, and is nobody's elsewhere.
pub(super) async fn identify(app: &App, headers: &HeaderMap, asked: &Asked) -> Result<Caller, Error> {
    let is_blank = |value: &HeaderValue| value.as_bytes().trim_ascii().is_empty();
    let by_header = headers.get_all(header::AUTHORIZATION).iter().any(|value| !is_blank(value));
    let used = match by_header {
        true => vec![Carrier::Basic, Carrier::Bearer],
        false => vec![Carrier::Cookie(SESSION.to_owned())],
    };
    let carriers = Carriers { used, stripped: Vec::new() };
    let headers = headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let presented = Presented::read(headers, Reading::for_credentials(&carriers));
    let digest = presented.credentials.digest().map_err(|_| Error::must_authenticate())?;
    let now = app.store.clock().now();
    let identity = callers::identify(&mut *app.store.read().await?, &digest, now).await?;
    let (caller, error) = match identity {
        Identity::Unknown => return Err(Error::must_authenticate()),
        Identity::Withdrawn(caller) => (caller, Error::must_authenticate()),
        Identity::Passes(caller) if !counts_here(&caller, asked) => (caller, Error::must_authenticate()),
        Identity::Passes(caller) if presented.may_be_forged && !asked.method.is_safe() => (caller, Error::forged()),
        Identity::Passes(caller) => return Ok(caller),
    };
    note(app, caller, asked, &error).await;
    Err(error)
}

fn counts_here(caller: &Caller, asked: &Asked) -> bool {
    caller.standing.environment().is_none_or(|own| asked.cluster().as_ref() == Some(own))
}

/// Notes that somebody who is known was refused.
pub(super) async fn note(app: &App, caller: Caller, asked: &Asked, error: &Error) {
    let (status, code) = error.status_and_code();
    let kind = asked.kind.map_or_else(|| "unknown".to_owned(), |kind| format!("{kind:?}"));
    let action = asked.action.as_ref().map_or("", |_| " action");
    let told = json!({"status": status, "code": code});
    note_refused(app, caller, &asked.method, &format!("rancher-2 {kind}{action}"), told).await;
}

/// The header that gives a browser the token of a login.
pub(super) fn session_cookie(base: &Base, token: &str) -> Option<(HeaderName, HeaderValue)> {
    let cookie = format!("{SESSION}={token}; Path=/; HttpOnly; SameSite=Strict{}", base.site().secure());
    HeaderValue::try_from(cookie).ok().map(|value| (header::SET_COOKIE, value))
}

/// The headers that make a client forget its login.
pub(super) fn forget_cookies() -> [(HeaderName, HeaderValue); 2] {
    const SESSION_GONE: &str = "R_SESS=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly; SameSite=Strict";
    const CSRF_GONE: &str = "CSRF=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; SameSite=Strict";
    [SESSION_GONE, CSRF_GONE].map(|cookie| (header::SET_COOKIE, HeaderValue::from_static(cookie)))
}
