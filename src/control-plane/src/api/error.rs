//! Every error as JSON: `{"code", "message", "field"}`. Owns the one mapping from refusals to statuses. Causes inside the server are
//! logged and never sent.

use std::time::Duration;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::operations::{BUSY_SECONDS, Missing, Refusal};

/// An answer that says what is wrong, where, and the way out.
#[derive(Debug)]
pub(crate) struct Error {
    status: StatusCode,
    code: &'static str,
    message: String,
    field: Option<String>,
    challenge: bool,
    retry_after_seconds: Option<u64>,
}

/// The code of an error, as an extension of its response: for those who note refusals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Code(pub(super) &'static str);

impl Error {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: None, challenge: false, retry_after_seconds: None }
    }

    /// The status of its answer.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// What it says to people.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Its word, which never changes.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    fn in_field(self, field: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..self }
    }

    pub(super) fn unauthorized(challenge: bool) -> Self {
        let message =
            "a valid key is missing: send it as HTTP Basic (access key and secret key), as a bearer token or as X-API-Key";
        Self { challenge, ..Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message) }
    }

    pub(super) fn conflicting_credentials() -> Self {
        let message = "the request carries two different credentials; send one";
        Self::new(StatusCode::BAD_REQUEST, "conflicting_credentials", message)
    }

    pub(super) fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_such_path", "nothing is here; the API's paths begin with /keygate/v1/")
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "this path does not take this method; the Allow header lists those it takes";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    pub(super) fn malformed_body(why: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed_json", format!("the body is not a JSON object: {why}"))
    }

    pub(super) fn unreadable_body() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unreadable_body", "the body ended early; send the request again")
    }

    pub(super) fn body_too_large(limit: usize) -> Self {
        let message = format!("the body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    pub(super) fn body_too_slow(limit: Duration) -> Self {
        let message = format!("the body did not arrive within {} s; send the request again", limit.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", message)
    }

    pub(super) fn one_takeover_at_a_time() -> Self {
        let message = "another takeover is being received; try again in a few seconds";
        Self { retry_after_seconds: Some(BUSY_SECONDS), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message) }
    }

    pub(super) fn other_site() -> Self {
        let message = "the request comes from a page of another site; changes are made from this site or without a browser";
        Self::new(StatusCode::FORBIDDEN, "other_site", message)
    }

    pub(super) fn not_json() -> Self {
        let message = "the body must be JSON, sent with Content-Type: application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", message)
    }

    pub(super) fn wrong_former_password() -> Self {
        let message = "the former password is wrong; an admin can set a new one without it";
        Self::new(StatusCode::UNAUTHORIZED, "wrong_password", message).in_field("oldPassword")
    }

    pub(super) fn missing_field(field: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "missing_field", format!("{field} is missing")).in_field(field)
    }

    pub(super) fn unknown_field(field: String, known: &[&str]) -> Self {
        let message = match known {
            [] => format!("{field} is unknown: this takes none"),
            known => format!("{field} is unknown here; known are: {}", known.join(", ")),
        };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_field", message).in_field(field)
    }

    pub(super) fn invalid_field(field: &str, why: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", format!("{field}: {why}")).in_field(field)
    }

    pub(super) fn unknown_revision(revision: &str, newest: u64) -> Self {
        let message = format!("there is no revision {revision}; the newest is {newest}");
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn not_ready(why: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why)
    }

    /// The cause goes to the log: it may tell of the machine, and the caller cannot mend it.
    pub(super) fn unavailable(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %cause, "a request failed");
        let message =
            "the control plane could not do this, or not for certain; look before you try again, and see its log if it goes on";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }
}

impl<R: Into<Refusal>> From<R> for Error {
    fn from(refusal: R) -> Self {
        let refusal = refusal.into();
        match refusal {
            Refusal::Missing(Missing { field, .. }) => {
                Self { field: field.map(str::to_owned), ..Self::new(StatusCode::NOT_FOUND, "not_found", refusal.to_string()) }
            }
            Refusal::Unauthorized => Self::unauthorized(true),
            Refusal::Forbidden(why) => Self::new(StatusCode::FORBIDDEN, "forbidden", format!("this key may not do that: {why}")),
            Refusal::Conflict { code, field, message } => {
                Self { field: field.map(str::to_owned), ..Self::new(StatusCode::CONFLICT, code, message) }
            }
            Refusal::Invalid { field, message } => Self::invalid_field(field, message),
            Refusal::Absent(field) => Self::missing_field(field),
            Refusal::WrongPassword => Self::new(StatusCode::UNAUTHORIZED, "wrong_password", refusal.to_string()),
            Refusal::InactiveAccount => Self::new(StatusCode::FORBIDDEN, "account_inactive", refusal.to_string()),
            Refusal::Throttled { seconds } => Self {
                retry_after_seconds: Some(seconds),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", refusal.to_string())
            },
            Refusal::Busy => Self {
                retry_after_seconds: Some(BUSY_SECONDS),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", refusal.to_string())
            },
            Refusal::Hash(_) | Refusal::Randomness(_) | Refusal::Store(_) => Self::unavailable(&refusal),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = json!({"code": self.code, "message": self.message, "field": self.field});
        let mut response = (self.status, Json(body)).into_response();
        response.extensions_mut().insert(Code(self.code));
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if self.challenge {
            let challenge = header::HeaderValue::from_static("Basic realm=\"Keygate\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
