//! When something was said that has just come. A message may have waited on a slow line or in a process that stood still, and clocks of two
//! hosts differ: what a filter knows for certain is that a message was said after the answer of its own which the message names as heard.

use std::time::Duration;

/// A message counts as said when it comes, but no longer than this after the answer that it names was given: so much fresher than it is
/// may a table be taken for. More than lies between two heartbeats, and twice the way there and back, else tables would look old on a good
/// line.
pub const MOST_LATE: Duration = Duration::from_secs(5);

/// Which answers have been heard on one stream, as far as the control plane has said. All moments are in nanoseconds of the monotonic clock.
#[derive(Debug)]
pub struct Echo {
    /// When an answer was given that has been heard.
    heard_at_ns: u64,
    /// Answers of which that is not known yet, by their serials: an old one and the newest. Those between would show no more than that
    /// something was heard up to one round trip later.
    awaited: Option<(u64, u64)>,
    newest: Option<(u64, u64)>,
}

impl Echo {
    /// That of a stream that was opened just now.
    pub fn new(opened_at_ns: u64) -> Self {
        Self { heard_at_ns: opened_at_ns, awaited: None, newest: None }
    }

    /// A message was answered, and not before this moment.
    pub fn answered(&mut self, serial: u64, at_ns: u64) {
        self.newest = Some((serial, at_ns));
        self.awaited = self.awaited.or(self.newest);
    }

    /// A message has come, before which the answer to `heard` was heard; gives when it counts as said.
    pub fn said_at(&mut self, heard: u64, now_ns: u64) -> u64 {
        let is_heard = |(serial, _): &(u64, u64)| *serial <= heard;
        if let Some((_, at_ns)) = self.newest.filter(is_heard) {
            (self.heard_at_ns, self.awaited, self.newest) = (at_ns, None, None);
        } else if let Some((_, at_ns)) = self.awaited.filter(is_heard) {
            (self.heard_at_ns, self.awaited) = (at_ns, self.newest);
        }
        now_ns.min(self.heard_at_ns.saturating_add(MOST_LATE_NS))
    }
}

const MOST_LATE_NS: u64 = MOST_LATE.as_nanos() as u64;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn what_answers_at_once_is_said_when_it_comes() {
        let mut echo = Echo::new(100 * SECOND);
        assert_eq!(echo.said_at(0, 101 * SECOND), 101 * SECOND);
        for beat in 1..100 {
            let now = (100 + 2 * beat) * SECOND;
            echo.answered(beat, now);
            assert_eq!(echo.said_at(beat, now + 2 * SECOND), now + 2 * SECOND);
        }
    }

    #[test]
    fn what_comes_without_an_answer_being_heard_is_no_newer_than_the_last_one_heard() {
        let mut echo = Echo::new(100 * SECOND);
        for beat in 1..100 {
            let now = (100 + beat) * SECOND;
            assert_eq!(echo.said_at(0, now), now.min(105 * SECOND));
            echo.answered(beat, now);
        }
        // The first answer was given a second after the stream was opened; that it was heard is all that is known.
        assert_eq!(echo.said_at(1, 300 * SECOND), 106 * SECOND);
        assert_eq!(echo.said_at(98, 300 * SECOND), 106 * SECOND);
        assert_eq!(echo.said_at(99, 300 * SECOND), 204 * SECOND, "the newest was given after 99 seconds");
        echo.answered(100, 300 * SECOND);
        assert_eq!(echo.said_at(99, 301 * SECOND), 204 * SECOND);
        assert_eq!(echo.said_at(100, 302 * SECOND), 302 * SECOND);
    }

    #[test]
    fn on_a_line_that_is_full_of_messages_the_bound_is_at_most_two_round_trips_old() {
        // One message each tenth of a second, each of which names the one answered a second before.
        let mut echo = Echo::new(0);
        let tenth = SECOND / 10;
        for serial in 1..1000 {
            let now = 100 * SECOND + serial * tenth;
            let said_at = echo.said_at(serial.saturating_sub(10), now);
            if serial > 20 {
                assert_eq!(said_at, now);
                assert!(now - echo.heard_at_ns <= 20 * tenth, "{serial}");
            }
            echo.answered(serial, now);
        }
    }

    #[test]
    fn whatever_is_said_to_be_heard_nothing_is_said_after_it_came() {
        let mut echo = Echo::new(100 * SECOND);
        echo.answered(1, 101 * SECOND);
        for heard in [u64::MAX, 7, 0, 1] {
            assert_eq!(echo.said_at(heard, 102 * SECOND), 102 * SECOND);
        }
        let mut echo = Echo::new(u64::MAX);
        assert_eq!(echo.said_at(0, 5), 5);
    }
}
