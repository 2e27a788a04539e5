//! Who comes to the port and proves nothing.

use std::time::Instant;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::filter::{Filter, Stored, hello};
use super::*;
use crate::push::guest::MAX_GUESTS;

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn strangers_who_stay_do_not_keep_proxies_out() {
    // Longer than it takes a busy machine to make a crowd.
    let proof = Duration::from_secs(3);
    let control_plane = ControlPlane::with(EPOCH, no_history(1), BTreeMap::new(), Pace { proof, ..quick() }).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    filter.follow_to(1).await;
    let filter = tokio::spawn(async move { filter.follow_to_the_end().await });
    let stranger = async || TcpStream::connect(control_plane.address).await.unwrap();
    let ended = async |stranger: &mut TcpStream| {
        let mut sent = Vec::new();
        // Reset or closed, whatever was said before.
        let _ = timeout(SOON, stranger.read_to_end(&mut sent)).await.expect("it may stay");
    };

    let came = Instant::now();
    let mut first = stranger().await;
    let mut crowd = Vec::new();
    for _ in 0..MAX_GUESTS {
        crowd.push(stranger().await);
    }
    ended(&mut first).await;
    assert!(came.elapsed() < proof, "only time ended the first of many");
    for mut other in crowd {
        ended(&mut other).await;
    }
    assert!(came.elapsed() >= proof, "time was not given");
    assert!(!filter.is_finished(), "a proxy was sent away, too");
}
