//! What a filter reports of keys that have passed: one unary gRPC call, `/keygate.sync.v1.Sync/ReportUsage`, beside the stream of
//! [`crate::sync`]. Protobuf, proto3; the field numbers below are the specification.
//!
//! Times are told as ages, so that clocks that differ do not matter and nothing was used in the future. A control plane that does not
//! know the call answers UNIMPLEMENTED, and a table does not depend on it: it has no part in [`crate::FORMAT`].

use std::fmt;
use std::time::Duration;

use keygate_decision::KeyId;
use prost::Message;

/// The gRPC method, of [`crate::sync::SERVICE`].
pub const METHOD: &str = "ReportUsage";

/// At most so many keys in one report: it stays below 64 KiB whatever their ids and ages.
pub const MAX_KEYS: usize = 4096;

/// gRPC's code of a control plane that does not know the call.
pub const UNIMPLEMENTED: u32 = 12;

/// Which keys have passed, and how long ago each did last.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub struct UsageReport {
    /// The configured name of the proxy, as in its Hello.
    #[prost(string, tag = "1")]
    pub proxy: String,
    /// The join token by which it proves that name; empty if it has none.
    #[prost(string, tag = "2")]
    pub token: String,
    /// Which table the keys are of.
    #[prost(string, tag = "3")]
    pub table: String,
    /// The keys, each once.
    #[prost(uint64, repeated, tag = "4")]
    pub keys: Vec<u64>,
    /// For each of them, in the same order, how many seconds ago it passed last.
    #[prost(uint32, repeated, tag = "5")]
    pub seconds_ago: Vec<u32>,
}

/// The report was taken in.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct UsageNoted {}

impl UsageReport {
    /// The keys with how long ago each passed; `None` for more than [`MAX_KEYS`], or if not every key has an age.
    pub fn uses(&self) -> Option<Vec<(KeyId, Duration)>> {
        let ages = self.seconds_ago.iter().map(|seconds| Duration::from_secs(u64::from(*seconds)));
        let whole = self.keys.len() <= MAX_KEYS && self.keys.len() == self.seconds_ago.len();
        whole.then(|| self.keys.iter().map(|key| KeyId(*key)).zip(ages).collect())
    }

    /// The report as it travels.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

impl fmt::Debug for UsageReport {
    /// Everything but the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsageReport")
            .field("proxy", &self.proxy)
            .field("table", &self.table)
            .field("keys", &self.keys)
            .field("seconds_ago", &self.seconds_ago)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(keys: &[u64], seconds_ago: &[u32]) -> UsageReport {
        let (proxy, token, table) = ("p".repeat(64), "secret ".repeat(7), "t".repeat(64));
        UsageReport { proxy, token, table, keys: keys.to_vec(), seconds_ago: seconds_ago.to_vec() }
    }

    #[test]
    fn the_longest_report_is_shorter_than_a_control_plane_reads() {
        let longest = report(&[u64::MAX; MAX_KEYS], &[u32::MAX; MAX_KEYS]);
        assert!(longest.encoded_len() < 64 * 1024, "{}", longest.encoded_len());
        let again = UsageReport::decode(longest.to_bytes().as_slice()).unwrap();
        assert_eq!(again.uses().map(|uses| uses.len()), Some(MAX_KEYS));
        assert!(!format!("{again:?}").contains(&longest.token));
    }

    #[test]
    fn a_report_tells_an_age_for_every_key() {
        let uses = report(&[7, 9], &[0, 60]).uses();
        assert_eq!(uses, Some(vec![(KeyId(7), Duration::ZERO), (KeyId(9), Duration::from_secs(60))]));
        assert_eq!(report(&[], &[]).uses(), Some(Vec::new()));
        assert_eq!(report(&[7, 9], &[0]).uses(), None);
        assert_eq!(report(&[7], &[0, 60]).uses(), None);
        assert_eq!(report(&[7; MAX_KEYS + 1], &[0; MAX_KEYS + 1]).uses(), None);
    }
}
