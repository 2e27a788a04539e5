//! The filter's own answers. What they say is decided by [`Reason`]; this adds the headers that belong to them.

use keygate_decision::Reason;
use proxy_wasm::types::Action;

use crate::host::{self, Level};

const RETRY_AFTER_SECONDS: &str = "5";

/// Answers a request. Envoy leaves the body out for HEAD and turns the status into gRPC's for a gRPC request.
pub(crate) fn deny(reason: Reason, challenge: Option<&'static str>) -> Action {
    let mut headers = vec![("content-type", "application/json")];
    match (reason.status(), challenge) {
        (401, Some(challenge)) => headers.push(("www-authenticate", challenge)),
        (503, _) => headers.push(("retry-after", RETRY_AFTER_SECONDS)),
        _ => {}
    }
    answer(reason.status(), reason.code(), reason.body(), &headers)
}

/// Says whether requests with credentials can be judged.
pub(crate) fn readiness(ready: Result<(), Reason>) -> Action {
    let (status, code, body) = match ready {
        Ok(()) => (200, "ready", r#"{"status":"ready"}"#),
        Err(Reason::StaleTable) => (503, Reason::StaleTable.code(), r#"{"status":"stale table"}"#),
        Err(_) => (503, Reason::NoTable.code(), r#"{"status":"no table"}"#),
    };
    answer(status, code, body, &[("content-type", "application/json"), ("cache-control", "no-store")])
}

fn answer(status: u16, code: &str, body: &str, headers: &[(&str, &str)]) -> Action {
    if let Err(error) = host::send_local_response(status, &format!("keygate_{code}"), body, headers) {
        // The request stays paused: it fails by Envoy's own time-outs, and never passes.
        host::log(Level::Error, &format!("keygate: an answer could not be sent (host status {})", error.0));
    }
    Action::Pause
}
