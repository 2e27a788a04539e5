//! What the proxies' tables come to hold.

use keygate_wire::sync::ControlPlaneSays;

use super::filter::{Filter, Stored, hello};
use super::*;

#[tokio::test]
async fn a_snapshot_is_the_whole_table_and_deltas_keep_it_in_step() {
    let mut control_plane = ControlPlane::start(5_000).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    filter.follow_to(1).await;
    filter.stored.assert_holds(&control_plane.expected);
    assert!(filter.stored.taken.len() > 4 && filter.stored.taken.ends_with(&["chunk", "end"]));

    control_plane.publish(2, &[(1, None), (5_001, Some(5_001)), (2, Some(7))]);
    filter.follow_to(2).await;
    control_plane.publish(3, &[]);
    filter.follow_to(3).await;
    control_plane.publish(4, &[(1, Some(1))]);
    filter.follow_to(4).await;
    filter.stored.assert_holds(&control_plane.expected);
    assert!(filter.stored.taken.ends_with(&["end", "delta", "delta", "delta"]));
}

#[tokio::test]
async fn what_changes_during_a_snapshot_is_in_it_or_follows() {
    let mut control_plane = ControlPlane::start(20_000).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    for revision in 2..=30 {
        let (serial, says) = filter.receive_table().await.unwrap();
        let position = filter.stored.take(says);
        filter.ack(serial, position).await;
        control_plane.publish(revision, &[(revision, None), (revision + 20_000, Some(revision))]);
    }
    filter.follow_to(30).await;
    filter.stored.assert_holds(&control_plane.expected);
    assert_eq!(filter.stored.taken.iter().filter(|what| **what == "begin").count(), 1);
}

#[tokio::test]
async fn a_proxy_that_lags_gets_few_messages_and_then_one_for_all_the_rest() {
    let mut control_plane = ControlPlane::start(100).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    filter.follow_to(1).await;
    filter.stored.taken.clear();
    for revision in 2..=3 {
        control_plane.publish(revision, &[(revision, None)]);
        filter.take_without_answer(1).await;
    }
    for revision in 4..=50 {
        control_plane.publish(revision, &[(revision, None)]);
    }
    filter.is_told_nothing().await;
    filter.answer().await;
    filter.follow_to(50).await;
    filter.stored.assert_holds(&control_plane.expected);
    assert_eq!(filter.stored.taken.len(), 3, "{:?}", filter.stored.taken);
}

#[tokio::test]
async fn a_long_delta_comes_in_parts_within_the_window() {
    let mut control_plane = ControlPlane::start(20_000).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    filter.follow_to(1).await;
    filter.stored.taken.clear();
    let changes: Vec<_> = (0..15_000).map(|n| (n, (n % 2 == 0).then_some(n + 1))).collect();
    control_plane.publish(2, &changes);
    filter.take_without_answer(2).await;
    filter.is_told_nothing().await;
    for (_, position) in &filter.unanswered {
        assert_eq!(position.unwrap().revision, 1, "a table in the middle of a delta is at its beginning");
    }
    filter.answer().await;
    filter.follow_to(2).await;
    filter.stored.assert_holds(&control_plane.expected);
    assert_eq!(filter.stored.taken.last(), Some(&"delta"));
    assert!(filter.stored.taken.iter().rev().skip(1).all(|what| *what == "part"));
}

#[tokio::test]
async fn a_proxy_far_away_does_not_wait_for_each_answer() {
    const ROUND_TRIP: Duration = Duration::from_millis(400);
    // A heartbeat that is answered at once would belie the distance.
    let pace = Pace { heartbeat: Duration::from_secs(60), ..Pace::default() };
    let control_plane = ControlPlane::with_keys(60_000, pace).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    let (serial, says) = filter.receive().await.unwrap();
    assert!(matches!(says, ControlPlaneSays::Heartbeat(_)));
    tokio::time::sleep(ROUND_TRIP).await;
    filter.ack(serial, None).await;
    // Each answer that comes as soon as the line allows makes room for one more than there were.
    let mut rounds = Vec::new();
    while rounds.last().is_none_or(|messages| *messages < 20) {
        assert!(rounds.len() < 12, "{rounds:?} messages at a time");
        rounds.push(filter.take_all_for(ROUND_TRIP).await);
        filter.answer().await;
    }
    assert_eq!(rounds[0], 2, "{rounds:?}");
    filter.follow_to(1).await;
    filter.stored.assert_holds(&control_plane.expected);
}

#[tokio::test]
async fn a_table_that_has_grown_out_of_its_buckets_is_sent_anew() {
    let mut control_plane = ControlPlane::start(10).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    filter.follow_to(1).await;
    assert_eq!(filter.stored.bits.unwrap().count(), 64);
    let changes: Vec<_> = (0..8_000).map(|n| (n, Some(n))).collect();
    control_plane.publish(2, &changes);
    filter.follow_to(2).await;
    assert_eq!(filter.stored.bits.unwrap().count(), 512);
    filter.stored.assert_holds(&control_plane.expected);
}

