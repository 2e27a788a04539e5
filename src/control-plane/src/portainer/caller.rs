//! Who asks: the same credentials as everywhere, in the carriers of Portainer. It never logs a header's value.

use axum::http::HeaderMap;
use keygate_decision::carrier::cookies;
use keygate_decision::request::Reading;
use keygate_decision::{Carrier, Carriers, Reason, Request as Presented};
use serde_json::json;

use super::error::Error;
use super::request::Asked;
use crate::api::{App, note_refused, writes_for_another_site};
use crate::model::AccountRef;
use crate::operations::callers::{self, Identity};
use crate::permission::{Caller, Standing};
use crate::store::account;

const API_KEY: &str = "x-api-key";
/// The cookie that holds a login, whatever its name says.
pub(super) const COOKIE: &str = "portainer_api_key";

/// Bearer, with or without the word, the key's header or query parameter, and the cookie.
fn carriers() -> Carriers {
    let key = API_KEY.to_owned();
    let cookie = Carrier::Cookie(COOKIE.to_owned());
    let used = vec![Carrier::Bearer, Carrier::Bare, Carrier::Header(key.clone()), Carrier::Query(key), cookie];
    Carriers { used, stripped: Vec::new() }
}

/// Without a cookie, a key and a login at a time are refused, even if both say the same.
pub(super) fn refuse_two(asked: &Asked<'_>) -> Result<(), Error> {
    let has = |name: &str| asked.headers.get_all(name).iter().any(|value| !value.is_empty());
    match has(API_KEY) && has("authorization") && !has_cookie(asked.headers) {
        true => Err(Error::two_headers()),
        false => Ok(()),
    }
}

fn has_cookie(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all("cookie").iter().flat_map(|value| cookies(value.as_bytes()));
    all.any(|(name, value)| name == COOKIE.as_bytes() && !value.is_empty())
}

/// Who asks; nobody whom a page of another site makes write.
pub(super) async fn identify(app: &App, asked: &Asked<'_>) -> Result<Caller, Error> {
    let (identity, is_forged) = read(app, asked).await?;
    match identity {
        Identity::Passes(caller) if is_forged || writes_for_another_site(&asked.method, asked.headers) => {
            let error = Error::forged();
            note(app, caller, asked, &error).await;
            Err(error)
        }
        Identity::Passes(caller) => Ok(caller),
        Identity::Withdrawn(caller) => {
            let error = if is_gone(app, &caller).await? { Error::user_gone() } else { Error::invalid_token() };
            note(app, caller, asked, &error).await;
            Err(error)
        }
        Identity::Unknown => Err(Error::invalid_token()),
    }
}

/// Whose credential a request presents that no page of another site has made.
pub(super) async fn find(app: &App, asked: &Asked<'_>) -> Result<Identity, Error> {
    let (identity, is_forged) = read(app, asked).await?;
    if is_forged { Err(Error::forged()) } else { Ok(identity) }
}

/// Whose credential a request presents, and whether a browser may have been made to write by it.
async fn read(app: &App, asked: &Asked<'_>) -> Result<(Identity, bool), Error> {
    let carriers = carriers();
    let path = asked.uri.path_and_query().map_or("", |path| path.as_str());
    let headers = asked.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let headers = std::iter::once((&b":path"[..], path.as_bytes())).chain(headers);
    let presented = Presented::read(headers, Reading::for_credentials(&carriers));
    let digest = presented.credentials.digest().map_err(|reason| match reason {
        Reason::NoCredential => Error::no_token(),
        Reason::ConflictingCredentials => Error::conflicting_credentials(),
        _ => Error::invalid_token(),
    })?;
    let now = app.store.clock().now();
    let identity = callers::identify(&mut *app.store.read().await?, &digest, now).await?;
    Ok((identity, presented.may_be_forged && !asked.method.is_safe()))
}

/// Whether the account of a credential was removed.
async fn is_gone(app: &App, caller: &Caller) -> Result<bool, Error> {
    match caller.standing {
        Standing::Admin(id) | Standing::User(id) | Standing::Limited(id, _) => {
            Ok(account::find(&mut *app.store.read().await?, &AccountRef::Id(id)).await?.is_none())
        }
        Standing::Environment(_) => Ok(false),
    }
}

/// Notes that somebody who is known was refused.
pub(super) async fn note(app: &App, caller: Caller, asked: &Asked<'_>, error: &Error) {
    let (status, message) = error.status_and_message();
    let told = json!({"status": status, "message": message});
    note_refused(app, caller, &asked.method, &format!("portainer {}", asked.route.word()), told).await;
}
