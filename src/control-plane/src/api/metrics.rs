//! `/metrics`: to admins at the API, to everybody who reaches it on a port of its own. Here requests are timed.

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::time::Instant;

use super::{App, Error, health};
use crate::metrics::{self, CONTENT_TYPE};
use crate::operations::proxies;
use crate::permission::Caller;

/// The routes of the port for those who watch: they need no credential and change nothing.
pub(crate) fn watched(app: App) -> Router {
    Router::new()
        .route("/metrics", get(show))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(async || Error::no_such_path())
        .method_not_allowed_fallback(async || Error::method_not_allowed())
        .with_state(app)
}

/// GET /metrics, on the API's port. Proxies are named there, so it is for those who may see them.
pub(super) async fn show_to_admin(State(app): State<App>, caller: Caller) -> Result<Response, Error> {
    proxies::list(&app.publisher, &caller)?;
    show(State(app)).await
}

async fn show(State(app): State<App>) -> Result<Response, Error> {
    let text = app.metrics.text().map_err(|error| Error::unavailable(&error))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

/// Times a request by its route. What callers choose is no label, or they could fill the memory with labels.
pub(super) async fn time(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = known(request.method());
    let started = Instant::now();
    let response = next.run(request).await;
    let request = metrics::Request { method, route, status: response.status().as_u16() };
    app.metrics.answered(&request, started.elapsed());
    response
}

fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
