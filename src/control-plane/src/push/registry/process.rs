//! One Envoy process of a proxy: whether it has a stream, what it has acknowledged, and how long it is waited for without one.
//!
//! It reads no clock, and never forgets itself: whether a namesake makes it a former one, its proxy knows.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use keygate_wire::echo::MOST_LATE;
use keygate_wire::records::Position;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::{Identity, Quarantine};

/// Added to a staleness limit: what was said last may count as said [`MOST_LATE`] after it, and requests are under way.
const CLOSING_MARGIN: Duration = Duration::from_secs(30);
const _: () = assert!(CLOSING_MARGIN.as_secs() >= 2 * MOST_LATE.as_secs());
/// So much of the limit is added, too: two clocks that are being corrected may differ by 500 millionths each, as NTP bounds it.
const CLOCKS_DIFFER_BY: u32 = 1000;

/// See the module.
pub(super) struct Process {
    /// Its 16 random bytes; `None` for one that is only known to be possible, such as whoever had the name before this control plane
    /// started.
    pub(super) instance: Option<[u8; 16]>,
    pub(super) staleness_limit_seconds: u64,
    /// By what it has proved its proxy's name.
    pub(super) identity: Option<Identity>,
    /// What it proved that by is withdrawn, or may be: it may go on, and cannot come back.
    pub(super) kept_out: bool,
    presence: Presence,
    pub(super) filter_version: String,
    /// When it first said anything since it last came.
    pub(super) since: Option<SystemTime>,
    pub(super) last_heard: Option<SystemTime>,
    pub(super) position: Option<Position>,
    pub(super) acknowledged: Option<u64>,
    /// How far its clock is ahead of this control plane's, in milliseconds.
    pub(super) clock_offset_ms: Option<i64>,
    pub(super) last_refusal: Option<String>,
    pub(super) quarantined: Option<Quarantine>,
}

enum Presence {
    Connected { stream: Stream, since: Instant },
    Gone { since: Instant },
}

/// The stream of a process.
pub(super) struct Stream {
    pub(super) id: u64,
    pub(super) fence: u64,
    /// Dropped when another stream takes over.
    pub(super) _in_charge: oneshot::Sender<Infallible>,
}

impl Process {
    /// One without a stream since a moment: the start of the control plane for whoever was there before.
    pub(super) fn gone(instance: Option<[u8; 16]>, staleness_limit_seconds: u64, since: Instant) -> Self {
        Self {
            instance,
            staleness_limit_seconds,
            identity: None,
            kept_out: false,
            presence: Presence::Gone { since },
            filter_version: String::new(),
            since: None,
            last_heard: None,
            position: None,
            acknowledged: None,
            clock_offset_ms: None,
            last_refusal: None,
            quarantined: None,
        }
    }

    /// It has no stream, and will have none.
    pub(super) fn is_kept_out(&self) -> bool {
        self.kept_out && self.stream().is_none()
    }

    /// Its stream, if it has one.
    pub(super) fn stream(&self) -> Option<&Stream> {
        match &self.presence {
            Presence::Connected { stream, .. } => Some(stream),
            Presence::Gone { .. } => None,
        }
    }

    /// Since when it has had a stream without a gap.
    pub(super) fn connected_since(&self) -> Option<Instant> {
        match self.presence {
            Presence::Connected { since, .. } => Some(since),
            Presence::Gone { .. } => None,
        }
    }

    /// It has a stream from now on, or another one.
    pub(super) fn connect(&mut self, stream: Stream, now: Instant) {
        let since = self.connected_since().unwrap_or_else(|| {
            self.since = None;
            now
        });
        self.presence = Presence::Connected { stream, since };
    }

    /// Its stream has ended.
    pub(super) fn disconnect(&mut self, now: Instant) {
        self.presence = Presence::Gone { since: now };
    }

    /// It has no stream, and has been heard all the same.
    pub(super) fn still_runs(&mut self, now: Instant) {
        if let Presence::Gone { since } = &mut self.presence {
            *since = now;
        }
    }

    /// From when on nobody has to wait for it: then it certainly answers 503, or it is taken for ended, because a namesake has been
    /// connected for so long (`comes_back`) that this one would be, too, unless it is kept out. Never as long as it has a stream.
    pub(super) fn leaves(&self, namesake_since: Option<Instant>, comes_back: Duration) -> Option<Instant> {
        let Presence::Gone { since } = self.presence else { return None };
        let limit = Duration::from_secs(self.staleness_limit_seconds);
        let closes = since.checked_add(limit.saturating_add(limit / CLOCKS_DIFFER_BY).saturating_add(CLOSING_MARGIN));
        let is_former =
            namesake_since.filter(|_| !self.kept_out).and_then(|namesake| namesake.max(since).checked_add(comes_back));
        closes.into_iter().chain(is_former).min()
    }

    /// Counts this one, which is gone, and another one that is gone as one, which leaves when both have left.
    pub(super) fn absorb(&mut self, other: &Self) {
        let (Presence::Gone { since }, Presence::Gone { since: others }) = (&mut self.presence, &other.presence) else { return };
        *since = (*since).max(*others);
        self.instance = None;
        self.staleness_limit_seconds = self.staleness_limit_seconds.max(other.staleness_limit_seconds);
        self.acknowledged = self.acknowledged.min(other.acknowledged);
        self.kept_out |= other.kept_out;
    }
}
