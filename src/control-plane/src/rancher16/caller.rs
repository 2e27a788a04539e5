//! Who asks: the same credentials as everywhere, in the carriers of Rancher 1.6. It never logs a header's value.

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, HeaderValue};
use keygate_decision::carrier::cookies;
use keygate_decision::credential::without_bearer;
use keygate_decision::request::Reading;
use keygate_decision::{Carrier, Carriers, Digest, EnvironmentId, Reason, Request as Presented};
use serde_json::json;

use super::error::Error;
use super::request::Asked;
use super::resource;
use crate::api::{App, note_refused, writes_for_another_site};
use crate::model::{AccountRef, Purpose, State, shared_id};
use crate::name::Label;
use crate::operations::callers::{self, Identity};
use crate::operations::{Refusal, accounts, environments};
use crate::permission::Caller;

/// Basic, Bearer, a token alone, and the cookie `token`.
fn carriers() -> Carriers {
    let used = vec![Carrier::Basic, Carrier::Bearer, Carrier::Bare, Carrier::Cookie("token".to_owned())];
    Carriers { used, stripped: Vec::new() }
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

/// Who asks; nobody whom a page of another site makes write.
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
    let from_elsewhere = writes_for_another_site(&asked.method, headers) || (presented.may_be_forged && !asked.method.is_safe());
    let now = app.store.clock().now();
    let identity = callers::identify(&mut *app.store.read().await?, &digest, now).await?;
    match identity {
        Identity::Passes(caller) if from_elsewhere => {
            let error = Error::forged();
            note(app, caller, asked, &error).await;
            Err(error)
        }
        Identity::Passes(caller) => Ok(caller),
        Identity::Withdrawn(caller) => {
            // Whoever logged in and was switched off since has no better credential to be asked for.
            let asks = presented.wants_challenge && !was_switched_off(app, &caller).await?;
            let error = Error::unauthorized(asks);
            note(app, caller, asked, &error).await;
            Err(error)
        }
        Identity::Unknown => Err(unauthorized()),
    }
}

/// Whether it is a login of an account that is inactive.
async fn was_switched_off(app: &App, caller: &Caller) -> Result<bool, Error> {
    let (Purpose::Login, Some(account)) = (caller.purpose, caller.standing.account()) else { return Ok(false) };
    let account = accounts::show(&mut *app.store.read().await?, caller, &AccountRef::Id(account)).await?;
    Ok(account.state == State::Inactive)
}

/// The project of the environment key that a header names, without its secret. What names none names none that anybody may enter.
pub(super) async fn named_by_key(app: &App, headers: &HeaderMap) -> Result<Option<String>, Error> {
    let is_blank = |value: &&HeaderValue| value.as_bytes().trim_ascii().is_empty();
    let Some(access) = headers.get("x-api-client-access-key").filter(|value| !is_blank(value)) else { return Ok(None) };
    let label = access.to_str().ok().and_then(|access| Label::parse(access).ok());
    let environment = match label {
        Some(label) => environments::of_access_key(&mut *app.store.read().await?, &label).await?,
        None => None,
    };
    Ok(Some(environment.map(|environment| environment.to_string()).unwrap_or_default()))
}

/// What every answer to somebody who is known says of them: who they are, and the id as which they act, which is a project's if they ask
/// for what is in one. Names that no header can hold are left out.
pub(super) async fn who(app: &App, caller: &Caller, asked: &Asked) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
    let mut reader = app.store.read().await?;
    let entered = match asked.kind.is_some_and(|kind| resource::of(kind).is_in_projects()) {
        true => asked.scope.as_deref().and_then(|scope| EnvironmentId::parse(scope).ok()),
        false => None,
    };
    let acting = match entered.or_else(|| caller.standing.environment().cloned()) {
        Some(id) => seen(environments::show(&mut reader, caller, &id).await)?.map(|(environment, _)| environment),
        None => None,
    };
    let account = match caller.standing.account() {
        Some(id) => seen(accounts::show(&mut reader, caller, &AccountRef::Id(id)).await)?,
        None => None,
    };
    let user = account.as_ref().map(|account| shared_id(account.id));
    let user = user.or_else(|| acting.as_ref().map(|environment| environment.id.to_string()));
    let id = acting.as_ref().map(|environment| environment.id.to_string()).or_else(|| user.clone());
    let (kind, name) = match (&account, &acting) {
        (Some(account), _) => (account.kind.as_str(), account.name.as_str()),
        (None, Some(environment)) => ("project", environment.name.as_str()),
        (None, None) => return Ok(Vec::new()),
    };
    let said = [
        ("x-api-account-id", id.as_deref()),
        ("x-api-user-id", user.as_deref()),
        ("x-api-account-kind", Some(kind)),
        ("x-api-account-name", Some(name)),
    ];
    let said = said
        .into_iter()
        .filter_map(|(header, value)| Some((HeaderName::from_static(header), HeaderValue::from_str(value?).ok()?)));
    Ok(said.collect())
}

/// What the caller sees of it, which may be nothing.
fn seen<T>(shown: Result<T, Refusal>) -> Result<Option<T>, Error> {
    match shown {
        Ok(shown) => Ok(Some(shown)),
        Err(Refusal::Missing(_) | Refusal::Forbidden(_)) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// Notes that somebody who is known was refused.
pub(super) async fn note(app: &App, caller: Caller, asked: &Asked, error: &Error) {
    let (status, code) = error.status_and_code();
    let kind = asked.kind.map_or_else(|| "unknown".to_owned(), |kind| format!("{kind:?}"));
    let action = asked.action.as_ref().map_or("", |_| " action");
    let told = json!({"status": status, "code": code});
    note_refused(app, caller, &asked.method, &format!("rancher-1.6 {kind}{action}"), told).await;
}

fn read<'h>(headers: &'h HeaderMap, carriers: &Carriers) -> Presented<'h> {
    let headers = headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    Presented::read(headers, Reading::for_credentials(carriers))
}
