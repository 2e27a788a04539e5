//! The shapes of successful answers.

use axum::Json;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::store::Written;

/// Names the revision of the table that contains a change.
const REVISION_HEADER: &str = "keygate-revision";

/// A list of things.
pub(super) fn list<T>(things: &[T], view: impl FnMut(&T) -> Value) -> Response {
    Json(json!({"data": things.iter().map(view).collect::<Vec<_>>()})).into_response()
}

/// One thing.
pub(super) fn one(thing: Value) -> Response {
    Json(thing).into_response()
}

/// A thing that a change made.
pub(super) fn created<T>(written: &Written<T>, view: impl FnOnce(&T) -> Value) -> Response {
    at_revision(written.revision, (StatusCode::CREATED, Json(view(&written.value))))
}

/// A thing as a change left it.
pub(super) fn changed<T>(written: &Written<T>, view: impl FnOnce(&T) -> Value) -> Response {
    at_revision(written.revision, Json(view(&written.value)))
}

/// A change that left nothing to show.
pub(super) fn gone(written: &Written<()>) -> Response {
    at_revision(written.revision, StatusCode::NO_CONTENT)
}

fn at_revision(revision: u64, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    response.headers_mut().insert(REVISION_HEADER, HeaderValue::from(revision));
    response
}
