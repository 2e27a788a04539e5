//! The connections of the API: how many there may be, how long a request may take to arrive, and how they end. It knows no route.
//!
//! A request is received whole before anything is done with it: nobody is identified, and nothing waits, while a body trickles in.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::source::Peer;
use super::{Error, takeover};
use crate::tls::Incoming;

/// Far fewer than a process may usually open files: proxies need theirs, and so does storage. Others wait until it is their turn.
const MAX_CONNECTIONS: usize = 256;
/// So long may the head of a request take, from the connection or the last answer on.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// So long may its body take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest body, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// Longest body of what takes over another system's accounts: some 20,000 tokens. One such request is received at a time, for whoever
/// sends it is known only afterwards.
const MAX_TAKEOVER: usize = 4 * 1024 * 1024;
/// So long a request that was received whole may take when the server stops.
const GRACE: Duration = Duration::from_secs(10);
/// So long an answer may take on its way out, and a request on its way in, when the server stops.
const LINGER: Duration = Duration::from_millis(500);

/// Serves these routes until `shutdown`; then answers the requests that it has and drops what has not arrived.
pub(crate) async fn serve(mut incoming: Incoming, routes: Router, shutdown: impl Future<Output = ()>) {
    let in_hand = watch::Sender::new(());
    let intake = Intake { in_hand: in_hand.clone(), takeover: Arc::new(Semaphore::new(1)) };
    let router = routes.layer(middleware::from_fn_with_state(intake, receive)).layer(DefaultBodyLimit::max(MAX_BODY));
    // HTTP/1 alone: before a connection's protocol is known there would be no limit on how long it says nothing.
    let mut server = Builder::new(TokioExecutor::new()).http1_only();
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            // Reaps those that have ended, whichever way.
            Some(_) = connections.join_next() => {}
            connection = incoming.accept(), if connections.len() < MAX_CONNECTIONS => {
                let routes = match connection.peer() {
                    Some(peer) => router.clone().layer(Extension(Peer(peer.ip()))),
                    // It has gone already.
                    None => continue,
                };
                let connection = server.serve_connection(TokioIo::new(connection), TowerToHyperService::new(routes)).into_owned();
                let connection = graceful.watch(connection);
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!("a connection of the API ended: {error}");
                    }
                });
            }
        }
    }
    drop(incoming);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = answered(&in_hand) => tracing::info!("connections without a whole request are dropped"),
        () = sleep(GRACE) => tracing::warn!("some requests were not answered in time and are dropped"),
    }
}

/// What requests share while they are received.
#[derive(Clone)]
struct Intake {
    in_hand: watch::Sender<()>,
    takeover: Arc<Semaphore>,
}

/// Each request that was received whole holds a receiver of `in_hand` until there is an answer.
async fn receive(State(intake): State<Intake>, mut request: Request, next: Next) -> Result<Response, Error> {
    let is_takeover = request.uri().path() == takeover::PATH;
    let (limit, _admitted) = if is_takeover {
        DefaultBodyLimit::max(MAX_TAKEOVER).apply(&mut request);
        (MAX_TAKEOVER, Some(intake.takeover.try_acquire_owned().map_err(|_| Error::one_takeover_at_a_time())?))
    } else {
        (MAX_BODY, None)
    };
    let (head, body) = request.into_parts();
    let body = Bytes::from_request(Request::from_parts(head.clone(), body), &());
    let body = timeout(BODY_TIMEOUT, body).await.map_err(|_| Error::body_too_slow(BODY_TIMEOUT))?;
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Error::body_too_large(limit),
        _ => Error::unreadable_body(),
    })?;
    let _in_hand = intake.in_hand.subscribe();
    Ok(next.run(Request::from_parts(head, body.into())).await)
}

async fn answered(in_hand: &watch::Sender<()>) {
    loop {
        in_hand.closed().await;
        sleep(LINGER).await;
        if in_hand.is_closed() {
            return;
        }
    }
}
