//! The native API, `/keygate/v1`: from HTTP to operations and back. Each resource has a file, each of its operations a function.
//! It holds no SQL and decides nothing about who may do what. Plain secrets leave in one place: the reply to a key's creation.

mod accounts;
mod audit;
mod auth;
mod description;
mod environments;
mod error;
mod health;
mod input;
mod keys;
mod logins;
mod members;
mod metrics;
mod origin;
mod passwords;
mod proxies;
mod proxy_tokens;
mod reply;
mod revisions;
mod route_table;
mod server;
mod settings;
mod shape;
mod source;
mod table;
mod takeover;
#[cfg(test)]
mod tests;
mod wait;
mod whoami;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::{Router, middleware, routing};

use crate::login::Gate;
use crate::metrics::Metrics;
use crate::operations::audit::Refusals;
use crate::operations::{Refusal, callers};
use crate::permission::Caller;
use crate::push::Publisher;
use crate::store::{Actor, Change, Store, Written};
use crate::{openapi, portainer, rancher2, rancher16};

pub(crate) use auth::{is_refused, note_refused};
use error::Error;
pub(crate) use keys::created_key;
pub(crate) use metrics::watched;
pub(crate) use origin::writes_for_another_site;
use route_table::{RouteTable, delete, get, patch, post, put};
pub(crate) use server::serve;
pub(crate) use source::Peer;
#[cfg(test)]
pub(crate) use tests::Scratch;

/// What the handlers work with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) publisher: Publisher,
    /// Through which whoever says a password must go.
    pub(crate) gate: Gate,
    /// Which refused requests are noted.
    pub(crate) refusals: Refusals,
    /// Whether proxies can connect.
    pub(crate) sync_is_up: Arc<AtomicBool>,
    pub(crate) metrics: Metrics,
}

impl App {
    /// Makes a change on behalf of a caller, who was identified before it stood in the queue and is identified again.
    pub(crate) async fn change<T, F>(&self, caller: Caller, operation: F) -> Result<Written<T>, Refusal>
    where
        F: AsyncFnOnce(&mut Change<'_>, &Caller) -> Result<T, Refusal> + Send + 'static,
        T: Send + 'static,
    {
        let actor = Actor::Caller(caller.clone());
        let identified = async move |change: &mut Change<'_>| {
            let caller = callers::identify_again(change, &caller).await?;
            operation(change, &caller).await
        };
        self.store.write(actor, identified).await
    }
}

/// The native routes. Whether one takes a body or parameters is a property of the table in which it stands, not of its handler.
#[derive(Debug)]
struct Native {
    with_body: RouteTable,
    with_parameters: RouteTable,
    plain: RouteTable,
    /// Whoever logs in has no credential yet.
    without_credential: RouteTable,
    /// Whoever logs out may have one that does not pass now.
    with_any_login: RouteTable,
}

