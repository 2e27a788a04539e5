//! The dialect of Rancher 1.6, `/v1` and `/v2-beta`: its resources, states, links and errors, for clients that were written for it. It
//! translates to and from the operations that the native API uses; it holds no rule of who may do what, and stores nothing of its own.
//!
//! One request, in the order of the files: `request.rs` reads what is asked (path, query, body, whichever way real clients send them),
//! `carriers.rs` and `caller.rs` who asks, a resource's file (`api_keys.rs` and its kin) does it, `render.rs` makes links and actions, `collection.rs`
//! filters, sorts and pages, `error.rs` says what went wrong. `tables.rs` has the one table per resource from which schemas, writable
//! fields, their parsing and `/openapi.json` (`description.rs`) follow.

mod accounts;
mod api_keys;
mod caller;
mod carriers;
mod collection;
mod description;
mod error;
mod identities;
mod local_auth;
mod members;
mod passwords;
mod projects;
mod render;
mod request;
mod resource;
mod schemas;
mod settings;
mod tables;
mod token;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::header::{HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use serde_json::{Value, json};

use crate::api::{App, writes_for_another_site};
use crate::dialect::{Answer, Site, csrf_cookie};
use crate::login::Source;
use crate::operations::{Refusal, environments};
use crate::permission::{Caller, Tie};

pub(crate) use description::description;
use error::Error;
use request::{Asked, Kind};

/// All paths of the dialect.
pub(crate) fn router() -> Router<App> {
    let mut router = Router::new();
    for version in ["/v1", "/v2-beta"] {
        router = router.route(version, any(answer)).route(&format!("{version}/{{*rest}}"), any(answer));
        router = router.route(&format!("{version}/"), any(answer));
    }
    router
}

/// Whether a path is one of the dialect's.
pub(crate) fn owns(path: &str) -> bool {
    matches!(path.split('/').nth(1), Some("v1" | "v2-beta"))
}

/// An error in the dialect's shape for a request that it has not seen.
pub(crate) fn refuse(status: StatusCode, detail: &str) -> Response {
    Error::early(status, detail).into_response()
}

/// Every request of the dialect. What it answers always names the schemas: clients begin with them.
async fn answer(
    State(app): State<App>,
    source: Source,
    site: Site,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut base = render::Base::of(&site, uri.path());
    let mut allowed = Vec::new();
    let (headers, named) = carriers::plain(&headers, &uri);
    let mut who = Vec::new();
    let answered = match Asked::read(&method, &uri, &headers, &body, base.clone()) {
        Ok(mut asked) => {
            base = asked.schemas_base();
            allowed = asked.allowed();
            asked.scope = asked.scope.or(named);
            dispatch(&app, source, &headers, asked, &mut who).await
        }
        Err(error) => Err(error),
    };
    let mut response = answered.into_response();
    if response.status() == StatusCode::METHOD_NOT_ALLOWED
        && let Ok(allow) = HeaderValue::try_from(allowed.join(", "))
    {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response.headers_mut().extend(who);
    if let Some(cookie) = csrf_cookie(&headers, &site) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    if let Ok(schemas) = HeaderValue::try_from(base.url(&["schemas"])) {
        response.headers_mut().insert(HeaderName::from_static("x-api-schemas"), schemas);
    }
    response
}

async fn dispatch(
    app: &App,
    source: Source,
    headers: &HeaderMap,
    mut asked: Asked,
    who: &mut Vec<(HeaderName, HeaderValue)>,
) -> Result<Answer, Error> {
    // Whoever logs in has no credential yet, and what else they send does not matter.
    if asked.kind == Some(Kind::Token) {
        if writes_for_another_site(&asked.method, headers) {
            return Err(Error::forged());
        }
        return token::answer(app, source, headers, &asked).await;
    }
    let caller = caller::identify(app, headers, &asked).await?;
    if asked.scope.is_none() {
        asked.scope = caller::named_by_key(app, headers).await?;
    }
    *who = caller::who(app, &caller, &asked).await?;
    let answered = handle(app, &caller, source, &asked).await;
    match &answered {
        Err(error) if error.refuses(&caller, &asked) => caller::note(app, caller, &asked, error).await,
        _ => app.store.note_use(caller.key),
    }
    answered
}

/// What ties the caller to the environment that they ask about, if it is said which: a key acts as its own wherever it asks.
async fn enter(app: &App, caller: &Caller, asked: &Asked) -> Result<Option<Tie>, Error> {
    let Some(environment) = asked.environment()? else { return Ok(caller.standing.environment().map(|_| Tie::Key)) };
    match environments::show(&mut *app.store.read().await?, caller, &environment).await {
        Ok((_, tie)) => Ok(Some(tie)),
        Err(Refusal::Missing(_)) => Err(asked.closed()),
        Err(other) => Err(other.into()),
    }
}

async fn handle(app: &App, caller: &Caller, source: Source, asked: &Asked) -> Result<Answer, Error> {
    // Whoever may not enter an environment learns nothing else there.
    let tie = enter(app, caller, asked).await?;
    let changes = matches!(asked.method, Method::POST | Method::PUT | Method::DELETE);
    if asked.method != Method::GET && (asked.is_root() || !changes) {
        return Err(Error::method_not_allowed("the Allow header lists what this takes"));
    }
    match asked.kind {
        None if asked.is_root() => Ok(Answer::ok(schemas::root(caller, tie, asked))),
        Some(Kind::ApiKey) => api_keys::answer(app, caller, asked).await,
        Some(Kind::Account) => accounts::answer(app, caller, asked).await,
        Some(Kind::Project) => projects::answer(app, caller, asked).await,
        Some(Kind::ProjectMember) => members::answer(app, caller, asked).await,
        Some(Kind::Password) => passwords::answer(app, caller, source, asked).await,
        Some(Kind::Identity) => identities::answer(app, caller, asked).await,
        Some(Kind::LocalAuthConfig) => local_auth::answer(app, caller, source, asked).await,
        Some(Kind::Setting) => settings::answer(app, caller, asked).await,
        Some(Kind::Schema) => schemas::answer(caller, tie, asked),
        // Tokens were answered before anybody was identified.
        Some(Kind::Token) | None => Err(Error::not_found()),
    }
}

/// The header that makes a client forget its login.
fn forget_cookie() -> (HeaderName, HeaderValue) {
    const GONE: &str = "token=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly; SameSite=Strict";
    (header::SET_COOKIE, HeaderValue::from_static(GONE))
}

/// A list as clients of Rancher expect it, neither filtered nor paged.
fn list_of(resource_type: &str, url: &str, things: Vec<Value>) -> Value {
    json!({
        "type": "collection", "resourceType": resource_type, "links": {"self": url}, "createTypes": {}, "actions": {},
        "data": things, "sortLinks": {}, "pagination": null, "sort": null, "filters": {}, "createDefaults": {},
    })
}
