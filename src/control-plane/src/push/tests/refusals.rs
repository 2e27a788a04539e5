//! What a filter gets that refuses what it is told, and that others do not suffer from it.

use std::time::Instant;

use super::filter::{self, Filter, Stored, hello};
use super::*;

#[tokio::test]
async fn a_refused_message_is_answered_with_a_snapshot_later_each_time() {
    let mut control_plane = ControlPlane::with(EPOCH, no_history(1), BTreeMap::new(), quick()).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    filter.follow_to(1).await;
    control_plane.publish(2, &[(1, Some(1))]);
    let mut waits = Vec::new();
    for _ in 0..3 {
        let (serial, _) = filter.receive_table().await.unwrap();
        let refused = Instant::now();
        filter.nack(serial, "no room").await;
        // Something may have been sent before the refusal was heard.
        let (serial, _) = filter.refuse_until_snapshot("out of order").await;
        waits.push(refused.elapsed());
        filter.nack(serial, "no room").await;
    }
    assert!(waits[0] >= Duration::from_millis(100) && waits[2] > waits[0], "{waits:?}");
    assert!(control_plane.publisher.proxies()[0].last_refusal.is_some());
    let (serial, says) = filter.refuse_until_snapshot("out of order").await;
    filter.ack(serial, filter.stored.position).await;
    filter.stored.take(says);
    filter.follow_to(2).await;
    filter.stored.assert_holds(&control_plane.expected);
}

#[tokio::test]
async fn what_a_refusal_was_sent_before_proves_nothing() {
    let mut control_plane = ControlPlane::start(20_000).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    filter.follow_to(1).await;
    let changes: Vec<_> = (0..120).map(|n| (n, None)).collect();
    control_plane.publish(2, &changes);
    let (refused, _) = filter.receive_table().await.unwrap();
    let (last, says) = filter.receive_table().await.unwrap();
    assert!(matches!(&says, keygate_wire::sync::ControlPlaneSays::Delta(delta) if !delta.more), "two parts");
    filter.nack(refused, "a digest has not 32 bytes").await;
    // It says that it is there, and lacks the first part.
    filter.ack(last, Some(Position { epoch: EPOCH, revision: 2 })).await;
    let (serial, says) = filter.refuse_until_snapshot("out of order").await;
    assert_eq!(control_plane.publisher.proxies()[0].acknowledged, Some(1));
    filter.stored.take(says);
    filter.ack(serial, None).await;
    filter.follow_to(2).await;
    filter.stored.assert_holds(&control_plane.expected);
}

#[tokio::test]
async fn a_quarantined_snapshot_is_offered_again_later_and_its_reason_is_not_hidden_by_what_follows() {
    let mut control_plane =
        ControlPlane::with(EPOCH, no_history(1), (0..5_000).map(|n| (digest(n), grant(n))).collect(), quick()).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    let began = Instant::now();
    for _ in 0..4 {
        let (serial, _) = filter.refuse_until_snapshot("a chunk without a snapshot").await;
        filter.quarantine(serial, "2 workers died").await;
    }
    assert!(began.elapsed() >= quick().after_refusals.iter().take(3).sum(), "it spins");
    let status = control_plane.publisher.proxies().remove(0);
    assert_eq!((status.connected, status.last_refusal.as_deref()), (true, Some("2 workers died")));
    // Another revision is offered like any, and heals it.
    control_plane.publish(2, &[(1, None)]);
    let (serial, says) = filter.refuse_until_snapshot("a chunk without a snapshot").await;
    filter.stored.take(says);
    filter.ack(serial, None).await;
    filter.follow_to(2).await;
    filter.stored.assert_holds(&control_plane.expected);
}

#[tokio::test]
async fn a_filter_that_refuses_the_time_is_told_nothing_else() {
    let mut control_plane = ControlPlane::with(EPOCH, no_history(1), BTreeMap::new(), quick()).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    filter.follow_to(1).await;
    // The control plane beats again only once it has heard the first refusal.
    for _ in 0..2 {
        assert_eq!(filter.refuse_a_heartbeat().await, []);
    }
    control_plane.publish(2, &[(1, Some(1))]);
    for _ in 0..3 {
        assert_eq!(filter.refuse_a_heartbeat().await, []);
    }
    let refusal = control_plane.publisher.proxies()[0].last_refusal.clone();
    assert_eq!(refusal.as_deref(), Some(filter::CLOCK_OFF));
    filter.follow_to(2).await;
    filter.stored.assert_holds(&control_plane.expected);
}

#[tokio::test]
async fn a_filter_that_refuses_the_time_holds_nobody_up() {
    let table = (0..5_000).map(|n| (digest(n), grant(n))).collect();
    let pace = Pace { concurrent_snapshots: 1, ..quick() };
    let control_plane = ControlPlane::with(EPOCH, no_history(1), table, pace).await;
    let mut filters = Vec::new();
    for (name, instance) in [("edge-1", 1), ("edge-2", 2)] {
        let mut filter = Filter::connect(control_plane.address, hello(name, instance), Stored::default()).await;
        if name == "edge-1" {
            // Its clock is right for as long as it takes to begin a snapshot, and then off.
            let (begin, _) = filter.receive_table().await.unwrap();
            filter.ack(begin, None).await;
        }
        filters.push(tokio::spawn(async move {
            loop {
                drop(filter.refuse_a_heartbeat().await);
            }
        }));
    }
    let mut other = Filter::connect(control_plane.address, hello("edge-3", 3), Stored::default()).await;
    other.follow_to(1).await;
    other.stored.assert_holds(&control_plane.expected);
    assert!(filters.iter().all(|filter| !filter.is_finished()));
}
