//! The messages on their way to one proxy. Of those about the table there are as many as keep its line busy, however far away it is, and
//! so few at a time that the worker which takes them turns to requests in between. It sends nothing and reads no clock.
//!
//! How many that is shows in the answers: as long as they come as soon as the line allows there are more and more; where they are late,
//! because the line is narrow or the worker busy, there are soon no more than next door.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::message::Topic;
use super::table::MESSAGE_BYTES;

/// So many may be unanswered by a proxy next door: one that it works on and the next one.
const NEAR: usize = 2;
/// No more than so many, however far away it is.
pub(super) const MOST: usize = 32;
/// None is added to so many bytes, unless to fewer than [`NEAR`] messages.
const MOST_BYTES: usize = MOST * MESSAGE_BYTES;
/// Timers are late by this much; what could have been sent meanwhile is sent then.
const CATCHES_UP: Duration = Duration::from_millis(2);
/// An answer may take a quarter as long again as the shortest one, and this much.
const TOLERANCE: Duration = Duration::from_millis(4);
/// The shortest one is that of the last one or two such times: lines grow longer, too.
const REMEMBERS: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct Window {
    /// In the order in which they were sent and must be answered.
    unanswered: VecDeque<Sent>,
    /// From one message to the next, beyond those that even a proxy next door gets.
    interval: Duration,
    round_trip: RoundTrip,
    /// How many may be unanswered, as far as answers have shown.
    size: usize,
    /// The last message that was sent when there were too many: until after it answers are late for that reason.
    shrunk_at: u64,
    next_at: Instant,
}

struct Sent {
    serial: u64,
    topic: Topic,
    bytes: usize,
    at: Instant,
}

/// The shortest time in which a message was answered lately: what the line takes, and hardly any waiting.
struct RoundTrip {
    former: Duration,
    latter: Duration,
    turns_at: Instant,
}

/// Whether one more message about the table may be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Now.
    Open,
    /// At this moment, unless answers open it before.
    OpensAt(Instant),
    /// Only when more is answered.
    Closed,
}

impl Window {
    /// That of a proxy which was sent nothing yet.
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        let round_trip = RoundTrip { former: Duration::MAX, latter: Duration::MAX, turns_at: now + REMEMBERS };
        Self { unanswered: VecDeque::new(), interval, round_trip, size: NEAR, shrunk_at: 0, next_at: now }
    }

    /// Whether all is answered.
    pub(super) fn is_empty(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// How many are unanswered.
    pub(super) fn len(&self) -> usize {
        self.unanswered.len()
    }

    /// Whether a heartbeat is unanswered.
    pub(super) fn has_heartbeat(&self) -> bool {
        self.unanswered.len() > self.about_the_table().count()
    }

    /// Whether one more message about the table may be sent.
    pub(super) fn gate(&self, now: Instant) -> Gate {
        let unanswered = self.about_the_table().count();
        let bytes: usize = self.about_the_table().map(|sent| sent.bytes).sum();
        if unanswered < NEAR {
            Gate::Open
        } else if unanswered >= self.size || bytes >= MOST_BYTES {
            Gate::Closed
        } else if now >= self.next_at {
            Gate::Open
        } else {
            Gate::OpensAt(self.next_at)
        }
    }

    /// A message was sent.
    pub(super) fn sent(&mut self, serial: u64, topic: Topic, bytes: usize, now: Instant) {
        self.unanswered.push_back(Sent { serial, topic, bytes, at: now });
        if topic != Topic::Heartbeat {
            let earliest = now.checked_sub(CATCHES_UP).unwrap_or(now);
            self.next_at = (self.next_at.max(earliest) + self.interval).min(now + self.interval);
        }
    }

    /// A message was answered: what it was about. `None` if it was not the next to be answered; whoever could leave one out would keep what
    /// goes with it, such as a place for snapshots.
    pub(super) fn answered(&mut self, serial: u64, now: Instant) -> Option<Topic> {
        let was_full = self.about_the_table().count() >= self.size;
        let Sent { topic, at, .. } = self.unanswered.pop_front_if(|first| first.serial == serial)?;
        let took = now.saturating_duration_since(at);
        let shortest = self.round_trip.shortest(took, now);
        if took > shortest + shortest / 4 + TOLERANCE {
            if serial > self.shrunk_at {
                self.size /= 2;
                self.shrunk_at = self.unanswered.back().map_or(serial, |newest| newest.serial);
            }
        } else if was_full && topic != Topic::Heartbeat {
            self.size += 1;
        }
        self.size = self.size.min(self.line(shortest)).max(NEAR);
        Some(topic)
    }

    fn about_the_table(&self) -> impl Iterator<Item = &Sent> {
        self.unanswered.iter().filter(|sent| sent.topic != Topic::Heartbeat)
    }

    /// What a line of this length holds at one message an interval.
    fn line(&self, round_trip: Duration) -> usize {
        let on_their_way = round_trip.as_nanos() / self.interval.as_nanos().max(1);
        usize::try_from(on_their_way).unwrap_or(MOST).saturating_add(NEAR).min(MOST)
    }
}

