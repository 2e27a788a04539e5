//! The shapes of successful answers.

use axum::Json;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::Error;
use crate::push::Acknowledgement;
use crate::store::Written;

/// Names the revision of the table that contains a change.
const REVISION_HEADER: &str = "keygate-revision";
const ACKNOWLEDGED_HEADER: &str = "keygate-acknowledged";
const CLOSED_HEADER: &str = "keygate-closed";
const MISSING_HEADER: &str = "keygate-missing";

/// What the answer to a change says in headers; the last three where it was waited for.
pub(super) const CHANGE_HEADERS: [(&str, &str); 4] = [
    (REVISION_HEADER, "The revision of the table that contains the change"),
    (ACKNOWLEDGED_HEADER, "With wait: the proxies that have it in force, separated by commas"),
    (
        CLOSED_HEADER,
        "With wait: those that let nothing pass any more, for they have not been heard for longer than their staleness limit",
    ),
    (MISSING_HEADER, "With wait: those of which neither is known. Empty: the change is in force wherever anything passes"),
];

/// A list of things.
pub(super) fn list<T>(things: &[T], mut view: impl FnMut(&T) -> Value) -> Response {
    // One by one: a value takes many times the text that it becomes, and a list may be a million keys long.
    let mut body = String::from(r#"{"data":["#);
    for (index, thing) in things.iter().enumerate() {
        body.push_str(if index == 0 { "" } else { "," });
        body.push_str(&view(thing).to_string());
    }
    body.push_str("]}");
    ([(CONTENT_TYPE, "application/json")], body).into_response()
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
pub(super) fn gone<T>(written: &Written<T>) -> Response {
    at_revision(written.revision, StatusCode::NO_CONTENT)
}

/// The revision that an answer names.
pub(super) fn revision(response: &Response) -> Option<u64> {
    response.headers().get(REVISION_HEADER)?.to_str().ok()?.parse().ok()
}

/// An answer that also says who has the change in force, in headers: its body stays the thing that was changed.
pub(super) fn acknowledged(mut response: Response, by: &Acknowledgement) -> Result<Response, Error> {
    for (header, names) in [(ACKNOWLEDGED_HEADER, &by.acknowledged), (CLOSED_HEADER, &by.closed), (MISSING_HEADER, &by.missing)] {
        let names = HeaderValue::try_from(names.join(",")).map_err(|error| Error::unavailable(&error))?;
        response.headers_mut().insert(header, names);
    }
    Ok(response)
}

fn at_revision(revision: u64, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    response.headers_mut().insert(REVISION_HEADER, HeaderValue::from(revision));
    response
}
