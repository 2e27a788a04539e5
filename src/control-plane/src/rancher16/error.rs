//! Errors in the shape of Rancher 1.6. Owns the one mapping from refusals to its statuses and codes. Causes inside the server are logged
//! and never sent.

use axum::Json;
use axum::http::header::HeaderValue;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::is_refused;
use crate::dialect::uuid;
use crate::operations::{BUSY_SECONDS, Missing, Refusal};
use crate::permission::Caller;
use crate::random;

use super::request::Asked;

/// What went wrong, as a client of Rancher expects to be told.
#[derive(Debug)]
pub(super) struct Error {
    status: StatusCode,
    code: &'static str,
    /// For people; validation errors of Rancher have none.
    message: Option<String>,
    /// For people, further.
    detail: Option<String>,
    field: Option<String>,
    challenge: bool,
    retry_after_seconds: Option<u64>,
    /// Whether the caller may not do it, though the status does not say so.
    not_granted: bool,
}

impl Error {
    fn new(status: StatusCode, code: &'static str) -> Self {
        let message = Some(code.to_owned());
        Self { status, code, message, detail: None, field: None, challenge: false, retry_after_seconds: None, not_granted: false }
    }

    fn saying(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// 422: a field cannot be taken; `detail` says what can.
    pub(super) fn invalid(code: &'static str, field: impl Into<String>, detail: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, code).saying(detail);
        Self { message: None, field: Some(field.into()), ..error }
    }

    /// 401, with or without a challenge.
    pub(super) fn unauthorized(challenge: bool) -> Self {
        Self { challenge, ..Self::new(StatusCode::UNAUTHORIZED, "Unauthorized") }
    }

    /// 401 to an admin who names somebody with a password that is not theirs.
    pub(super) fn incorrect_password() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "IncorrectPassword").saying("the username or the password is wrong")
    }

    /// 403.
    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden")
    }

    /// 403 for a page of another site that makes a browser write.
    pub(super) fn forged() -> Self {
        Self::new(StatusCode::FORBIDDEN, "InvalidCSRFToken")
    }

    /// 404.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    /// 405.
    pub(super) fn method_not_allowed(detail: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed").saying(detail)
    }

    /// 422: no such action.
    pub(super) fn no_such_action() -> Self {
        Self::invalid("InvalidAction", "action", "there is no such action")
    }

    /// 422: not in this state.
    pub(super) fn action_not_available() -> Self {
        Self::invalid("ActionNotAvailable", "action", "the state of the resource does not allow this action; see its `actions`")
    }

    /// 422 as Rancher has it where the caller does not see an action; noted as a refusal.
    pub(super) fn action_not_granted(detail: &str) -> Self {
        Self { not_granted: true, ..Self::action_not_available().saying(detail) }
    }

    /// What befell a request before anybody looked at what it asks.
    pub(super) fn early(status: StatusCode, detail: &str) -> Self {
        Self::new(status, status.canonical_reason().unwrap_or("Error")).saying(detail)
    }

    /// 400 with a code of its own.
    pub(super) fn bad_request(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code).saying(detail)
    }

    /// 400: whoever changes a password does not know the former one.
    pub(super) fn wrong_old_password() -> Self {
        Self { not_granted: true, ..Self::bad_request("InvalidOldPassword", "the old password is wrong") }
    }

    /// 405 for those who may not use a method: it looks to them as if there were none.
    pub(super) fn not_granted(detail: &str) -> Self {
        Self { not_granted: true, ..Self::method_not_allowed(detail) }
    }

    /// 500: there is no token to end.
    pub(super) fn no_token() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "JWTNotProvided").saying("the request carries no token")
    }

    /// What those are told who may not learn that a type of things exists.
    pub(super) fn hiding(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Forbidden(_) => Self::not_found(),
            other => other.into(),
        }
    }

    /// Whether it refuses this caller what they asked.
    pub(super) fn refuses(&self, caller: &Caller, asked: &Asked) -> bool {
        self.not_granted || is_refused(caller, &asked.method, self.status)
    }

    /// The status of its answer, and its code.
    pub(super) fn status_and_code(&self) -> (u16, &'static str) {
        (self.status.as_u16(), self.code)
    }

    /// The cause goes to the log: it may tell of the machine, and the caller cannot mend it.
    fn unavailable(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %cause, "a request failed");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable").saying("look before you try again")
    }
}

impl<R: Into<Refusal>> From<R> for Error {
    fn from(refusal: R) -> Self {
        let refusal = refusal.into();
        match refusal {
            Refusal::Missing(Missing { field: Some(field), .. }) => {
                Self::invalid("InvalidReference", ranchers(field), "there is no such thing that you may see")
            }
            Refusal::Missing(_) => Self::not_found(),
            Refusal::Unauthorized => Self::unauthorized(true),
            Refusal::WrongPassword | Refusal::InactiveAccount => Self::unauthorized(false).saying(refusal.to_string()),
            Refusal::Forbidden(why) => Self::forbidden().saying(why),
            Refusal::Conflict { code: "key_active", message, .. } => Self::method_not_allowed(&message),
            Refusal::Conflict { code: "last_admin", message, .. } => {
                Self::new(StatusCode::METHOD_NOT_ALLOWED, "LastAdminAccount").saying(message)
            }
            Refusal::Conflict { field: Some(field), message, .. } => Self::invalid("NotUnique", ranchers(field), message),
            Refusal::Conflict { message, .. } => Self::new(StatusCode::CONFLICT, "Conflict").saying(message),
            Refusal::Invalid { field, message } => Self::invalid("InvalidFormat", ranchers(field), message),
            Refusal::Absent(field) => Self::invalid("MissingRequired", ranchers(field), "is missing"),
            Refusal::Throttled { seconds } => Self {
                retry_after_seconds: Some(seconds),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests").saying(refusal.to_string())
            },
            Refusal::Busy => Self {
                retry_after_seconds: Some(BUSY_SECONDS),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable").saying(refusal.to_string())
            },
            Refusal::Hash(_) | Refusal::Randomness(_) | Refusal::Store(_) => Self::unavailable(&refusal),
        }
    }
}

/// What Rancher calls a field.
fn ranchers(field: &'static str) -> &'static str {
    match field {
        "accessKey" => "publicValue",
        "secretKey" => "secretValue",
        "account" | "environment" => "accountId",
        own => own,
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        // An id for people to quote; without randomness there is none.
        let id = random::bytes::<16>().map(uuid).ok();
        let mut body = json!({
            "id": id, "type": "error", "links": {}, "actions": {}, "status": self.status.as_u16(), "code": self.code,
            "message": self.message, "detail": self.detail,
        });
        if let (Some(object), Some(field)) = (body.as_object_mut(), self.field) {
            object.insert("fieldName".to_owned(), field.into());
        }
        let mut response = (self.status, Json(body)).into_response();
        if self.challenge {
            const ASK: &str = r#"Basic realm="Enter API access key and secret key as username and password""#;
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(ASK));
        }
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