impl RoundTrip {
    /// The shortest time, this one included.
    fn shortest(&mut self, took: Duration, now: Instant) -> Duration {
        if now >= self.turns_at {
            (self.former, self.latter, self.turns_at) = (self.latter, Duration::MAX, now + REMEMBERS);
        }
        self.latter = self.latter.min(took);
        self.former.min(self.latter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_micros(500);
    const PART: Topic = Topic::Snapshot(1);

    /// A proxy at the end of a line, which takes so long for each message, one after the other.
    struct Proxy {
        window: Window,
        round_trip: Duration,
        takes: Duration,
        now: Instant,
        serial: u64,
        /// When those will be answered that are on their way.
        answers: VecDeque<Instant>,
    }

    impl Proxy {
        /// One that has answered a heartbeat.
        fn new(round_trip: Duration, takes: Duration) -> Self {
            let start = Instant::now();
            let mut window = Window::new(INTERVAL, start);
            window.sent(1, Topic::Heartbeat, 50, start);
            let now = start + round_trip;
            assert_eq!(window.answered(1, now), Some(Topic::Heartbeat));
            Self { window, round_trip, takes, now, serial: 1, answers: VecDeque::new() }
        }

        /// Sends what may be sent now: how many that is, and when there may be more.
        fn send(&mut self, bytes: usize) -> (usize, Gate) {
            let mut sent = 0;
            while self.window.gate(self.now) == Gate::Open {
                self.serial += 1;
                sent += 1;
                self.window.sent(self.serial, PART, bytes, self.now);
                let begun = self.answers.back().map_or(self.now, |former| *former.max(&self.now));
                self.answers.push_back((self.now + self.round_trip).max(begun) + self.takes);
            }
            (sent, self.window.gate(self.now))
        }

        /// The same for a while, with timers as late as is caught up with: how many messages were sent, at most at once, and at most
        /// unanswered.
        fn send_for(&mut self, time: Duration) -> (usize, usize, usize) {
            let end = self.now + time;
            let (mut all, mut at_once, mut unanswered) = (0, 0, 0);
            while self.now < end {
                let (sent, gate) = self.send(1000);
                (all, at_once, unanswered) = (all + sent, at_once.max(sent), unanswered.max(self.answers.len()));
                let answer = *self.answers.front().unwrap();
                match gate {
                    Gate::OpensAt(moment) if moment + CATCHES_UP < answer => self.now = moment + CATCHES_UP,
                    _ => {
                        self.now = answer;
                        self.answers.pop_front();
                        let first = self.serial - self.answers.len() as u64;
                        assert_eq!(self.window.answered(first, self.now), Some(PART));
                    }
                }
            }
            (all, at_once, unanswered)
        }
    }

    const QUICK: Duration = Duration::from_micros(200);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_proxy_next_door_has_two_unanswered_at_any_pace() {
        let (sent, at_once, unanswered) = Proxy::new(QUICK, QUICK).send_for(SECOND);
        assert_eq!((at_once, unanswered), (2, 2));
        assert!(sent > 4_000, "{sent}: it never waits for more");
    }

    #[test]
    fn a_long_line_is_filled_at_an_even_pace() {
        let (sent, at_once, unanswered) = Proxy::new(Duration::from_millis(10), QUICK).send_for(SECOND);
        // 2,000 are what the pace allows.
        assert!((1_500..=2_010).contains(&sent), "{sent} in a second");
        // What timers are late for, and one that is due.
        assert!(at_once <= 5, "{at_once} at once");
        assert!(unanswered <= 22, "{unanswered}");
        let (sent, at_once, unanswered) = Proxy::new(Duration::from_millis(200), QUICK).send_for(10 * SECOND);
        // Fifty round trips with 32 each.
        assert!(sent > 1_000, "{sent} in ten seconds");
        assert!(at_once <= 5 && unanswered <= MOST, "{at_once} {unanswered}");
    }

    #[test]
    fn a_worker_that_is_busy_or_behind_a_narrow_line_has_no_long_queue() {
        for takes in [5, 50, 500].map(Duration::from_millis) {
            let mut proxy = Proxy::new(Duration::from_millis(50), takes);
            let (_, _, at_first) = proxy.send_for(SECOND);
            let (sent, _, unanswered) = proxy.send_for(10 * SECOND);
            let on_the_line = 50 / takes.as_millis() as usize;
            // Until the first late answer is heard, it has grown for a while.
            let most = 3 * on_the_line + 2 * NEAR;
            assert!(at_first <= most && unanswered <= most, "{takes:?}: {at_first}, then {unanswered} of {most}");
            // It is busy for most of the time.
            assert!(sent as f64 > 0.6 * 10.0 / takes.as_secs_f64().max(0.03), "{takes:?}: {sent}");
        }
    }

    #[test]
    fn a_line_that_has_grown_longer_is_filled_again() {
        let mut proxy = Proxy::new(Duration::from_millis(10), QUICK);
        proxy.send_for(SECOND);
        proxy.round_trip = Duration::from_millis(60);
        proxy.send_for(2 * REMEMBERS + SECOND);
        let (sent, ..) = proxy.send_for(SECOND);
        assert!(sent > 400, "{sent} in a second");
    }

    #[test]
    fn only_what_fills_the_window_widens_it() {
        let mut proxy = Proxy::new(Duration::from_millis(100), QUICK);
        for serial in 2..100 {
            proxy.now += SECOND;
            let topic = if serial % 2 == 0 { Topic::Heartbeat } else { PART };
            proxy.window.sent(serial, topic, 50, proxy.now);
            proxy.window.answered(serial, proxy.now + proxy.round_trip).unwrap();
        }
        assert_eq!(proxy.window.size, NEAR);
    }

    /// A proxy whose window has grown as far as it can, and who has answered everything long ago.
    fn rested() -> Proxy {
        let mut proxy = Proxy::new(Duration::from_millis(100), QUICK);
        proxy.send_for(SECOND);
        proxy.answers.clear();
        while let Some(sent) = proxy.window.unanswered.front() {
            let (serial, at) = (sent.serial, sent.at);
            proxy.window.answered(serial, at + proxy.round_trip);
        }
        assert_eq!(proxy.window.size, MOST);
        proxy.now += 10 * SECOND;
        proxy
    }

    #[test]
    fn after_a_pause_no_more_come_at_once_than_are_caught_up_with() {
        let (sent, gate) = rested().send(1000);
        assert!(sent <= 5, "{sent} at once");
        assert!(matches!(gate, Gate::OpensAt(_)));
    }

    #[test]
    fn long_messages_are_few() {
        assert_eq!(rested().send(MOST_BYTES), (NEAR, Gate::Closed));
        assert_eq!(rested().send(MOST_BYTES / 3), (3, Gate::Closed));
    }

    #[test]
    fn answers_come_in_order() {
        let now = Instant::now();
        let mut window = Window::new(INTERVAL, now);
        assert_eq!(window.answered(1, now), None);
        window.sent(1, PART, 1, now);
        window.sent(2, Topic::Heartbeat, 1, now);
        assert!(window.has_heartbeat());
        assert_eq!(window.answered(2, now), None);
        assert_eq!(window.answered(1, now), Some(PART));
        assert_eq!(window.answered(2, now), Some(Topic::Heartbeat));
        assert!(window.is_empty() && !window.has_heartbeat());
    }
}
