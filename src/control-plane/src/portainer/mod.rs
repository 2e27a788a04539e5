//! The dialect of Portainer, the part of `/api` that manages who may come in: its users, access tokens and errors, for clients that were
//! written for it. It translates to and from the operations that the native API uses; it allows nothing that they do not, and stores
//! nothing of its own. Where Portainer does or shows less than they would (tokens are made for oneself alone, another admin's are not
//! listed), so does this. Environments, stacks and all else below `/api` belong to the upstream.
//!
//! One request, in the order of the files: `request.rs` reads what is asked, `caller.rs` who asks, a resource's file (`auth.rs`,
//! `users.rs`, `passwords.rs`, `tokens.rs`, `public.rs`) does it, `error.rs` says what went wrong.

mod access_token;
mod auth;
mod caller;
mod description;
mod error;
mod passwords;
mod public;
mod request;
mod tokens;
mod users;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::header::HeaderValue;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;

use crate::api::{App, writes_for_another_site};
use crate::dialect::{Answer, Site};
use crate::login::Source;

pub(crate) use description::description;
use error::Error;
use request::{Asked, Route};

/// All paths of the dialect.
pub(crate) fn router() -> Router<App> {
    Router::new().route("/api/{*rest}", any(answer))
}

/// Whether a path is the dialect's.
pub(crate) fn owns(path: &str) -> bool {
    path.starts_with("/api/")
}

/// An error in the dialect's shape for a request that it has not seen.
pub(crate) fn refuse(status: StatusCode, details: &str) -> Response {
    Error::early(status, details).into_response()
}

/// Every request of the dialect.
async fn answer(
    State(app): State<App>,
    source: Source,
    site: Site,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answered = match Asked::read(method, &uri, &headers, &body) {
        Ok(asked) => dispatch(&app, source, &site, &asked).await,
        Err(error) => Err(error),
    };
    let mut response = answered.into_response();
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn dispatch(app: &App, source: Source, site: &Site, asked: &Asked<'_>) -> Result<Answer, Error> {
    caller::refuse_two(asked)?;
    let is_for_anybody = matches!(asked.route, Route::Auth | Route::Logout | Route::AdminInit);
    if is_for_anybody && writes_for_another_site(&asked.method, asked.headers) {
        return Err(Error::forged());
    }
    match &asked.route {
        Route::Auth => return auth::log_in(app, source, site, asked).await,
        Route::Logout => return auth::log_out(app, asked).await,
        Route::AdminCheck => return Ok(public::admin_check()),
        Route::AdminInit => return Err(public::admin_init(asked)),
        Route::Status => return Ok(public::status()),
        Route::PublicSettings => return public::settings(app).await,
        _ => {}
    }
    let caller = caller::identify(app, asked).await?;
    let answered = match &asked.route {
        Route::Users => users::answer(app, &caller, asked).await,
        Route::Me => users::me(app, &caller).await,
        Route::User(user) => users::answer_one(app, &caller, source, asked, user).await,
        Route::Password(user) => passwords::change(app, &caller, source, asked, user).await,
        Route::Tokens(user) => tokens::answer(app, &caller, source, asked, user).await,
        Route::Token(user, token) => tokens::remove(app, &caller, user, token).await,
        // Those that need no caller were answered before.
        _ => Err(Error::no_such_path()),
    };
    match &answered {
        Err(error) if error.refuses(&caller, asked) => caller::note(app, caller, asked, error).await,
        _ => app.store.note_use(caller.key),
    }
    answered
}
