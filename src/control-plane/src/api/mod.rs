//! The native API, `/keygate/v1`: from HTTP to operations and back. Each resource has a file, each of its operations a function.
//! It holds no SQL and decides nothing about who may do what. Plain secrets leave in one place: the reply to a key's creation.

mod accounts;
mod auth;
mod environments;
mod error;
mod health;
mod input;
mod keys;
mod members;
mod proxies;
mod reply;
mod revisions;
#[cfg(test)]
mod tests;
mod whoami;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post, put};
use axum::{Router, middleware};

use crate::operations::Refusal;
use crate::permission::Caller;
use crate::push::Publisher;
use crate::store::{Actor, Change, Store, Written};

use error::Error;
pub(crate) use keys::created_key;
#[cfg(test)]
pub(crate) use tests::Scratch;

/// What the handlers work with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) publisher: Publisher,
    /// Whether proxies can connect.
    pub(crate) sync_is_up: Arc<AtomicBool>,
}

impl App {
    /// Makes a change on behalf of a caller.
    async fn change<T, F>(&self, caller: Caller, operation: F) -> Result<Written<T>, Error>
    where
        F: AsyncFnOnce(&mut Change<'_>, &Caller) -> Result<T, Refusal> + Send + 'static,
        T: Send + 'static,
    {
        let actor = Actor::Caller(caller.clone());
        Ok(self.store.write(actor, async move |change: &mut Change<'_>| operation(change, &caller).await).await?)
    }
}

/// All routes. Each below `/keygate/v1` needs a credential: that is a property of the route table, not of a handler.
pub(crate) fn router(app: App) -> Router {
    let native = Router::new()
        .route("/accounts", get(accounts::list).post(accounts::create))
        .route("/accounts/{account}", get(accounts::show).delete(accounts::delete))
        .route("/accounts/{account}/activate", post(accounts::activate))
        .route("/accounts/{account}/deactivate", post(accounts::deactivate))
        .route("/environments", get(environments::list).post(environments::create))
        .route("/environments/{environment}", get(environments::show).patch(environments::edit).delete(environments::delete))
        .route("/environments/{environment}/members", get(members::list))
        .route("/environments/{environment}/members/{account}", put(members::put).delete(members::remove))
        .route("/keys", get(keys::list).post(keys::create))
        .route("/keys/{key}", get(keys::show).patch(keys::edit).delete(keys::delete))
        .route("/keys/{key}/grant", get(keys::grant))
        .route("/keys/{key}/activate", post(keys::activate))
        .route("/keys/{key}/deactivate", post(keys::deactivate))
        .route("/proxies", get(proxies::list))
        .route("/proxies/{proxy}", delete(proxies::forget))
        .route("/revisions/{revision}", get(revisions::show))
        .route("/whoami", get(whoami::show))
        .route_layer(middleware::from_fn_with_state(app.clone(), auth::authenticate))
        .layer(DefaultBodyLimit::max(input::MAX_BODY));
    Router::new()
        .nest("/keygate/v1", native)
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(async || Error::no_such_path())
        .method_not_allowed_fallback(async || Error::method_not_allowed())
        .with_state(app)
}
