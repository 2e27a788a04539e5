//! Who asks: the same credentials as everywhere, in the carriers of Rancher 1.6. It never logs a header's value.

use axum::http::HeaderMap;
use keygate_decision::carrier::cookies;
use keygate_decision::credential::without_bearer;
use keygate_decision::request::Reading;
use keygate_decision::{Carrier, Carriers, Digest, Reason, Request as Presented};
use serde_json::json;

use super::error::Error;
use super::request::Asked;
use crate::api::{App, method_word};
use crate::operations::callers::{self, Identity};
use crate::permission::Caller;
use crate::store::Actor;

/// Basic, Bearer and the cookie `token`.
fn carriers() -> Carriers {
    Carriers { used: vec![Carrier::Basic, Carrier::Bearer, Carrier::Cookie("token".to_owned())], stripped: Vec::new() }
}

/// The digest of the one credential that a request presents, if it presents a usable one.
pub(super) fn digest(headers: &HeaderMap) -> Option<Digest> {
    let carriers = carriers();
    read(headers, &carriers).credentials.digest().ok()
}

/// The token that a request presents as it stands there, if this is its digest.
pub(super) fn token(headers: &HeaderMap, digest: &Digest) -> Option<String> {
    let cookies = headers.get_all("cookie").iter().flat_map(|value| cookies(value.as_bytes()));
    let of_cookies = cookies.filter(|(name, _)| name.eq_ignore_ascii_case(b"token")).map(|(_, value)| without_bearer(value));
    let of_headers = headers.get_all("authorization").iter().map(|value| without_bearer(value.as_bytes()));
    let mut texts = of_cookies.chain(of_headers).filter_map(|value| std::str::from_utf8(value.trim_ascii()).ok());
    texts.find(|text| Digest::of(text) == *digest).map(str::to_owned)
}

/// Who asks.
pub(super) async fn identify(app: &App, headers: &HeaderMap, asked: &Asked) -> Result<Caller, Error> {
    let carriers = carriers();
    let presented = read(headers, &carriers);
    let unauthorized = || Error::unauthorized(presented.wants_challenge);
    let digest = presented.credentials.digest().map_err(|reason| match reason {
        Reason::ConflictingCredentials => {
            Error::bad_request("Bad Request", "the request carries two different credentials; send one")
        }
        _ => unauthorized(),
    })?;
    if presented.may_be_forged && !asked.method.is_safe() {
        return Err(Error::forged());
    }
    let now = app.store.clock().now();
    let identity = callers::identify(&mut *app.store.read().await?, &digest, now).await?;
    match identity {
        Identity::Passes(caller) => Ok(caller),
        Identity::Withdrawn(caller) => {
            let error = unauthorized();
            note(app, caller, asked, &error).await;
            Err(error)
        }
        Identity::Unknown => Err(unauthorized()),
    }
}

/// Notes that somebody who is known was refused. Names and texts of the request stay out: they may be anything.
pub(super) async fn note(app: &App, caller: Caller, asked: &Asked, error: &Error) {
    let (status, code) = error.status_and_code();
    let kind = asked.kind.map_or_else(|| "unknown".to_owned(), |kind| format!("{kind:?}"));
    let action = asked.action.as_ref().map_or("", |_| " action");
    let object = format!("{} rancher-1.6 {kind}{action}", method_word(&asked.method));
    let detail = json!({"status": status, "code": code});
    app.refusals.note(&app.store, Actor::Caller(caller), "request.refuse", object, detail).await;
}

fn read<'h>(headers: &'h HeaderMap, carriers: &Carriers) -> Presented<'h> {
    let headers = headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    Presented::read(headers, Reading::for_credentials(carriers))
}
