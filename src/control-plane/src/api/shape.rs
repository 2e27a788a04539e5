//! In whose words an error is told that befell a request before anybody looked at what it asks: whoever speaks a dialect expects the shape
//! of that dialect.

use axum::response::{IntoResponse as _, Response};

use super::Error;
use crate::{portainer, rancher2, rancher16};

/// The error as the API has it that the path belongs to.
pub(super) fn told(path: &str, error: Error) -> Response {
    if rancher16::owns(path) {
        return rancher16::refuse(error.status(), error.message());
    }
    if rancher2::owns(path) {
        return rancher2::refuse(error.status(), error.message());
    }
    if portainer::owns(path) {
        return portainer::refuse(error.status(), error.message());
    }
    error.into_response()
}
