//! When something was said that has just come. A message may have waited on a slow line or in a process that stood still, and clocks of two
//! hosts differ: what a filter knows for certain is that a message was said after the answer of its own which the message names as heard.

use std::time::Duration;

/// A message counts as said when it comes, but no longer than this after the answer that it names was given: so much fresher than it is
/// may a table be taken for. More than lies between two heartbeats and the way there and back, else tables would look old on a good line.
pub const MOST_LATE: Duration = Duration::from_secs(5);

/// Which answers have been heard on one stream, as far as the control plane has said. All moments are in nanoseconds of the monotonic clock.
#[derive(Debug)]
pub struct Echo {
    /// When an answer was given that has been heard.
    heard_at_ns: u64,
    /// One of which that is not known yet, by its serial. The next one is looked at when it is: fewer say as much.
    awaited: Option<(u64, u64)>,
}

impl Echo {
    /// That of a stream that was opened just now.
    pub fn new(opened_at_ns: u64) -> Self {
        Self { heard_at_ns: opened_at_ns, awaited: None }
    }

    /// A message was answered, and not before this moment.
    pub fn answered(&mut self, serial: u64, at_ns: u64) {
        self.awaited.get_or_insert((serial, at_ns));
    }

    /// A message has come, before which the answer to `heard` was heard; gives when it counts as said.
    pub fn said_at(&mut self, heard: u64, now_ns: u64) -> u64 {
        if let Some((_, at_ns)) = self.awaited.take_if(|(serial, _)| *serial <= heard) {
            self.heard_at_ns = at_ns;
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
        assert_eq!(echo.said_at(99, 300 * SECOND), 106 * SECOND, "an answer counts only when it was looked at");
        echo.answered(100, 300 * SECOND);
        assert_eq!(echo.said_at(99, 301 * SECOND), 106 * SECOND);
        assert_eq!(echo.said_at(100, 302 * SECOND), 302 * SECOND);
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
