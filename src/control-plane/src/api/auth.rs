//! Who calls: the same credentials, read by the same code, as at the edge, but looked up in storage. It never logs a header's value.

use axum::extract::{FromRequestParts, MatchedPath, OriginalUri, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use keygate_decision::request::Reading;
use keygate_decision::{Carriers, Reason, Request as Presented};
use serde_json::{Value, json};

use super::error::Code;
use super::{App, Error};
use crate::model::Purpose;
use crate::operations::callers::{self, Identity};
use crate::permission::Caller;
use crate::store::Actor;

/// Lets a request through if its credential may pass now, and notes the caller for the handler. What a caller is refused, who is known,
/// gets into the audit record.
pub(super) async fn authenticate(State(app): State<App>, request: Request, next: Next) -> Result<Response, Error> {
    admit(&app, request, next, |_| false).await
}

/// As [`authenticate`], for whoever logs out: a login that does not pass now would again, once its account is active or logins are switched
/// on. Whoever has it may end it.
pub(super) async fn authenticate_to_log_out(State(app): State<App>, request: Request, next: Next) -> Result<Response, Error> {
    admit(&app, request, next, |withdrawn| withdrawn.purpose == Purpose::Login).await
}

/// Lets a request through if its credential may pass now, or if it may come here although it may not.
async fn admit(app: &App, mut request: Request, next: Next, also: fn(&Caller) -> bool) -> Result<Response, Error> {
    let asked = asked(&request);
    let (identity, error) = identify(app, request.headers()).await?;
    let caller = match identity {
        Identity::Passes(caller) => caller,
        Identity::Withdrawn(caller) if also(&caller) => caller,
        Identity::Withdrawn(caller) => {
            note_refused(app, caller, request.method(), &asked, told(error.status(), error.code())).await;
            return Err(error);
        }
        Identity::Unknown => return Err(error),
    };
    let (key, method) = (caller.key, request.method().clone());
    request.extensions_mut().insert(caller.clone());
    let response = next.run(request).await;
    if is_refused(&caller, &method, response.status()) {
        let code = response.extensions().get::<Code>().map_or("", |Code(code)| *code);
        note_refused(app, caller, &method, &asked, told(response.status(), code)).await;
    } else {
        app.store.note_use(key);
    }
    Ok(response)
}

/// Whether this status tells somebody who is known that they may not do it, did not know a password, or guessed too fast.
fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS)
}

/// Whether this answer refuses a caller something. What they may not see is not there for them: a change of it is refused, too.
pub(crate) fn is_refused(caller: &Caller, method: &Method, status: StatusCode) -> bool {
    is_refusal(status) || (status == StatusCode::NOT_FOUND && !method.is_safe() && !caller.standing.sees_all())
}

/// Notes that somebody who is known was refused: what kind of thing they asked for, and what they were told. Names and texts of the
/// request stay out: they may be anything.
pub(crate) async fn note_refused(app: &App, caller: Caller, method: &Method, asked: &str, told: Value) {
    let object = format!("{} {asked}", method_word(method));
    app.refusals.note(&app.store, Actor::Caller(caller), "request.refuse", object, told).await;
}

fn told(status: StatusCode, code: &'static str) -> Value {
    json!({"status": status.as_u16(), "code": code})
}

/// The route, with the numbers of things. What else stands in a path may be anything, a secret too.
fn asked(request: &Request) -> String {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let is_number = |segment: &&str| segment.len() <= 20 && segment.bytes().all(|byte| byte.is_ascii_digit());
    let path = request.extensions().get::<OriginalUri>().map_or("", |OriginalUri(uri)| uri.path());
    let segments = route.split('/').zip(path.split('/'));
    let said = segments.map(|(own, given)| if own.starts_with('{') { Some(given).filter(is_number).unwrap_or(own) } else { own });
    said.collect::<Vec<_>>().join("/")
}

/// A method for the audit record: those that a client makes up may be any text, and of any length.
fn method_word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        // Absent only on a route that does not authenticate; such a route must not have a caller.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Error::unauthorized(true))
    }
}

/// Whose credential it is, and what those are told whose may not pass.
async fn identify(app: &App, headers: &HeaderMap) -> Result<(Identity, Error), Error> {
    let headers = headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let carriers = Carriers::standard();
    let presented = Presented::read(headers, Reading::for_credentials(&carriers));
    let digest = presented.credentials.digest().map_err(|reason| match reason {
        Reason::ConflictingCredentials => Error::conflicting_credentials(),
        _ => Error::unauthorized(presented.wants_challenge),
    })?;
    let now = app.store.clock().now();
    let identity = callers::identify(&mut *app.store.read().await?, &digest, now).await?;
    Ok((identity, Error::unauthorized(presented.wants_challenge)))
}
