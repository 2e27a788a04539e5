//! The frame of what is answered: a status, what is shown, and headers beside it.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    /// `None` where there is nothing to show.
    body: Option<Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    /// One that shows something.
    pub(crate) fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body: Some(body), headers: Vec::new() }
    }

    /// 200.
    pub(crate) fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, body)
    }

    /// One that shows nothing.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, body: None, headers: Vec::new() }
    }

    /// The same with headers; those that it has already stay.
    pub(crate) fn with(mut self, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        self.headers.extend(headers);
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Some(body) => (self.status, Json(body)).into_response(),
            None => self.status.into_response(),
        };
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}
