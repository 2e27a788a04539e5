//! The connections of the API: how many there may be, how long a request may take to arrive, and how they end. It knows no route.
//!
//! A request is received whole before anything is done with it: nobody is identified, and nothing waits, while a body trickles in.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
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
use tokio_stream::StreamExt as _;

use super::source::Peer;
use super::{Error, shape, takeover};
use crate::tls::Incoming;

/// Far fewer than a process may usually open files: proxies need theirs, and so does storage. Others wait until it is their turn.
const MAX_CONNECTIONS: usize = 256;
/// So long may the head of a request take, from the connection or the last answer on.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// So long may its body take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest body, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// So much of a longer one is read and ignored before it is refused, in bytes.
const MAX_IGNORED: usize = 16 * 1024 * 1024;
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
    // No limit of the framework's own: a body is bounded where it is received.
    let router = routes.layer(middleware::from_fn_with_state(intake, receive)).layer(DefaultBodyLimit::disable());
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
                    Some(peer) => {
                        router.clone().layer(Extension(Peer { address: peer.ip(), by_tls: connection.is_tls() }))
                    }
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
async fn receive(State(intake): State<Intake>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let (limit, _admitted) = if path == takeover::PATH {
        let Ok(admitted) = intake.takeover.try_acquire_owned() else {
            return shape::told(path, Error::one_takeover_at_a_time());
        };
        (MAX_TAKEOVER, Some(admitted))
    } else {
        (MAX_BODY, None)
    };
    let received = timeout(BODY_TIMEOUT, whole(body, limit)).await;
    let body = match received.unwrap_or_else(|_| Err(Error::body_too_slow(BODY_TIMEOUT))) {
        Ok(body) => body,
        Err(error) => return shape::told(path, error),
    };
    let _in_hand = intake.in_hand.subscribe();
    next.run(Request::from_parts(head, body.into())).await
}

/// Reads a body to its end, or until it is so long that nobody means it: who still sends does not read why they are refused.
async fn whole(body: Body, limit: usize) -> Result<Bytes, Error> {
    let (mut data, mut kept, mut length) = (body.into_data_stream(), Vec::new(), 0_usize);
    while let Some(piece) = data.next().await {
        let piece = piece.map_err(|_| Error::unreadable_body())?;
        length = length.saturating_add(piece.len());
        if length > MAX_IGNORED {
            break;
        }
        if length <= limit {
            kept.extend_from_slice(&piece);
        }
    }
    if length > limit { Err(Error::body_too_large(limit)) } else { Ok(kept.into()) }
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
