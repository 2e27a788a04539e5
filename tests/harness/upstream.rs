//! The protected service: it tells what reached it. Whatever the filter strips, sets or lets through is seen here.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::loopback;

/// A server on a free port that answers every request with `{"method", "path", "headers": [[name, value], ...], "body_bytes"}`,
/// the path as it was received. It lives in a thread of its own, so that tests with runtimes of their own can share it.
pub struct Upstream {
    port: u16,
    received: Arc<AtomicU64>,
    _stop_on_drop: oneshot::Sender<()>,
}

impl Upstream {
    /// Starts it; it accepts connections when this returns.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(loopback(0)).context("binding the upstream")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let received = Arc::new(AtomicU64::new(0));
        let service = Router::new().fallback(echo).with_state(Arc::clone(&received));
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
        Ok(Self { port, received, _stop_on_drop: stop })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many requests have reached it.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

async fn echo(State(received): State<Arc<AtomicU64>>, method: Method, path: Uri, headers: HeaderMap, body: Bytes) -> Json<Value> {
    received.fetch_add(1, Ordering::Relaxed);
    let headers: Vec<(&str, String)> = headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.as_str(), value.into_owned())
        })
        .collect();
    Json(json!({
        "method": method.as_str(),
        "path": path.to_string(),
        "headers": headers,
        "body_bytes": body.len(),
    }))
}
