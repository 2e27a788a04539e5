//! Who comes to the port and proves nothing.

use std::time::Instant;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::filter::{Filter, Stored, hello};
use super::*;
use crate::push::guest::MAX_GUESTS;
use crate::push::service::MAX_STREAMS;

/// Long enough for anything that happens at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// A control plane that gives strangers so long, and a proxy that has proved who it is.
async fn start(proof: Duration) -> (ControlPlane, tokio::task::JoinHandle<tonic::Status>) {
    let control_plane = ControlPlane::with(EPOCH, no_history(1), BTreeMap::new(), Pace { proof, ..Pace::default() }).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    filter.follow_to(1).await;
    (control_plane, tokio::spawn(async move { filter.follow_to_the_end().await }))
}

/// Reads until the connection is reset or closed, whatever was said before.
async fn ended(stranger: &mut TcpStream) {
    let mut sent = Vec::new();
    let _ = timeout(PATIENCE, stranger.read_to_end(&mut sent)).await.expect("it may stay");
}

#[tokio::test]
async fn a_crowd_of_strangers_ends_the_first_of_them_and_no_proxy() {
    // Time ends nobody here.
    let (control_plane, filter) = start(Duration::from_secs(3600)).await;
    let mut first = TcpStream::connect(control_plane.address).await.unwrap();
    let mut crowd = Vec::new();
    for _ in 0..MAX_GUESTS {
        crowd.push(TcpStream::connect(control_plane.address).await.unwrap());
    }
    ended(&mut first).await;
    let last = crowd.last_mut().unwrap();
    let mut sent = Vec::new();
    assert!(timeout(Duration::from_millis(100), last.read_to_end(&mut sent)).await.is_err(), "there is room for the last");
    assert!(!filter.is_finished(), "a proxy was sent away, too");
}

#[tokio::test]
async fn time_ends_strangers_and_no_proxy() {
    // Longer than a busy machine lets the proxy wait for its turn.
    let proof = Duration::from_secs(2);
    let (control_plane, filter) = start(proof).await;
    let came = Instant::now();
    let mut strangers = Vec::new();
    for _ in 0..3 {
        strangers.push(TcpStream::connect(control_plane.address).await.unwrap());
    }
    for mut stranger in strangers {
        ended(&mut stranger).await;
    }
    assert!(came.elapsed() >= proof, "time was not given");
    assert!(!filter.is_finished(), "a proxy was sent away, too");
}

#[tokio::test]
async fn a_connection_has_so_many_streams_and_the_next_waits_for_the_end_of_one() {
    let control_plane = ControlPlane::start(0).await;
    let channel = Filter::channel(control_plane.address).await;
    let mut streams = Vec::new();
    for _ in 0..MAX_STREAMS {
        streams.push(Filter::open_on(channel.clone(), Stored::default()).await);
    }
    let mut next = std::pin::pin!(Filter::open_on(channel, Stored::default()));
    assert!(timeout(Duration::from_millis(100), &mut next).await.is_err(), "there is one too many");
    drop(streams.pop());
    timeout(PATIENCE, next).await.expect("there is room for another");
}
