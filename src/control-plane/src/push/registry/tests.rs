//! The registry by itself: whom a wait covers, for how long, and who may have a stream.

use std::time::SystemTime;

use keygate_wire::records::Position;
use proptest::prelude::*;

use super::*;
use crate::push::Quarantine;
use crate::push::tests::filter::hello;
use crate::push::tests::found;

const EPOCH: [u8; 16] = [7; 16];
const COMES_BACK: Duration = Duration::from_secs(5);

fn registry(known: &[&str]) -> Arc<Registry> {
    let known = known.iter().map(|name| limit(name, 3600));
    Arc::new(Registry::new(EPOCH, known.collect(), COMES_BACK, Instant::now()))
}

fn claim(registry: &Arc<Registry>, name: &str, instance: u8, fence: u64) -> Result<Claim, Refused> {
    let mut hello = hello(name, instance);
    hello.fence = fence;
    registry.claim(&Hello::parse(hello).unwrap(), Identity::Loopback, Instant::now())
}

/// A claim by a join token.
fn claim_by(registry: &Arc<Registry>, name: &str, instance: u8, token: u64) -> Claim {
    let hello = Hello::parse(hello(name, instance)).unwrap();
    registry.claim(&hello, Identity::Token(token), Instant::now()).ok().unwrap()
}

/// A claim of a process that serves for so long without a word.
fn claim_for(registry: &Arc<Registry>, name: &str, instance: u8, seconds: u64) -> Claim {
    let hello = Hello { proxy: limit(name, seconds), ..Hello::parse(hello(name, instance)).unwrap() };
    registry.claim(&hello, Identity::Loopback, Instant::now()).ok().unwrap()
}

fn limit(name: &str, seconds: u64) -> KnownProxy {
    KnownProxy { name: name.to_owned(), staleness_limit_seconds: seconds }
}

fn at(revision: u64) -> Position {
    Position { epoch: EPOCH, revision }
}

fn statuses(registry: &Registry) -> Vec<ProxyStatus> {
    registry.statuses(&Moments::new(0, Instant::now()), Instant::now())
}