fn native() -> Native {
    let with_body = RouteTable::default()
        .route("/accounts", post(accounts::create))
        .route("/accounts/{account}/password", put(passwords::set))
        .route("/environments", post(environments::create))
        .route("/environments/{environment}", patch(environments::edit))
        .route("/environments/{environment}/members/{account}", put(members::put))
        .route("/keys", post(keys::create))
        .route("/keys/{key}", patch(keys::edit))
        .route("/proxies/{proxy}/tokens", post(proxy_tokens::create))
        .route("/settings/{setting}", put(settings::set))
        .route("/takeover", post(takeover::create));
    let with_parameters = RouteTable::default()
        .route("/audit", get(audit::list))
        .route("/keys", get(keys::list))
        .route("/logins", get(logins::list))
        .route("/revisions/{revision}", get(revisions::show));
    let plain = RouteTable::default()
        .route("/accounts", get(accounts::list))
        .route("/accounts/{account}", get(accounts::show).delete(accounts::delete))
        .route("/accounts/{account}/activate", post(accounts::activate))
        .route("/accounts/{account}/deactivate", post(accounts::deactivate))
        .route("/environments", get(environments::list))
        .route("/environments/{environment}", get(environments::show).delete(environments::delete))
        .route("/environments/{environment}/members", get(members::list))
        .route("/environments/{environment}/members/{account}", delete(members::remove))
        .route("/keys/{key}", get(keys::show).delete(keys::delete))
        .route("/keys/{key}/grant", get(keys::grant))
        .route("/keys/{key}/activate", post(keys::activate))
        .route("/keys/{key}/deactivate", post(keys::deactivate))
        .route("/logins/{login}", delete(logins::end))
        .route("/proxies", get(proxies::list))
        .route("/proxies/{proxy}", get(proxies::show).delete(proxies::forget))
        .route("/proxies/{proxy}/former", delete(proxies::forget_former))
        .route("/proxies/{proxy}/tokens", get(proxy_tokens::list_of_proxy))
        .route("/proxy-tokens", get(proxy_tokens::list))
        .route("/proxy-tokens/{token}", delete(proxy_tokens::revoke))
        .route("/settings", get(settings::list))
        .route("/settings/{setting}", get(settings::show).delete(settings::unset))
        .route("/table", get(table::show))
        .route("/whoami", get(whoami::show));
    let without_credential = RouteTable::default().route("/login", post(logins::log_in));
    let with_any_login = RouteTable::default().route("/login", delete(logins::log_out));
    Native { with_body, with_parameters, plain, without_credential, with_any_login }
}

/// All routes. That each below `/keygate/v1` but logging in needs a credential, and takes no body and no parameter unless it stands among those that
/// do, are properties of the route table, not of a handler.
pub(crate) fn routes(app: App) -> Router {
    let native = native();
    let page = Bytes::from(
        openapi::page(&[description::of(&native), rancher16::description(), rancher2::description(), portainer::description()])
            .to_string(),
    );
    let page = async move || ([(header::CONTENT_TYPE, "application/json")], page);
    let Native { with_body, with_parameters, plain, without_credential, with_any_login } = native;
    let refuse_body = middleware::from_fn(input::refuse_body);
    let arrives = middleware::from_fn_with_state(app.clone(), wait::answer_when_arrived);
    let acknowledged = middleware::from_fn_with_state(app.clone(), wait::answer_when_acknowledged);
    let log_out = with_any_login
        .router
        .route_layer(refuse_body.clone())
        .route_layer(acknowledged.clone())
        .route_layer(middleware::from_fn_with_state(app.clone(), auth::authenticate_to_log_out));
    let native = plain
        .router
        .route_layer(refuse_body.clone())
        .merge(with_body.router)
        .route_layer(acknowledged)
        .merge(with_parameters.router.route_layer(refuse_body))
        .route_layer(middleware::from_fn_with_state(app.clone(), auth::authenticate))
        .merge(without_credential.router.route_layer(arrives.clone()))
        .merge(log_out)
        .route_layer(middleware::from_fn(origin::refuse_other_sites));
    let for_admins = routing::get(metrics::show_to_admin)
        .route_layer(middleware::from_fn_with_state(app.clone(), auth::authenticate))
        .route_layer(middleware::from_fn(origin::refuse_other_sites));
    let dialects = rancher16::router().merge(rancher2::router()).merge(portainer::router()).route_layer(arrives);
    Router::new()
        .nest("/keygate/v1", native)
        .route("/healthz", routing::get(health::alive))
        .route("/readyz", routing::get(health::ready))
        .route("/openapi.json", routing::get(page))
        .merge(dialects)
        .route("/metrics", for_admins)
        .fallback(async || Error::no_such_path())
        .method_not_allowed_fallback(async || Error::method_not_allowed())
        .layer(middleware::map_response(not_to_be_kept))
        .layer(middleware::from_fn_with_state(app.clone(), metrics::time))
        .with_state(app)
}

/// An answer may hold a secret, and is for the one who asked: nothing between here and there keeps it.
async fn not_to_be_kept(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
