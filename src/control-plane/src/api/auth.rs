//! Who calls: the same credentials, read by the same code, as at the edge, but looked up in storage. It never logs a header's value.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use keygate_decision::request::Reading;
use keygate_decision::{Carriers, Reason, Request as Presented};

use super::{App, Error};
use crate::permission::Caller;
use crate::store::key;

/// Lets a request through if its credential may pass now, and notes the caller for the handler.
pub(super) async fn authenticate(State(app): State<App>, mut request: Request, next: Next) -> Result<Response, Error> {
    let caller = identify(&app, request.headers()).await?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        // Absent only on a route that does not authenticate; such a route must not have a caller.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Error::unauthorized(true))
    }
}

async fn identify(app: &App, headers: &HeaderMap) -> Result<Caller, Error> {
    let headers = headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let carriers = Carriers::standard();
    let presented = Presented::read(headers, Reading::for_credentials(&carriers));
    let digest = presented.credentials.digest().map_err(|reason| match reason {
        Reason::ConflictingCredentials => Error::conflicting_credentials(),
        _ => Error::unauthorized(presented.wants_challenge),
    })?;
    let now = app.store.clock().now();
    let caller = key::identify(&mut *app.store.read().await?, &digest, now).await?;
    caller.ok_or_else(|| Error::unauthorized(presented.wants_challenge))
}
