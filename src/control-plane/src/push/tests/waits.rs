//! For whom one waits who asks whether a revision has arrived, and when the wait ends.

use std::time::Instant;

use super::filter::{Filter, Stored, hello};
use super::*;

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_wait_returns_at_once_when_all_have_acknowledged_and_else_names_those_missing() {
    let known = ["gone", "edge-2"].map(|name| KnownProxy { name: name.to_owned(), staleness_limit_seconds: 3600 });
    let history = History { proxies: known.to_vec(), ..no_history(1) };
    let pace = Pace { comes_back: Duration::ZERO, ..Pace::default() };
    let mut control_plane = ControlPlane::with(EPOCH, history, BTreeMap::new(), pace).await;
    let mut edges = Vec::new();
    for (name, instance) in [("edge-1", 1), ("edge-2", 2)] {
        let mut filter = Filter::connect(control_plane.address, hello(name, instance), Stored::default()).await;
        filter.follow_to(1).await;
        edges.push(tokio::spawn(async move { filter.follow_to_the_end().await }));
    }
    // edge-2 was known, with this limit.
    assert_eq!(control_plane.registered.load(Ordering::SeqCst), 1);
    control_plane.publish(2, &[(1, Some(1))]);
    let found = control_plane.publisher.acknowledged(2, Duration::from_millis(300)).await;
    assert_eq!(found, super::found(&["edge-1", "edge-2"], &[], &["gone"]));

    // A wait that is under way ends when the last one that is missing is forgotten.
    control_plane.publish(3, &[(1, None)]);
    let publisher = control_plane.publisher.clone();
    let started = Instant::now();
    let wait = tokio::spawn(async move { publisher.acknowledged(3, SOON).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(control_plane.publisher.unregister("edge-1"), Forgotten::Connected);
    assert_eq!(control_plane.publisher.unregister("gone"), Forgotten::Done);
    assert_eq!(control_plane.publisher.forget("gone"), Forgotten::Done);
    assert_eq!(control_plane.publisher.forget("gone"), Forgotten::Unknown);
    assert_eq!(wait.await.unwrap(), super::found(&["edge-1", "edge-2"], &[], &[]));
    assert!(started.elapsed() < SOON);

    let statuses = control_plane.publisher.proxies();
    assert_eq!(statuses.iter().map(|status| status.name.as_str()).collect::<Vec<_>>(), ["edge-1", "edge-2"]);
    for status in statuses {
        assert!(status.connected && !status.closed && status.last_heard.is_some() && status.last_refusal.is_none());
        assert_eq!((status.acknowledged, status.position), (Some(3), Some(Position { epoch: EPOCH, revision: 3 })));
        assert_eq!(status.staleness_limit_seconds, 3600);
    }
}

#[tokio::test]
async fn a_wait_that_is_under_way_ends_when_a_former_process_is_forgotten() {
    let control_plane = ControlPlane::with(EPOCH, no_history(1), BTreeMap::new(), quick()).await;
    let mut parent = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    let mut child = Filter::connect(control_plane.address, hello("edge-1", 2), Stored::default()).await;
    child.follow_to(1).await;
    tokio::spawn(async move { child.follow_to_the_end().await });
    let publisher = control_plane.publisher.clone();
    let wait = tokio::spawn(async move { publisher.acknowledged(1, SOON).await });
    drop(parent.receive().await.unwrap());
    assert!(!wait.is_finished());
    let gone = Instant::now();
    drop(parent);
    assert_eq!(wait.await.unwrap(), super::found(&["edge-1"], &[], &[]));
    assert!(gone.elapsed() >= quick().comes_back, "forgotten before it could be back");
}

#[tokio::test]
async fn a_wait_ends_with_the_last_of_many_in_whatever_order_they_get_there() {
    for order in [["a", "b", "c"], ["b", "c", "a"], ["c", "b", "a"]] {
        let control_plane = ControlPlane::start(10).await;
        let mut filters = Vec::new();
        for name in order {
            filters.push(Filter::connect(control_plane.address, hello(name, 1), Stored::default()).await);
        }
        let publisher = control_plane.publisher.clone();
        let wait = tokio::spawn(async move { publisher.acknowledged(1, SOON).await });
        let has_acknowledged = |name: &str| {
            control_plane.publisher.proxies().iter().any(|proxy| proxy.name == name && proxy.acknowledged == Some(1))
        };
        for (filter, name) in filters.iter_mut().zip(order) {
            tokio::task::yield_now().await;
            assert!(!wait.is_finished(), "{name} of {order:?} has not");
            filter.follow_to(1).await;
            while !has_acknowledged(name) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        assert_eq!(wait.await.unwrap(), super::found(&["a", "b", "c"], &[], &[]));
    }
}

#[tokio::test]
async fn what_was_published_arrives_at_those_who_follow_and_nobody_waits_for_others() {
    let mut control_plane = ControlPlane::start(0).await;
    let arrives_within = async |publisher: &Publisher, timeout: Duration| {
        let started = Instant::now();
        publisher.arrived(timeout).await;
        started.elapsed() < timeout
    };
    assert!(arrives_within(&control_plane.publisher, SOON).await, "nobody is there");

    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    assert!(arrives_within(&control_plane.publisher, SOON).await, "edge-1 has no table yet");
    filter.follow_to(1).await;
    assert_eq!(control_plane.publisher.acknowledged(1, SOON).await.acknowledged, ["edge-1"]);
    control_plane.publish(2, &[(1, Some(1))]);
    assert!(!arrives_within(&control_plane.publisher, Duration::from_millis(50)).await, "edge-1 says nothing");
    let publisher = control_plane.publisher.clone();
    let wait = tokio::spawn(async move { arrives_within(&publisher, SOON).await });
    filter.follow_to(2).await;
    assert!(wait.await.unwrap(), "edge-1 has it");
    control_plane.publish(3, &[(1, None)]);
    drop(filter);
    assert!(arrives_within(&control_plane.publisher, SOON).await, "edge-1 has gone");
}
