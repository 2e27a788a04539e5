//! The protected service: it tells what reached it. Whatever the filter strips, sets or lets through is seen here.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::loopback;

/// A server on a free port that answers every request with `{"method", "path", "headers": [[name, value], ...], "trailers": [...],
/// "body_bytes"}`, the path as it was received, and sends where a header `x-send-to` says, if there is one. It lives in a thread of its own, so that tests with runtimes of their own can share it.
pub struct Upstream {
    port: u16,
    seen: Arc<Seen>,
    _stop_on_drop: oneshot::Sender<()>,
}

/// What a protected service of some system says at a path, without the query; nothing where it tells what reached it.
pub type Answers = fn(&str) -> Option<Value>;

struct Seen {
    requests: AtomicU64,
    last: Mutex<Value>,
    answers: Answers,
}

impl Upstream {
    /// Starts it; it accepts connections when this returns.
    pub fn start() -> Result<Self> {
        Self::answering(|_| None)
    }

    /// The same, for clients that want to hear something else at some paths.
    pub fn answering(answers: Answers) -> Result<Self> {
        let listener = TcpListener::bind(loopback(0)).context("binding the upstream")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Seen { requests: AtomicU64::new(0), last: Mutex::default(), answers });
        let service = Router::new().fallback(echo).with_state(Arc::clone(&seen));
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                tokio::select! {
                    result = axum::serve(listener, service) => result,
                    // The sender says nothing: it is dropped.
                    _ = stopped => Ok(()),
                }
            })
        });
        Ok(Self { port, seen, _stop_on_drop: stop })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many requests have reached it.
    pub fn received(&self) -> u64 {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// What it answered last, also where Envoy keeps that from the client, as with an upgrade that was not taken.
    pub fn last(&self) -> Value {
        self.seen.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn echo(State(seen): State<Arc<Seen>>, method: Method, path: Uri, headers: HeaderMap, body: Body) -> Response {
    seen.requests.fetch_add(1, Ordering::Relaxed);
    let Ok(body) = body.collect().await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let trailers = body.trailers().cloned().unwrap_or_default();
    let echo = json!({
        "method": method.as_str(),
        "path": path.to_string(),
        "headers": pairs(&headers),
        "trailers": pairs(&trailers),
        "body_bytes": body.to_bytes().len(),
    });
    seen.last.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&echo);
    if let Some(answer) = (seen.answers)(path.path()) {
        return Json(answer).into_response();
    }
    match headers.get("x-send-to") {
        Some(place) => (StatusCode::FOUND, [(LOCATION, place.clone())], Json(echo)).into_response(),
        None => Json(echo).into_response(),
    }
}

fn pairs(headers: &HeaderMap) -> Vec<(&str, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect()
}