/// What is known of a revision, and when that may change by itself.
fn assess(registry: &Registry, revision: u64, now: Instant) -> (Acknowledgement, Option<Instant>) {
    let found = registry.assess(revision, now);
    let changes = found.missing.iter().filter_map(|name| match registry.coverage(name, revision, now) {
        Some(Coverage::Missing(until)) => until,
        _ => None,
    });
    let next_change = changes.min();
    (found, next_change)
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[test]
fn a_proxy_counts_until_it_is_closed_for_certain() {
    let registry = registry(&["a", "b"]);
    let start = Instant::now();
    let assess = |revision, seconds| super::tests::assess(&registry, revision, start + Duration::from_secs(seconds));
    let (answer, closing) = assess(1, 3600);
    assert_eq!(answer, found(&[], &[], &["a", "b"]));
    assert!(closing.is_some_and(|at| at <= start + Duration::from_secs(3634)));
    assert_eq!(assess(1, 3633).0, found(&[], &[], &["a", "b"]));
    assert_eq!(assess(1, 3634).0, found(&[], &["a", "b"], &[]));

    let a = claim(&registry, "a", 1, 1).ok().unwrap();
    a.acknowledge(at(5));
    assert_eq!(assess(5, 4000).0, found(&["a"], &["b"], &[]));
    // With a stream open nothing but an Ack counts, however long it takes.
    assert_eq!(assess(6, 1_000_000), (found(&[], &["b"], &["a"]), None));
    drop(a);
    // What it has acknowledged stays in force without a stream.
    assert_eq!(assess(5, 1).0.acknowledged, ["a"]);
    assert_eq!(assess(6, 3600).0.missing, ["a", "b"]);
    assert_eq!(assess(6, 3700).0.closed, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn only_revisions_of_this_epoch_count() {
    let registry = registry(&[]);
    let a = claim(&registry, "a", 1, 1).ok().unwrap();
    a.acknowledge(Position { epoch: [6; 16], revision: 9 });
    assert_eq!(assess(&registry, 1, Instant::now()).0.missing, ["a"]);
    a.acknowledge(at(1));
    assert_eq!(assess(&registry, 1, Instant::now()).0.acknowledged, ["a"]);
    drop(a);
    // A new process under the name starts from nothing.
    let a = claim(&registry, "a", 2, 1).ok().unwrap();
    assert_eq!(assess(&registry, 1, Instant::now()).0.missing, ["a"]);
    drop(a);
}

#[tokio::test(start_paused = true)]
async fn a_process_has_one_stream_and_a_name_two_processes() {
    let registry = registry(&[]);
    let mut first = claim(&registry, "a", 1, 5).ok().unwrap();
    assert_eq!(claim(&registry, "a", 1, 4).err(), Some(Refused::LowerFence));
    // Fences compare within a process.
    let namesake = claim(&registry, "a", 2, 1).ok().unwrap();
    assert_eq!(claim(&registry, "a", 3, 9).err(), Some(Refused::NameTaken));
    let second = claim(&registry, "a", 1, 5).ok().unwrap();
    assert!(first.replaced().is_some_and(|mut replaced| replaced.try_recv() == Err(oneshot::error::TryRecvError::Closed)));
    // The replaced stream has no say any more, not even by its end.
    first.acknowledge(at(1));
    drop(first);
    let [status] = &statuses(&registry)[..] else { panic!("one proxy") };
    assert!(status.processes.len() == 2 && status.processes.iter().all(|process| process.connected));
    assert_eq!(status.acknowledged, None);
    drop(second);
    assert!(claim(&registry, "a", 3, 1).is_ok());
    drop(namesake);
}

#[tokio::test(start_paused = true)]
async fn a_wait_covers_both_processes_of_a_hot_restart() {
    let registry = registry(&[]);
    let parent = claim(&registry, "a", 1, 9).ok().unwrap();
    parent.acknowledge(at(1));
    let child = claim(&registry, "a", 2, 1).ok().unwrap();
    let missing = |revision| assess(&registry, revision, Instant::now()).0.missing == ["a"];
    parent.acknowledge(at(2));
    assert!(missing(2), "the child has not");
    child.acknowledge(at(2));
    assert!(!missing(2));
    child.acknowledge(at(3));
    assert!(missing(3), "the parent has not");
    pass(1_000_000).await;
    assert!(missing(3), "and has its stream still");
    drop(parent);
    pass(4).await;
    assert!(missing(3), "it might be back any moment");
    pass(1).await;
    assert_eq!(assess(&registry, 3, Instant::now()), (found(&["a"], &[], &[]), None));
    assert_eq!(statuses(&registry)[0].processes.len(), 1);
    // What was forgotten does not return when the last one goes, too.
    drop(child);
    assert_eq!(assess(&registry, 3, Instant::now()).0, found(&["a"], &[], &[]));
}

/// Its stream has ended because its token was revoked: that it does not come back shows nothing.
#[tokio::test(start_paused = true)]
async fn a_process_that_is_kept_out_is_waited_for_until_it_is_closed_for_certain() {
    let registry = registry(&[]);
    let parent = claim_by(&registry, "a", 1, 1);
    let child = claim_by(&registry, "a", 2, 2);
    registry.revoke(1, "a", Instant::now());
    drop(parent);
    child.acknowledge(at(1));
    pass(600).await;
    assert_eq!(assess(&registry, 1, Instant::now()).0, found(&[], &[], &["a"]));
    pass(3100).await;
    assert_eq!(assess(&registry, 1, Instant::now()).0, found(&["a"], &[], &[]));
    // One that shows another token is let in, and counts as any other from then on.
    registry.revoke(2, "a", Instant::now());
    drop(child);
    let again = claim_by(&registry, "a", 2, 3);
    again.acknowledge(at(1));
    drop(again);
    let other = claim(&registry, "a", 3, 1).ok().unwrap();
    other.acknowledge(at(2));
    pass(6).await;
    assert_eq!(assess(&registry, 2, Instant::now()).0, found(&["a"], &[], &[]));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_kept_out_can_be_forgotten_while_another_is_there_and_no_other() {
    let registry = registry(&[]);
    let former = claim_by(&registry, "a", 1, 1);
    registry.revoke(1, "a", Instant::now());
    assert!(registry.kept_out("a").is_empty(), "its stream has not ended yet");
    former.acknowledge(at(1));
    drop(former);
    let restarted = claim_by(&registry, "a", 2, 2);
    restarted.acknowledge(at(2));
    pass(600).await;
    assert_eq!(assess(&registry, 2, Instant::now()).0.missing, ["a"]);
    let mut changed = registry.changed();
    changed.mark_unchanged();
    let (former, nobody) = (registry.kept_out("a"), registry.kept_out("b"));
    assert_eq!((former.as_slice(), nobody.len()), (&[Some([1; 16])][..], 0));
    registry.forget_kept_out("a", &former);
    assert!(changed.has_changed().unwrap(), "a wait that is under way ends");
    assert_eq!(assess(&registry, 2, Instant::now()).0, found(&["a"], &[], &[]));
    assert!(statuses(&registry)[0].connected && registry.kept_out("a").is_empty());
    // Not forgotten is whoever was cut off and may come back, nor who is kept out only since it was asked which are.
    let other = claim_by(&registry, "a", 3, 3);
    other.acknowledge(at(1));
    drop(other);
    registry.forget_kept_out("a", &[Some([3; 16])]);
    registry.revoke(3, "a", Instant::now());
    registry.forget_kept_out("a", &former);
    pass(600).await;
    assert_eq!(assess(&registry, 2, Instant::now()).0.missing, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_could_not_be_looked_up_has_its_time_to_come_back_anew() {
    let registry = registry(&[]);
    let parent = claim_by(&registry, "a", 1, 1);
    let child = claim_by(&registry, "a", 2, 2);
    child.acknowledge(at(1));
    drop(parent);
    for _ in 0..3 {
        pass(4).await;
        registry.still_runs(&Hello::parse(hello("a", 1)).unwrap(), Instant::now());
    }
    pass(4).await;
    assert_eq!(assess(&registry, 1, Instant::now()).0.missing, ["a"], "it was there four seconds ago");
    pass(2).await;
    assert_eq!(assess(&registry, 1, Instant::now()).0.acknowledged, ["a"]);
}

/// Such as one that came without a token, before its name had one.
#[tokio::test(start_paused = true)]
async fn a_process_that_can_prove_its_name_no_longer_is_waited_for() {
    let registry = registry(&[]);
    let parent = claim(&registry, "a", 1, 1).ok().unwrap();
    let child = claim_by(&registry, "a", 2, 2);
    child.acknowledge(at(1));
    drop(parent);
    registry.keep_out(&Hello::parse(hello("a", 1)).unwrap());
    pass(600).await;
    assert_eq!(assess(&registry, 1, Instant::now()).0.missing, ["a"], "it goes on by its table");
    // Whoever is no process of the name changes nothing.
    registry.keep_out(&Hello::parse(hello("a", 9)).unwrap());
    registry.keep_out(&Hello::parse(hello("b", 1)).unwrap());
    assert_eq!(statuses(&registry).len(), 1);
    drop(claim_by(&registry, "a", 1, 3));
    pass(6).await;
    assert_eq!(assess(&registry, 1, Instant::now()).0.acknowledged, ["a"], "it was let in again, and has not come back");
}

#[tokio::test(start_paused = true)]
async fn a_process_is_kept_out_whose_token_was_revoked_after_it_was_looked_up() {
    let registry = registry(&[]);
    drop(claim_by(&registry, "a", 1, 1));
    registry.revoke(1, "a", Instant::now());
    drop(claim_by(&registry, "a", 1, 1));
    let child = claim_by(&registry, "a", 2, 2);
    child.acknowledge(at(1));
    pass(600).await;
    assert_eq!(assess(&registry, 1, Instant::now()).0, found(&[], &[], &["a"]));
}

/// It may be the one whose token was revoked: that it does not come back shows nothing. Whoever has ended by then has ended, and other
/// proxies have nothing to do with it.
#[tokio::test(start_paused = true)]
async fn whoever_had_the_name_before_the_start_is_kept_out_by_a_token_that_may_be_its_own() {
    for (seconds_later, missing) in [(0, ["a"].as_slice()), (600, &[])] {
        let registry = registry(&["a", "b"]);
        let (a, b) = (claim_by(&registry, "a", 1, 1), claim_by(&registry, "b", 1, 2));
        pass(seconds_later).await;
        registry.revoke(7, "a", Instant::now());
        a.acknowledge(at(1));
        b.acknowledge(at(1));
        pass(600).await;
        assert_eq!(assess(&registry, 1, Instant::now()).0.missing, missing, "{seconds_later}");
        pass(3100).await;
        assert_eq!(assess(&registry, 1, Instant::now()).0, found(&["a", "b"], &[], &[]));
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_former_process_is_waited_for_a_little_longer() {
    let registry = registry(&[]);
    let former = claim(&registry, "a", 1, 1).ok().unwrap();
    former.acknowledge(at(1));
    drop(former);
    pass(600).await;
    assert_eq!(assess(&registry, 2, Instant::now()).0.missing, ["a"], "it may serve by its old table for an hour");
    let (came, new) = (Instant::now(), claim(&registry, "a", 2, 1).ok().unwrap());
    new.acknowledge(at(2));
    // Both may have been cut off from here for these ten minutes: then the former one is back soon.
    assert_eq!(assess(&registry, 2, Instant::now()), (found(&[], &[], &["a"]), Some(came + COMES_BACK)));
    pass(3).await;
    let back = claim(&registry, "a", 1, 2).ok().unwrap();
    pass(3).await;
    assert_eq!(assess(&registry, 2, Instant::now()), (found(&[], &[], &["a"]), None), "it was back");
    drop(back);
    pass(5).await;
    assert_eq!(assess(&registry, 2, Instant::now()).0, found(&["a"], &[], &[]));
}

#[tokio::test(start_paused = true)]
async fn whoever_had_the_name_before_the_start_is_waited_for_until_it_would_be_back() {
    let registry = registry(&["a"]);
    pass(60).await;
    let one = claim(&registry, "a", 1, 1).ok().unwrap();
    one.acknowledge(at(1));
    assert_eq!(assess(&registry, 1, Instant::now()).0.missing, ["a"], "there may have been two");
    assert_eq!(statuses(&registry)[0].acknowledged, None);
    pass(5).await;
    assert_eq!(assess(&registry, 1, Instant::now()).0.acknowledged, ["a"]);
    assert_eq!(statuses(&registry)[0].acknowledged, Some(1));
    drop(one);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_starts_ever_again_fills_no_memory_and_hides_nothing() {
    let registry = registry(&[]);
    for start in 0..200 {
        let process = claim(&registry, "a", start, 1).ok().unwrap();
        if start > 0 {
            process.acknowledge(at(7));
        }
        drop(process);
        pass(1).await;
    }
    assert!(statuses(&registry)[0].processes.len() <= FORMER_PROCESSES);
    assert_eq!(assess(&registry, 7, Instant::now()).0.missing, ["a"], "the first one has not");
    pass(3634).await;
    assert!(assess(&registry, 8, Instant::now()).0.missing.is_empty());
}

#[test]
fn only_a_proxy_without_a_stream_can_be_forgotten() {
    let registry = registry(&["a"]);
    let mut changed = registry.changed();
    changed.mark_unchanged();
    assert_eq!((registry.unregister("b"), registry.forget("b")), (Forgotten::Unknown, Forgotten::Unknown));
    let a = claim(&registry, "a", 1, 1).ok().unwrap();
    assert_eq!(registry.unregister("a"), Forgotten::Connected);
    drop(a);
    assert_eq!(registry.unregister("a"), Forgotten::Done);
    assert_eq!(assess(&registry, 1, Instant::now()).0.missing, ["a"], "storage may still fail to forget it");
    // It comes back, is stored again, gets a table and leaves.
    let mut a = claim(&registry, "a", 1, 2).ok().unwrap();
    assert!(a.unregistered().is_some());
    assert_eq!(registry.forget("a"), Forgotten::Connected);
    a.registered();
    drop(a);
    assert_eq!(registry.forget("a"), Forgotten::Connected);
    assert_eq!((registry.unregister("a"), registry.forget("a")), (Forgotten::Done, Forgotten::Done));
    assert!(changed.has_changed().unwrap() && statuses(&registry).is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_longest_limit_counts_of_all_that_may_still_run() {
    let registry = registry(&["a"]);
    let limit = |seconds| limit("a", seconds);
    let claim = |instance, seconds| claim_for(&registry, "a", instance, seconds);
    let counts = || statuses(&registry)[0].staleness_limit_seconds;
    let first = claim(1, 3600);
    assert_eq!(first.unregistered(), None);
    pass(5).await;
    drop(first);
    // The same process under a new configuration: the shorter limit counts once it is stored.
    let mut first = claim(1, 60);
    assert_eq!((first.unregistered(), counts()), (Some(&limit(60)), 3600));
    first.registered();
    assert_eq!(counts(), 60);
    assert_eq!(claim(1, 60).unregistered(), None);
    // A longer one counts at once.
    let longer = claim(1, 7200);
    assert_eq!((longer.unregistered(), counts()), (Some(&limit(7200)), 7200));
    // With another process beside it what is stored must do for both.
    let mut second = claim(2, 60);
    assert_eq!(second.unregistered(), Some(&limit(7200)));
    second.registered();
    assert_eq!(claim(2, 60).unregistered(), None);
    assert_eq!(counts(), 7200);
}

#[tokio::test(start_paused = true)]
async fn a_shorter_limit_that_is_about_to_be_stored_does_for_nobody_else() {
    let registry = registry(&["a"]);
    let first = claim_for(&registry, "a", 1, 3600);
    pass(5).await;
    drop(first);
    let mut first = claim_for(&registry, "a", 1, 60);
    assert_eq!(first.unregistered(), Some(&limit("a", 60)));
    // What is stored is its own limit still, but not for long.
    let mut second = claim_for(&registry, "a", 2, 3600);
    assert_eq!(second.unregistered(), Some(&limit("a", 3600)));
    first.registered();
    second.registered();
    assert_eq!(claim_for(&registry, "a", 2, 3600).unregistered(), None);
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_lasts_until_a_message_about_the_table_is_taken_even_on_another_stream() {
    let registry = registry(&[]);
    let quarantine = |revision, seconds| {
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Some(Quarantine { revision, reason: "two workers died".to_owned(), since })
    };
    let shown = || statuses(&registry)[0].quarantined.clone();
    let first = claim(&registry, "a", 1, 1).ok().unwrap();
    first.quarantined(quarantine(5, 10));
    first.quarantined(quarantine(5, 20));
    assert_eq!(shown(), quarantine(5, 10));
    let second = claim(&registry, "a", 1, 2).ok().unwrap();
    second.quarantined(quarantine(6, 30));
    assert_eq!(shown(), quarantine(6, 30));
    second.quarantined(None);
    assert_eq!(shown(), None);
}

/// What may happen to the processes of one name.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connect(u8),
    Acknowledge(u8),
    Disconnect(u8),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let instance = 0_u8..4;
    prop_oneof![
        instance.clone().prop_map(Step::Connect),
        instance.clone().prop_map(Step::Acknowledge),
        instance.prop_map(Step::Disconnect),
        prop_oneof![1_u64..8, Just(3600)].prop_map(Step::Pass),
    ]
}

/// A process as the test knows it.
#[derive(Default)]
struct Known {
    claim: Option<Claim>,
    acknowledged: bool,
    /// When it was last there.
    until: Option<Instant>,
}

proptest! {
    /// Whatever happens: nobody counts as acknowledged while a process may serve by an older table, nobody is waited for for ever, and
    /// the time at which an assessment may change is told.
    #[test]
    fn a_wait_covers_whoever_may_still_serve(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let registry = registry(&[]);
            let mut processes: [Known; 4] = Default::default();
            for step in steps {
                let others = |processes: &[Known], own: usize| {
                    processes.iter().enumerate().filter(|(index, known)| *index != own && known.claim.is_some()).count()
                };
                match step {
                    Step::Connect(index) => {
                        let own = usize::from(index);
                        let claimed = claim(&registry, "a", index, 1);
                        assert_eq!(claimed.is_ok(), others(&processes, own) < CONCURRENT_PROCESSES);
                        if let Ok(claimed) = claimed {
                            processes[own].claim = Some(claimed);
                            processes[own].until = None;
                        }
                    }
                    Step::Acknowledge(index) => {
                        let known = &mut processes[usize::from(index)];
                        if let Some(claim) = &known.claim {
                            claim.acknowledge(at(1));
                            known.acknowledged = true;
                        }
                    }
                    Step::Disconnect(index) => {
                        let known = &mut processes[usize::from(index)];
                        if known.claim.take().is_some() {
                            known.until = Some(Instant::now());
                        }
                    }
                    Step::Pass(seconds) => pass(seconds).await,
                }
                let (found, next_change) = assess(&registry, 1, Instant::now());
                let lately = |until: Instant| until.elapsed() < COMES_BACK;
                let may_serve =
                    |known: &Known| !known.acknowledged && (known.claim.is_some() || known.until.is_some_and(lately));
                if processes.iter().any(may_serve) {
                    assert_eq!(found.missing, ["a"]);
                }
                let waits_for_a_stream = processes.iter().any(|known| !known.acknowledged && known.claim.is_some());
                if !found.missing.is_empty() && !waits_for_a_stream {
                    assert!(next_change.is_some(), "nothing would ever end the wait");
                }
                // A process that is forgotten starts from nothing when it returns.
                for (index, known) in processes.iter_mut().enumerate() {
                    let instance = Some([index as u8; 16]);
                    let remembered = statuses(&registry).iter().any(|status| {
                        status.processes.iter().any(|process| process.instance == instance)
                    });
                    known.acknowledged &= remembered;
                }
            }
            // However it went: with one process that has everything, the wait ends.
            for known in &mut processes {
                known.claim = None;
            }
            let last = claim(&registry, "a", 9, 1).ok().unwrap();
            last.acknowledge(at(1));
            pass(COMES_BACK.as_secs()).await;
            assert_eq!(assess(&registry, 1, Instant::now()), (found(&["a"], &[], &[]), None));
        });
    }
}
