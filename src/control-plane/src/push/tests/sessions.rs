//! Who may have a stream, when it ends, and what is known of a proxy.

use std::time::Instant;

use keygate_wire::sync::{self, ControlPlaneSays, FilterSays};
use tonic::Code;

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
async fn stopping_ends_all_streams_at_once_and_says_so() {
    let mut control_plane = ControlPlane::start(10).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    filter.follow_to(1).await;
    control_plane.stop.take().unwrap().send(()).unwrap();
    let end = filter.follow_to_the_end().await;
    assert_eq!((end.code(), end.message()), (Code::Unavailable, "the control plane is stopping"));
    drop(filter);
    let stopped = tokio::time::timeout(SOON, control_plane.server).await;
    stopped.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_filter_that_does_not_answer_is_ended() {
    let control_plane = ControlPlane::with(EPOCH, no_history(1), BTreeMap::new(), quick()).await;
    let mut silent = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    assert!(matches!(silent.receive().await, Ok((1, ControlPlaneSays::Heartbeat(_)))));
    assert_eq!(silent.receive().await.unwrap_err().code(), Code::DeadlineExceeded);

    // One that answers stays, long after that.
    let mut lively = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    let wait = tokio::time::timeout(Duration::from_millis(1_500), lively.follow_to_the_end());
    assert!(wait.await.is_err());

    let mut wordless = Filter::open(control_plane.address, Stored::default()).await;
    assert_eq!(wordless.receive().await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_stream_has_one_hello_and_answers_only_what_was_said() {
    let control_plane = ControlPlane::start(10).await;
    let mut rude = Filter::open(control_plane.address, Stored::default()).await;
    rude.ack(1, None).await;
    assert_eq!(rude.receive().await.unwrap_err().code(), Code::InvalidArgument);

    let mut twice = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    twice.say(FilterSays::Hello(hello("edge-1", 1))).await;
    assert_eq!(twice.follow_to_the_end().await.code(), Code::InvalidArgument);

    let mut eager = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    eager.ack(1_000, None).await;
    assert_eq!(eager.follow_to_the_end().await.code(), Code::InvalidArgument);

    let mut other = hello("edge-1", 1);
    other.format += 1;
    let mut other = Filter::connect(control_plane.address, other, Stored::default()).await;
    assert_eq!(other.receive().await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_revision_that_does_not_exist_cannot_be_acknowledged() {
    let mut control_plane = ControlPlane::start(10).await;
    for revision in [2, 1000] {
        let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
        filter.follow_to(1).await;
        let (serial, _) = filter.receive().await.unwrap();
        filter.ack(serial, Some(Position { epoch: EPOCH, revision })).await;
        let end = tokio::time::timeout(SOON, filter.follow_to_the_end()).await.expect("it is believed");
        assert_eq!(end.code(), Code::InvalidArgument);
    }
    control_plane.publish(2, &[(1, None)]);
    let acknowledged = control_plane.publisher.acknowledged(2, Duration::from_millis(50)).await;
    assert_eq!(acknowledged, found(&[], &[], &["edge-1"]));
}

#[tokio::test]
async fn heartbeats_that_are_answered_do_not_hide_that_the_table_is_not_taken() {
    let control_plane = ControlPlane::start(10).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    filter.receive_table().await.unwrap();
    // It keeps a place for snapshots from others. The next heartbeat is answered, the table is not.
    let end = tokio::time::timeout(SOON, async {
        loop {
            if let Err(end) = filter.receive_table().await {
                return end;
            }
        }
    });
    assert_eq!(end.await.expect("it is waited for").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_higher_or_equal_fence_takes_over_and_a_lower_one_is_refused() {
    let control_plane = ControlPlane::start(10).await;
    let fenced = |fence| {
        let mut hello = hello("edge-1", 1);
        hello.fence = fence;
        Filter::connect(control_plane.address, hello, Stored::default())
    };
    let mut first = fenced(5).await;
    first.follow_to(1).await;
    let mut lower = fenced(4).await;
    assert_eq!(lower.receive().await.unwrap_err().code(), Code::AlreadyExists);
    for fence in [5, 6] {
        let mut next = fenced(fence).await;
        next.follow_to(1).await;
        assert_eq!(first.follow_to_the_end().await.code(), Code::Aborted);
        first = next;
    }
    assert!(control_plane.publisher.proxies().iter().all(|status| status.connected));
}

#[tokio::test]
async fn a_third_process_of_a_name_is_refused_until_a_stream_has_ended() {
    let pace = Pace { comes_back: quick().comes_back, ..Pace::default() };
    let control_plane = ControlPlane::with(EPOCH, no_history(1), BTreeMap::new(), pace).await;
    let mut first = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    first.follow_to(1).await;
    let mut second = Filter::connect(control_plane.address, hello("edge-1", 2), Stored::default()).await;
    // A new process has to prove anew what it holds.
    let (serial, _) = second.receive().await.unwrap();
    assert_eq!(control_plane.publisher.acknowledged(1, Duration::ZERO).await.missing, ["edge-1"]);
    second.ack(serial, None).await;
    second.follow_to(1).await;
    assert_eq!(control_plane.publisher.acknowledged(1, SOON).await.acknowledged, ["edge-1"]);
    let mut third = Filter::connect(control_plane.address, hello("edge-1", 3), Stored::default()).await;
    let refusal = third.receive().await.unwrap_err();
    assert_eq!(refusal.code(), Code::AlreadyExists);
    assert!(refusal.message().contains("give each Envoy its own"), "{}", refusal.message());
    drop(first);
    let connected = || control_plane.publisher.proxies()[0].processes.iter().filter(|process| process.connected).count();
    while connected() == 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut third = Filter::connect(control_plane.address, hello("edge-1", 3), Stored::default()).await;
    third.follow_to(1).await;
    // The first one is missed no longer than it would take to come back.
    assert_eq!(control_plane.publisher.acknowledged(1, SOON).await.acknowledged, ["edge-1"]);
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
async fn a_proxys_clock_version_and_quarantine_are_shown() {
    let mut control_plane = ControlPlane::start(10).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    filter.follow_to(1).await;
    let status = async |shown: &dyn Fn(&ProxyStatus) -> bool| {
        let give_up = Instant::now() + SOON;
        loop {
            let status = control_plane.publisher.proxies().remove(0);
            if shown(&status) {
                return status;
            }
            assert!(Instant::now() < give_up, "{status:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let now = status(&|status| status.acknowledged == Some(1)).await;
    assert_eq!((now.lag, now.clock_offset_ms, now.quarantined), (Duration::ZERO, None, None));
    assert_eq!(now.processes[0].filter_version, "test");
    assert!(now.processes[0].since.is_some_and(|since| Some(since) <= now.last_heard));

    let off_ms = 90_000;
    let (serial, heartbeat) = filter.receive().await.unwrap();
    assert!(matches!(heartbeat, ControlPlaneSays::Heartbeat(_)));
    let unix_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64 + off_ms;
    let position = filter.stored.position.map(Into::into);
    filter.say(FilterSays::Ack(sync::Ack { serial, position, unix_ms })).await;
    let shown = status(&|status| status.clock_offset_ms.is_some()).await.clock_offset_ms.unwrap();
    assert!((90_000..91_000).contains(&shown), "{shown}");

    control_plane.publisher.publish(2, vec![(digest(1), None)]).unwrap();
    let (serial, _) = filter.receive_table().await.unwrap();
    let reason = "two workers died over revision 2".to_owned();
    filter.say(FilterSays::Nack(sync::Nack { serial, reason: reason.clone(), unix_ms: 0, quarantined: true })).await;
    let quarantined = status(&|status| status.quarantined.is_some()).await.quarantined.unwrap();
    assert_eq!((quarantined.revision, quarantined.reason), (2, reason));
    assert!(status(&|_| true).await.lag > Duration::ZERO);
    // A snapshot follows; it is tried, and that is that.
    filter.follow_to(2).await;
    let now = status(&|status| status.quarantined.is_none() && status.acknowledged == Some(2)).await;
    assert_eq!(now.lag, Duration::ZERO);
    control_plane.expected.remove(&digest(1));
    filter.stored.assert_holds(&control_plane.expected);
}

#[tokio::test]
async fn a_stream_ends_at_once_when_its_token_is_revoked_and_others_go_on() {
    let control_plane = ControlPlane::start(10).await;
    let with_token = |name, instance| {
        let token = format!("kgj_{}", "a".repeat(40));
        Filter::connect(control_plane.address, keygate_wire::sync::Hello { token, ..hello(name, instance) }, Stored::default())
    };
    let mut proved = with_token("edge-1", 1).await;
    proved.follow_to(1).await;
    let mut local = Filter::connect(control_plane.address, hello("edge-2", 2), Stored::default()).await;
    local.follow_to(1).await;
    let identities = || control_plane.publisher.proxies().iter().map(|status| status.identity).collect::<Vec<_>>();
    assert_eq!(identities(), [Some(Identity::Token(3)), Some(Identity::Loopback)]);
    control_plane.publisher.revoke(3);
    let end = proved.follow_to_the_end().await;
    assert_eq!(end.code(), Code::Unauthenticated);
    assert!(end.message().contains("join token 3 was revoked"), "{}", end.message());
    assert!(tokio::time::timeout(Duration::from_millis(300), local.follow_to_the_end()).await.is_err());
    // One that was looked up before the revocation, and opens its stream after it, gets nothing either.
    let mut late = with_token("edge-1", 1).await;
    assert_eq!(late.follow_to_the_end().await.code(), Code::Unauthenticated);
    assert_eq!(late.stored.position, None);

    let mut malformed = hello("edge-3", 3);
    malformed.token = "kgj_short".to_owned();
    let mut malformed = Filter::connect(control_plane.address, malformed, Stored::default()).await;
    let end = malformed.receive().await.unwrap_err();
    assert_eq!(end.code(), Code::Unauthenticated);
    assert!(end.message().contains("keygate proxy token create edge-3") && !end.message().contains("kgj_"), "{}", end.message());
}

#[tokio::test]
async fn a_proxy_that_cannot_be_stored_gets_nothing() {
    let control_plane = ControlPlane::start(10).await;
    let mut unlucky = Filter::connect(control_plane.address, hello("unlucky", 1), Stored::default()).await;
    assert_eq!(unlucky.receive().await.unwrap_err().code(), Code::Unavailable);
    let mut lucky = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    lucky.follow_to(1).await;
    assert_eq!(control_plane.registered.load(Ordering::SeqCst), 1);
}

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
        loop {
            let (serial, says) = filter.receive_table().await.unwrap();
            if matches!(says, ControlPlaneSays::SnapshotBegin(_)) {
                waits.push(refused.elapsed());
                filter.nack(serial, "no room").await;
                break;
            }
            // Sent before the refusal was heard.
            filter.nack(serial, "out of order").await;
        }
    }
    assert!(waits[0] >= Duration::from_millis(100) && waits[2] > waits[0], "{waits:?}");
    assert!(control_plane.publisher.proxies()[0].last_refusal.is_some());
    loop {
        let (serial, says) = filter.receive_table().await.unwrap();
        if matches!(says, ControlPlaneSays::SnapshotBegin(_)) {
            filter.ack(serial, filter.stored.position).await;
            filter.stored.take(says);
            break;
        }
        filter.nack(serial, "out of order").await;
    }
    filter.follow_to(2).await;
    filter.stored.assert_holds(&control_plane.expected);
}

#[tokio::test]
async fn a_quarantined_snapshot_is_offered_again_later_and_its_reason_is_not_hidden_by_what_follows() {
    let mut control_plane =
        ControlPlane::with(EPOCH, no_history(1), (0..5_000).map(|n| (digest(n), grant(n))).collect(), quick()).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    let mut offered = 0;
    let began = Instant::now();
    while offered < 4 {
        let (serial, says) = filter.receive_table().await.unwrap();
        if matches!(says, ControlPlaneSays::SnapshotBegin(_)) {
            offered += 1;
            filter.quarantine(serial, "2 workers died").await;
        } else {
            filter.nack(serial, "a chunk without a snapshot").await;
        }
    }
    assert!(began.elapsed() >= quick().after_refusals.iter().take(3).sum(), "it spins");
    let status = control_plane.publisher.proxies().remove(0);
    assert_eq!((status.connected, status.last_refusal.as_deref()), (true, Some("2 workers died")));
    // Another revision is offered like any, and heals it.
    control_plane.publish(2, &[(1, None)]);
    loop {
        let (serial, says) = filter.receive_table().await.unwrap();
        if matches!(says, ControlPlaneSays::SnapshotBegin(_)) {
            filter.stored.take(says);
            filter.ack(serial, None).await;
            break;
        }
        filter.nack(serial, "a chunk without a snapshot").await;
    }
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
