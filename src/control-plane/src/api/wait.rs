//! `?wait=SECONDS` on a change: the answer is held back until every proxy has it in force, and says which of them do. Whoever takes
//! away the key that they use needs this: they could not ask afterwards.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::input::{Fields, Parameters, text};
use super::{App, Error, reply};
use crate::operations::proxies;
use crate::permission::Caller;

/// Runs a request that has no parameters of its own: a change may say `wait`, all else is refused.
pub(super) async fn answer_when_acknowledged(
    State(app): State<App>,
    caller: Caller,
    parameters: Parameters,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let changes = !request.method().is_safe();
    let wait = parameters.read(|fields| if changes { seconds(fields) } else { Ok(None) })?;
    let Some(wait) = wait else { return Ok(next.run(request).await) };
    proxies::may_await(&caller)?;
    let response = next.run(request).await;
    match reply::revision(&response) {
        Some(revision) => reply::acknowledged(response, &app.publisher.acknowledged(revision, wait).await),
        None => Ok(response),
    }
}

/// Runs a request of clients that cannot say `wait`: the answer to a change is held back for a moment, until proxies that follow have it
/// in force, because such clients use what they made at once.
pub(super) async fn answer_when_arrived(State(app): State<App>, request: Request, next: Next) -> Response {
    /// A proxy that follows needs milliseconds; whoever is slower must not hold up everybody.
    const LONGEST: Duration = Duration::from_secs(1);
    let changes = !request.method().is_safe();
    let response = next.run(request).await;
    if changes && response.status().is_success() {
        app.publisher.arrived(LONGEST).await;
    }
    response
}

/// For how long to wait, if it says so.
pub(super) fn seconds(fields: &mut Fields) -> Result<Option<Duration>, Error> {
    fields.optional("wait", text(parse_wait))
}

fn parse_wait(text: &str) -> Result<Duration, &'static str> {
    const LONGEST_SECONDS: u64 = 300;
    let seconds = text.parse().ok().filter(|seconds| *seconds <= LONGEST_SECONDS);
    seconds.map(Duration::from_secs).ok_or("must be a whole number of seconds from 0 to 300")
}
