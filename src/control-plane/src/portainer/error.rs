//! Errors in the shape of Portainer: `{"message", "details"}`. Owns the one mapping from refusals to its statuses and words. Causes inside
//! the server are logged and never sent.

use axum::Json;
use axum::http::header::HeaderValue;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::is_refused;
use crate::operations::{BUSY_SECONDS, Refusal};
use crate::permission::Caller;

use super::request::Asked;

const UNAUTHORIZED: &str = "Unauthorized";
const RESOURCE_DENIED: &str = "Access denied to resource";
const NO_OBJECT: &str = "Object not found inside the database";

/// What went wrong, as a client of Portainer expects to be told.
#[derive(Debug)]
pub(super) struct Error {
    status: StatusCode,
    message: String,
    details: String,
    allow: Option<&'static str>,
    retry_after_seconds: Option<u64>,
}

impl Error {
    fn new(status: StatusCode, message: impl Into<String>, details: &str) -> Self {
        Self { status, message: message.into(), details: capitalized(details), allow: None, retry_after_seconds: None }
    }

    /// Of a request that nobody has looked at yet.
    pub(super) fn early(status: StatusCode, details: &str) -> Self {
        Self::new(status, status.canonical_reason().unwrap_or("Error"), details)
    }

    /// 401: no credential.
    pub(super) fn no_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "A valid authorization token is missing", UNAUTHORIZED)
    }

    /// 401: one that is unknown, or does not pass any more.
    pub(super) fn invalid_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Invalid JWT token", UNAUTHORIZED)
    }

    /// 401: one of a user who is gone.
    pub(super) fn user_gone() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "An authorization token is invalid", UNAUTHORIZED)
    }

    /// 401: it takes a login, and this is a key.
    fn login_needed() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Auth not supported", "Authentication required")
    }

    /// 400: two credentials that are not the same.
    pub(super) fn conflicting_credentials() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Bad request", "the request carries two different credentials; send one")
    }

    /// 403: a key and a login at a time.
    pub(super) fn two_headers() -> Self {
        let text = "api key and auth header are not allowed at the same time";
        Self::new(StatusCode::FORBIDDEN, text, text)
    }

    /// 403 for a page of another site that makes a browser write.
    pub(super) fn forged() -> Self {
        let details = "a browser's page writes with X-API-CSRF equal to its cookie CSRF, or with a key in a header";
        Self::new(StatusCode::FORBIDDEN, "Forbidden - CSRF token invalid", details)
    }

    /// 403: for administrators.
    pub(super) fn access_denied() -> Self {
        Self::new(StatusCode::FORBIDDEN, "Access denied", UNAUTHORIZED)
    }

    /// 403 with a message of the operation's own.
    pub(super) fn denied(message: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, message, UNAUTHORIZED)
    }

    /// 403 with a message of the operation's own, in its other words.
    pub(super) fn resource_denied(message: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, message, RESOURCE_DENIED)
    }

    /// 403: a sentence that says it all.
    pub(super) fn refused(message: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, message, message)
    }

    /// 403: the password that somebody must say again is not theirs.
    pub(super) fn wrong_password() -> Self {
        let details = "Current password does not match the password provided. Please try again";
        Self::new(StatusCode::FORBIDDEN, "Current password doesn't match", details)
    }

    /// 422: nobody has this name and this password.
    pub(super) fn invalid_credentials() -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid credentials", UNAUTHORIZED)
    }

    /// 400: the body; `why` says what would be taken.
    pub(super) fn invalid_payload(why: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Invalid request payload", why)
    }

    /// 400: a password that may not be chosen.
    pub(super) fn weak_password(why: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Password does not meet the requirements", why)
    }

    /// 400: a number in the path is none.
    pub(super) fn no_number(message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message, "it must be a whole number")
    }

    /// 404: a user.
    pub(super) fn no_such_user() -> Self {
        let message = "Unable to find a user with the specified identifier inside the database";
        Self::new(StatusCode::NOT_FOUND, message, NO_OBJECT)
    }

    /// 500, as Portainer says it: an access token.
    pub(super) fn no_such_token() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "API Key not found", NO_OBJECT)
    }

    /// 404: a path.
    pub(super) fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", "Keygate answers users, tokens and logins; all else is the upstream's")
    }

    /// 405.
    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let details = format!("this path takes {allow}");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", &details) }
    }

    /// 409: a user of this name is there.
    pub(super) fn user_exists() -> Self {
        let message = "Another user with the same username already exists";
        Self::new(StatusCode::CONFLICT, message, "User already exists")
    }

    /// 409: the first administrator is there already.
    pub(super) fn admin_exists() -> Self {
        let details = "An administrator user already exists";
        Self::new(StatusCode::CONFLICT, "Unable to create administrator user", details)
    }

    /// What those are told who may not do this to a user, whether or not the user exists.
    pub(super) fn hiding(self, refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing(_) | Refusal::Forbidden(_) => self,
            other => other.into(),
        }
    }

    /// Whether it refuses this caller what they asked.
    pub(super) fn refuses(&self, caller: &Caller, asked: &Asked) -> bool {
        is_refused(caller, &asked.method, self.status)
    }

    /// Whether the request showed nothing that passes.
    pub(super) fn is_unauthenticated(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    /// The status of its answer, and its message, as the audit record keeps them.
    pub(super) fn status_and_message(&self) -> (u16, &str) {
        (self.status.as_u16(), &self.message)
    }

    /// The cause goes to the log: it may tell of the machine, and the caller cannot mend it.
    pub(super) fn unavailable(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %cause, "a request failed");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Service unavailable", "look before you try again")
    }
}

impl<R: Into<Refusal>> From<R> for Error {
    fn from(refusal: R) -> Self {
        let refusal = refusal.into();
        match refusal {
            Refusal::Missing(missing) => Self::new(StatusCode::NOT_FOUND, "Not found", &missing.to_string()),
            Refusal::Unauthorized => Self::invalid_token(),
            Refusal::Forbidden(_) => Self::access_denied(),
            Refusal::WrongPassword => Self::wrong_password(),
            Refusal::InactiveAccount => Self::new(StatusCode::FORBIDDEN, "Access denied", &refusal.to_string()),
            Refusal::Conflict { code: "name_taken", .. } => Self::user_exists(),
            Refusal::Conflict { code: "first_account", .. } => Self::refused("Cannot remove the initial admin account"),
            Refusal::Conflict { code: "own_account", .. } => {
                Self::refused("Cannot remove your own user account. Contact another administrator")
            }
            Refusal::Conflict { code: "not_a_login", .. } => Self::login_needed(),
            Refusal::Conflict { message, .. } => Self::new(StatusCode::CONFLICT, "Conflict", &message),
            Refusal::Invalid { field: "password", message } => Self::weak_password(&message),
            Refusal::Invalid { field, message } => Self::invalid_payload(&format!("{field} {message}")),
            Refusal::Absent(field) => Self::invalid_payload(&format!("{field} is missing")),
            Refusal::Throttled { seconds } => {
                let denied = Self::new(StatusCode::FORBIDDEN, "Access denied", RESOURCE_DENIED);
                Self { retry_after_seconds: Some(seconds), ..denied }
            }
            Refusal::Busy => Self {
                retry_after_seconds: Some(BUSY_SECONDS),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "Service unavailable", &refusal.to_string())
            },
            Refusal::Hash(_) | Refusal::Randomness(_) | Refusal::Store(_) => Self::unavailable(&refusal),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({"message": self.message, "details": self.details}))).into_response();
        if let Some(allow) = self.allow {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// With a capital letter at the beginning, as Portainer writes its details.
fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
