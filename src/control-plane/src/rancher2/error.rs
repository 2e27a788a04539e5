//! Errors in the two shapes of Rancher 2: of its authentication, whose status is a text, and of its API. Owns the one mapping from
//! refusals to statuses and codes. Causes inside the server are logged and never sent.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::request::Asked;
use super::resource;
use crate::api::is_refused;
use crate::operations::{BUSY_SECONDS, Refusal};
use crate::permission::Caller;

/// What went wrong, as a client of Rancher 2 expects to be told.
#[derive(Debug)]
pub(super) struct Error {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// For people, further.
    detail: Option<String>,
    field: Option<&'static str>,
    /// It is said before the API is reached.
    by_filter: bool,
    retry_after_seconds: Option<u64>,
    /// What could be asked instead.
    allowed: Option<Box<str>>,
    /// Whether the caller may not do it, though the status does not say so.
    not_granted: bool,
}

impl Error {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            code,
            message,
            detail: None,
            field: None,
            by_filter: false,
            retry_after_seconds: None,
            allowed: None,
            not_granted: false,
        }
    }

    fn saying(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// 401 to whoever presents nothing that passes here; it says nothing of why.
    pub(super) fn must_authenticate() -> Self {
        Self { by_filter: true, ..Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "must authenticate") }
    }

    /// 422 for a page of another site that makes a browser write.
    pub(super) fn forged() -> Self {
        let message = "Invalid CSRF token";
        let detail = "a browser writes with the header X-API-CSRF equal to its cookie CSRF, and from this site's pages alone";
        let error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "InvalidCSRFToken", message).saying(detail);
        Self { not_granted: true, ..error }
    }

    /// 422: a field cannot be taken; the message says what can.
    pub(super) fn invalid(code: &'static str, field: &'static str, message: impl Into<String>) -> Self {
        let message = format!("{field}: {}", message.into());
        Self { field: Some(field), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message) }
    }

    /// 422: a field names what is not there for the caller.
    pub(super) fn invisible(field: &'static str, what: &str) -> Self {
        let error = Self::invalid("InvalidReference", field, format!("there is no such {what} that you may see"));
        Self { not_granted: true, ..error }
    }

    /// 422: the body cannot be read.
    pub(super) fn body(code: &'static str, message: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    /// What befell a request's body before anybody looked at what it asks.
    pub(super) fn early(status: StatusCode, message: &str) -> Self {
        Self::new(status, "InvalidBodyContent", message)
    }

    /// 404.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "not found")
    }

    /// 404: no such action.
    pub(super) fn no_such_action() -> Self {
        Self::new(StatusCode::NOT_FOUND, "ActionNotAvailable", "there is no such action here; see `actions`")
    }

    /// 405; these methods are allowed.
    pub(super) fn method_not_allowed(methods: &[&str]) -> Self {
        let methods = methods.join(", ");
        let error = Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllow", format!("this takes {methods}"));
        Self { allowed: Some(methods.into()), ..error }
    }

    /// 400 to whoever deletes the login that they use.
    pub(super) fn current_login() -> Self {
        let message = "Cannot delete token for current session. Use logout instead";
        Self::new(StatusCode::BAD_REQUEST, "ServerError", message)
    }

    /// 401 to a name and a password that do not go together.
    pub(super) fn wrong_password() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "authentication failed")
    }

    /// The same where the thing of that name is called otherwise here, and for other codes.
    pub(super) fn renamed(self, from: &str, field: &'static str) -> Self {
        match self.field {
            Some(own) if own == from => {
                let message = self.message.strip_prefix(from).map(|rest| format!("{field}{rest}"));
                Self { message: message.unwrap_or(self.message), field: Some(field), ..self }
            }
            _ => self,
        }
    }

    /// The same with the code that Rancher has for a value that cannot be read.
    pub(super) fn unreadable(self) -> Self {
        Self { code: if self.code == "InvalidFormat" { "InvalidBodyContent" } else { self.code }, ..self }
    }

    /// What was asked stands in Rancher's message to those who have no right.
    pub(super) fn on(self, asked: &Asked) -> Self {
        match self.status {
            StatusCode::FORBIDDEN => {
                let message = format!("can not {}", resource::deed(asked));
                Self { detail: Some(self.message), message, ..self }
            }
            _ => self,
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
        let message = "this could not be done, or not for certain; look before you try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServerError", message)
    }
}

impl<R: Into<Refusal>> From<R> for Error {
    fn from(refusal: R) -> Self {
        let refusal = refusal.into();
        match refusal {
            Refusal::Missing(missing) => match missing.field {
                // What a field names that is not there, or may not be seen.
                Some("environment") => Self::invisible("clusterId", "cluster"),
                Some("account") => Self::invisible("userId", "user"),
                _ => Self::not_found(),
            },
            Refusal::Unauthorized => Self::must_authenticate(),
            Refusal::WrongPassword => Self::wrong_password(),
            Refusal::InactiveAccount => {
                Self::new(StatusCode::FORBIDDEN, "PermissionDenied", "Permission Denied").saying(refusal.to_string())
            }
            Refusal::Forbidden(why) => Self::new(StatusCode::FORBIDDEN, "PermissionDenied", why),
            Refusal::Conflict { code: "set_by_environment", message, .. } => {
                Self { message, ..Self::method_not_allowed(&["GET"]) }
            }
            Refusal::Conflict { code: "setting_not_used", message, .. } => {
                Self::new(StatusCode::NOT_FOUND, "ActionNotAvailable", message)
            }
            Refusal::Conflict { code: "over_limit", message, .. } => Self::invalid("MaxLimitExceeded", "value", message),
            Refusal::Conflict { code: "too_many_tokens", message, .. } => Self::invalid("MaxLimitExceeded", "userId", message),
            Refusal::Conflict { code: "own_account" | "last_admin" | "not_a_login", message, .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "InvalidAction", message)
            }
            Refusal::Conflict { field: Some(field), message, .. } => Self::invalid("NotUnique", field, message),
            Refusal::Conflict { message, .. } => Self::new(StatusCode::CONFLICT, "Conflict", message),
            Refusal::Invalid { field, message } => Self::invalid("InvalidFormat", field, message),
            Refusal::Absent(field) => Self::invalid("MissingRequired", field, "is missing"),
            Refusal::Throttled { seconds } => Self {
                retry_after_seconds: Some(seconds),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", refusal.to_string())
            },
            Refusal::Busy => Self {
                retry_after_seconds: Some(BUSY_SECONDS),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServerError", refusal.to_string())
            },
            Refusal::Hash(_) | Refusal::Randomness(_) | Refusal::Store(_) => Self::unavailable(&refusal),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut body = match self.by_filter {
            true => json!({"type": "error", "status": self.status.as_str(), "message": self.message}),
            false => json!({
                "type": "error", "baseType": "error", "status": self.status.as_u16(), "code": self.code, "message": self.message,
            }),
        };
        if let Some(object) = body.as_object_mut() {
            let further = [("fieldName", self.field.map(str::to_owned)), ("detail", self.detail)];
            object.extend(further.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))));
        }
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(allowed) = self.allowed.and_then(|allowed| header::HeaderValue::from_str(&allowed).ok()) {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        response
    }
}