#[tokio::test]
async fn a_proxy_resumes_across_starts_of_the_control_plane() {
    let mut former = ControlPlane::start(1_000).await;
    let mut filter = Filter::connect(former.address, hello("edge-1", 1), Stored::default()).await;
    filter.follow_to(1).await;
    former.publish(2, &[(1, None)]);
    filter.follow_to(2).await;
    former.publish(3, &[(2, None)]);

    let next = |epoch: u8, ended_at, changes| {
        let epochs = vec![PastEpoch { epoch: EPOCH, ended_at }];
        let history = History { revision: ended_at, epochs, changes, proxies: Vec::new() };
        ControlPlane::with([epoch; 16], history, former.expected.clone(), Pace::default())
    };
    // It went on to revision 3 without the proxy: a delta brings it there.
    let control_plane = next(2, 3, vec![(2, digest(1)), (3, digest(2))]).await;
    filter.stored.taken.clear();
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), filter.stored).await;
    filter.follow_to(3).await;
    assert_eq!(filter.stored.taken, ["delta"]);
    filter.stored.assert_holds(&control_plane.expected);
    assert_eq!(control_plane.publisher.acknowledged(3, Duration::from_secs(5)).await.acknowledged, ["edge-1"]);

    // Nothing changed at all: an empty delta moves it into the new epoch.
    let history = History {
        revision: 3,
        epochs: vec![PastEpoch { epoch: EPOCH, ended_at: 3 }, PastEpoch { epoch: [2; 16], ended_at: 3 }],
        changes: Vec::new(),
        proxies: Vec::new(),
    };
    let control_plane = ControlPlane::with([3; 16], history, former.expected.clone(), Pace::default()).await;
    filter.stored.taken.clear();
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), filter.stored).await;
    let (serial, says) = filter.receive_table().await.unwrap();
    let position = filter.stored.take(says);
    assert_eq!(position, Some(Position { epoch: [3; 16], revision: 3 }));
    assert_eq!(control_plane.publisher.acknowledged(3, Duration::ZERO).await.missing, ["edge-1"]);
    filter.ack(serial, position).await;
    assert_eq!(control_plane.publisher.acknowledged(3, Duration::from_secs(5)).await.acknowledged, ["edge-1"]);
    assert_eq!(filter.stored.taken, ["delta"]);
}

#[tokio::test]
async fn after_a_restored_backup_every_proxy_that_was_ahead_gets_a_snapshot() {
    let mut former = ControlPlane::start(1_000).await;
    let backup = former.expected.clone();
    let mut filter = Filter::connect(former.address, hello("edge-1", 1), Stored::default()).await;
    former.publish(2, &[(1, None), (9_999, Some(1))]);
    filter.follow_to(2).await;

    let history =
        History { revision: 1, epochs: vec![PastEpoch { epoch: EPOCH, ended_at: 1 }], changes: Vec::new(), proxies: Vec::new() };
    let control_plane = ControlPlane::with([2; 16], history, backup, Pace::default()).await;
    filter.stored.taken.clear();
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), filter.stored).await;
    let (serial, says) = filter.receive_table().await.unwrap();
    let position = filter.stored.take(says);
    filter.ack(serial, position).await;
    filter.follow_to(1).await;
    filter.stored.assert_holds(&control_plane.expected);
    assert_eq!(filter.stored.position, Some(Position { epoch: [2; 16], revision: 1 }));
    assert_eq!(filter.stored.taken.first(), Some(&"begin"));
}

#[tokio::test]
async fn a_proxy_that_was_away_for_longer_than_the_history_reaches_gets_a_snapshot() {
    let mut former = ControlPlane::start(1_000).await;
    let mut filter = Filter::connect(former.address, hello("edge-1", 1), Stored::default()).await;
    filter.follow_to(1).await;
    for revision in 2..=4 {
        former.publish(revision, &[(revision, None)]);
    }
    // Trimmed up to revision 2, which it lacks.
    let epochs = vec![PastEpoch { epoch: EPOCH, ended_at: 4 }];
    let history = History { revision: 4, epochs, changes: vec![(3, digest(3)), (4, digest(4))], proxies: Vec::new() };
    let control_plane = ControlPlane::with([2; 16], history, former.expected.clone(), Pace::default()).await;
    filter.stored.taken.clear();
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), filter.stored).await;
    filter.follow_to(4).await;
    assert_eq!(filter.stored.taken.first(), Some(&"begin"));
    filter.stored.assert_holds(&control_plane.expected);
    let traffic = control_plane.publisher.traffic();
    assert_eq!((traffic.snapshots.get(), traffic.deltas.get(), traffic.streams_opened.get()), (1, 0, 1));
}

#[tokio::test]
async fn snapshots_wait_for_their_turn() {
    let pace = Pace { concurrent_snapshots: 1, message: NEXT_DOOR, ..Pace::default() };
    let control_plane = ControlPlane::with_keys(20_000, pace).await;
    let mut first = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    first.take_without_answer(2).await;
    first.is_told_nothing().await;
    let mut second = Filter::connect(control_plane.address, hello("edge-2", 2), Stored::default()).await;
    second.is_told_nothing().await;
    drop(first);
    second.follow_to(1).await;
    second.stored.assert_holds(&control_plane.expected);
}
