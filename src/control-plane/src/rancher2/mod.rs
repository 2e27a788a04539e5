//! The dialect of Rancher 2, `/v3` and `/v3-public`: its tokens, users, settings and kubeconfig files, with its links and errors, for
//! clients that were written for it. It translates to and from the operations that the native API uses; it holds no rule of who may do
//! what, and stores nothing of its own.
//!
//! One request, in the order of the files: `request.rs` reads what is asked, `caller.rs` who asks, a resource's file (`tokens.rs` and its
//! kin) does it, `render.rs` makes links, `collection.rs` filters, sorts and pages, `error.rs` says what went wrong. `resource.rs` has the
//! one table per resource from which the schemas, the writable fields, the methods and the actions follow.

mod caller;
mod clusters;
mod collection;
mod description;
mod error;
mod kubeconfig;
mod public;
mod render;
mod request;
mod resource;
mod schemas;
mod settings;
mod tokens;
mod users;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::header::{HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;

use crate::api::{App, writes_for_another_site};
use crate::dialect::{Answer, Site, csrf_cookie};
use crate::login::Source;
use crate::permission::Caller;

pub(crate) use description::description;
use error::Error;
use request::{Asked, Kind};

#[cfg(test)]
pub(crate) use resource::is_documented;

/// All paths of the dialect.
pub(crate) fn router() -> Router<App> {
    let mut router = Router::new();
    for version in ["/v3", "/v3-public"] {
        router = router.route(version, any(answer)).route(&format!("{version}/{{*rest}}"), any(answer));
        router = router.route(&format!("{version}/"), any(answer));
    }
    router
}

/// Whether a path is one of the dialect's.
pub(crate) fn owns(path: &str) -> bool {
    matches!(path.split('/').nth(1), Some("v3" | "v3-public"))
}

/// An error in the dialect's shape for a request that it has not seen, for its body did not come as it must.
pub(crate) fn refuse(status: StatusCode, message: &str) -> Response {
    Error::early(status, message).into_response()
}

/// Every request of the dialect. What it answers always names the schemas: clients begin with them.
async fn answer(
    State(app): State<App>,
    source: Source,
    site: Site,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = Asked::read(&method, &uri, site, body);
    let mut response = dispatch(&app, source, &headers, &asked).await.into_response();
    if let Ok(schemas) = HeaderValue::try_from(asked.base.url(&["schemas"])) {
        response.headers_mut().insert(HeaderName::from_static("x-api-schemas"), schemas);
    }
    if let Some(cookie) = csrf_cookie(&headers, asked.base.site()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

async fn dispatch(app: &App, source: Source, headers: &HeaderMap, asked: &Asked) -> Result<Answer, Error> {
    let from_elsewhere = writes_for_another_site(&asked.method, headers);
    if asked.base.is_public() {
        asked.check()?;
        return if from_elsewhere { Err(Error::forged()) } else { public::answer(app, source, asked).await };
    }
    if let Some(name) = settings::open(asked) {
        return settings::show_open(app, asked, name).await;
    }
    let caller = caller::identify(app, headers, asked).await?;
    let answered = match asked.check() {
        Ok(()) if from_elsewhere => Err(Error::forged()),
        Ok(()) => handle(app, &caller, source, asked).await.map_err(|error| error.on(asked)),
        Err(error) => Err(error),
    };
    match &answered {
        Err(error) if error.refuses(&caller, asked) => caller::note(app, caller, asked, error).await,
        _ => app.store.note_use(caller.key),
    }
    answered
}

async fn handle(app: &App, caller: &Caller, source: Source, asked: &Asked) -> Result<Answer, Error> {
    match asked.kind {
        None if asked.id.is_none() => schemas::root(asked),
        Some(Kind::Schema) => schemas::answer(asked),
        Some(Kind::Token) => tokens::answer(app, caller, asked).await,
        Some(Kind::User) => users::answer(app, caller, source, asked).await,
        Some(Kind::Cluster) => clusters::answer(app, caller, asked).await,
        Some(Kind::Setting) => settings::answer(app, caller, asked).await,
        // Those of the other version, and unknown ones.
        Some(Kind::AuthProvider | Kind::LocalProvider) | None => Err(Error::not_found()),
    }
}
