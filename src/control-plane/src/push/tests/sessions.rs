//! Who may have a stream, when it ends, and what is known of a proxy.

use std::time::Instant;

use keygate_wire::sync::{self, ControlPlaneSays, FilterSays};
use tonic::Code;

use super::filter::{CLOCK_OFF, Filter, Stored, hello};
use super::*;

const SOON: Duration = Duration::from_secs(5);

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
async fn a_message_names_the_last_answer_that_was_heard() {
    let control_plane = ControlPlane::with(EPOCH, no_history(1), BTreeMap::new(), quick()).await;
    let mut filter = Filter::connect(control_plane.address, hello("edge-1", 1), Stored::default()).await;
    filter.follow_to(1).await;
    for refuse in [false, true, true, false] {
        // Only heartbeats come, and none before the last one was answered.
        let (serial, says) = filter.receive().await.unwrap();
        assert!(matches!(says, ControlPlaneSays::Heartbeat(_)));
        assert_eq!(filter.heard, serial - 1);
        if refuse { filter.nack(serial, CLOCK_OFF).await } else { filter.ack(serial, None).await }
    }
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
    control_plane.publisher.revoke("edge-1", &[3]);
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
