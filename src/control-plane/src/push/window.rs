//! The messages on their way to one proxy. Of those about the table there are as many as keep its line busy, however far away it is, and
//! so few at a time that the worker which takes them turns to requests in between. It sends nothing and reads no clock.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::message::Topic;

/// So many may be unanswered by a proxy next door: one that it works on and the next one.
const NEAR: usize = 2;
/// No more than so many, however far away it is.
pub(super) const MOST: usize = 64;
/// Timers are late by this much; what could have been sent meanwhile is sent then.
const CATCHES_UP: Duration = Duration::from_millis(2);

/// See the module.
pub(super) struct Window {
    /// In the order in which they were sent and must be answered.
    unanswered: VecDeque<Sent>,
    /// From one message to the next, beyond those that even a proxy next door gets.
    interval: Duration,
    /// The shortest time in which a message was answered: what the line takes, and hardly any waiting. Zero before the first answer.
    round_trip: Option<Duration>,
    next_at: Instant,
}

struct Sent {
    serial: u64,
    topic: Topic,
    at: Instant,
}

/// Whether one more message about the table may be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Now.
    Open,
    /// At this moment, or after the next answer.
    OpensAt(Instant),
    /// Only after the next answer.
    Closed,
}

impl Window {
    /// That of a proxy which was sent nothing yet.
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { unanswered: VecDeque::new(), interval, round_trip: None, next_at: now }
    }

    /// Whether all is answered.
    pub(super) fn is_empty(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// Whether a heartbeat is unanswered.
    pub(super) fn has_heartbeat(&self) -> bool {
        self.unanswered.len() > self.about_the_table()
    }

    /// Whether one more message about the table may be sent.
    pub(super) fn gate(&self, now: Instant) -> Gate {
        match self.about_the_table() {
            0..NEAR => Gate::Open,
            unanswered if unanswered >= self.size() => Gate::Closed,
            _ if now >= self.next_at => Gate::Open,
            _ => Gate::OpensAt(self.next_at),
        }
    }

    /// A message was sent.
    pub(super) fn sent(&mut self, serial: u64, topic: Topic, now: Instant) {
        self.unanswered.push_back(Sent { serial, topic, at: now });
        if topic != Topic::Heartbeat {
            let earliest = now.checked_sub(CATCHES_UP).unwrap_or(now);
            self.next_at = (self.next_at.max(earliest) + self.interval).min(now + self.interval);
        }
    }

    /// A message was answered: what it was about. `None` if it was not the next to be answered; whoever could leave one out would keep what
    /// goes with it, such as a place for snapshots.
    pub(super) fn answered(&mut self, serial: u64, now: Instant) -> Option<Topic> {
        let Sent { topic, at, .. } = self.unanswered.pop_front_if(|first| first.serial == serial)?;
        let took = now.saturating_duration_since(at);
        self.round_trip = Some(self.round_trip.map_or(took, |shortest| shortest.min(took)));
        Some(topic)
    }

    fn about_the_table(&self) -> usize {
        self.unanswered.iter().filter(|sent| sent.topic != Topic::Heartbeat).count()
    }

    /// What a line of this length holds at one message an interval.
    fn size(&self) -> usize {
        let on_their_way = self.round_trip.unwrap_or_default().as_nanos() / self.interval.as_nanos().max(1);
        usize::try_from(on_their_way).unwrap_or(MOST).saturating_add(NEAR).min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_micros(500);
    const PART: Topic = Topic::Snapshot(1);

    /// A line of this length, and what was sent on it.
    struct Line {
        window: Window,
        sent: u64,
        answered: u64,
    }

    impl Line {
        fn new(round_trip: Duration, now: Instant) -> Self {
            let mut window = Window::new(INTERVAL, now);
            window.sent(1, Topic::Heartbeat, now);
            assert_eq!(window.answered(1, now + round_trip), Some(Topic::Heartbeat));
            Self { window, sent: 1, answered: 1 }
        }

        /// Sends what may be sent at one moment: how many that is, and when there may be more.
        fn send(&mut self, now: Instant) -> (u64, Gate) {
            let before = self.sent;
            while self.window.gate(now) == Gate::Open {
                self.sent += 1;
                self.window.sent(self.sent, PART, now);
            }
            (self.sent - before, self.window.gate(now))
        }

        fn answer(&mut self, now: Instant) {
            self.answered += 1;
            assert_eq!(self.window.answered(self.answered, now), Some(PART));
        }
    }

    #[test]
    fn a_proxy_next_door_has_two_unanswered_at_any_pace() {
        let start = Instant::now();
        let mut line = Line::new(Duration::from_micros(200), start);
        assert_eq!(line.send(start), (2, Gate::Closed));
        for round in 1..1000 {
            let now = start + Duration::from_micros(10 * round);
            line.answer(now);
            assert_eq!(line.send(now), (1, Gate::Closed));
        }
    }

    #[test]
    fn a_long_line_is_filled_at_an_even_pace() {
        let start = Instant::now();
        let mut line = Line::new(Duration::from_millis(20), start);
        let (mut now, mut sent) = (start, 0);
        loop {
            let (more, gate) = line.send(now);
            sent += more;
            // A timer that is late by as much as is caught up with has four messages for the line, and one is due.
            assert!(more <= 5, "{more} at once");
            match gate {
                Gate::OpensAt(next) => now = next + Duration::from_millis(1),
                gate => break assert_eq!(gate, Gate::Closed),
            }
        }
        assert_eq!(sent, 42);
        assert!(now - start <= Duration::from_millis(25), "it took {:?}", now - start);
    }

    #[test]
    fn after_a_pause_no_more_come_at_once_than_are_caught_up_with() {
        let start = Instant::now();
        let mut line = Line::new(Duration::from_millis(100), start);
        let (sent, gate) = line.send(start + Duration::from_secs(10));
        assert!(sent <= 5, "{sent} at once");
        assert!(matches!(gate, Gate::OpensAt(_)));
    }

    #[test]
    fn a_line_is_as_long_as_its_shortest_round_trip() {
        let start = Instant::now();
        let size = |milliseconds| Line::new(Duration::from_millis(milliseconds), start).window.size();
        assert_eq!([0, 5, 50, 60_000].map(size), [2, 12, 64, 64]);
        assert_eq!(Window::new(INTERVAL, start).size(), 2);
        let mut line = Line::new(Duration::from_millis(5), start);
        line.send(start);
        line.answer(start + Duration::from_millis(50));
        assert_eq!(line.window.size(), 12);
        line.answer(start + Duration::from_millis(1));
        assert_eq!(line.window.size(), 4);
    }

    #[test]
    fn answers_come_in_order() {
        let now = Instant::now();
        let mut window = Window::new(INTERVAL, now);
        assert_eq!(window.answered(1, now), None);
        window.sent(1, PART, now);
        window.sent(2, Topic::Heartbeat, now);
        assert!(window.has_heartbeat());
        assert_eq!(window.answered(2, now), None);
        assert_eq!(window.answered(1, now), Some(PART));
        assert_eq!(window.answered(2, now), Some(Topic::Heartbeat));
        assert!(window.is_empty() && !window.has_heartbeat());
    }
}
