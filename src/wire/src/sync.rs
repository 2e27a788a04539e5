//! The messages between filter and control plane: one bidirectional gRPC stream per Envoy process and table,
//! `/keygate.sync.v1.Sync/Stream`, opened by the filter. Protobuf, proto3; the field numbers below are the specification.
//!
//! The filter says [`Hello`]; the control plane answers with a snapshot or with deltas, and with heartbeats for ever. Every message
//! of the control plane carries a `serial`, and the filter answers each with an [`Ack`] or a [`Nack`] of that serial, once all of
//! it is in force on every worker.

use std::fmt;

use prost::{Message, Oneof};

use crate::records::Position as TablePosition;

/// The gRPC service.
pub const SERVICE: &str = "keygate.sync.v1.Sync";
/// The gRPC method.
pub const METHOD: &str = "Stream";

/// Filter to control plane.
#[derive(Clone, PartialEq, Message)]
pub struct FromFilter {
    /// What is said; a message without content is a protocol error.
    #[prost(oneof = "FilterSays", tags = "1, 2, 3")]
    pub says: Option<FilterSays>,
}

/// See [`FromFilter`].
#[derive(Clone, PartialEq, Oneof)]
pub enum FilterSays {
    /// First on every stream, and never again on it.
    #[prost(message, tag = "1")]
    Hello(Hello),
    /// Done.
    #[prost(message, tag = "2")]
    Ack(Ack),
    /// Not done. The control plane sends a snapshot if the table is at fault; a refused heartbeat it only reports.
    #[prost(message, tag = "3")]
    Nack(Nack),
}

/// Who opens the stream, and what it has.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct Hello {
    /// The configured name, one Envoy process each.
    #[prost(string, tag = "1")]
    pub proxy: String,
    /// 16 random bytes of this process.
    #[prost(bytes = "vec", tag = "2")]
    pub instance: Vec<u8>,
    /// Which table.
    #[prost(string, tag = "3")]
    pub table: String,
    /// [`crate::FORMAT`] of the filter.
    #[prost(uint32, tag = "4")]
    pub format: u32,
    /// The lease's fence: of two streams of one instance and table the higher one is in charge.
    #[prost(uint64, tag = "5")]
    pub fence: u64,
    /// What the table holds; absent if there is none to build on.
    #[prost(message, optional, tag = "6")]
    pub position: Option<Position>,
    /// The exponent of the table's bucket count; 0 if there is none to build on.
    #[prost(uint32, tag = "7")]
    pub bucket_bits: u32,
    /// After so many seconds without a word from the control plane, and [`crate::echo::MOST_LATE`] more at most, the edge answers 503.
    #[prost(uint64, tag = "8")]
    pub staleness_limit_seconds: u64,
    /// The filter's version, for people.
    #[prost(string, tag = "9")]
    pub filter_version: String,
    /// The join token by which the proxy proves itself; empty if it has none.
    #[prost(string, tag = "10")]
    pub token: String,
}

impl fmt::Debug for Hello {
    /// Everything but the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("proxy", &self.proxy)
            .field("instance", &self.instance)
            .field("table", &self.table)
            .field("format", &self.format)
            .field("fence", &self.fence)
            .field("position", &self.position)
            .field("bucket_bits", &self.bucket_bits)
            .field("staleness_limit_seconds", &self.staleness_limit_seconds)
            .field("filter_version", &self.filter_version)
            .finish_non_exhaustive()
    }
}

/// A point in the control plane's history.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Position {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub epoch: Vec<u8>,
    /// See [`TablePosition`].
    #[prost(uint64, tag = "2")]
    pub revision: u64,
}

impl From<TablePosition> for Position {
    fn from(position: TablePosition) -> Self {
        Self { epoch: position.epoch.to_vec(), revision: position.revision }
    }
}

impl Position {
    /// The parsed position; `None` unless the epoch has 16 bytes.
    pub fn parse(&self) -> Option<TablePosition> {
        Some(TablePosition { epoch: self.epoch.as_slice().try_into().ok()?, revision: self.revision })
    }
}

/// "In force on every worker."
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Ack {
    /// Of the message that is answered.
    #[prost(uint64, tag = "1")]
    pub serial: u64,
    /// What the table now holds; absent while a snapshot is under way.
    #[prost(message, optional, tag = "2")]
    pub position: Option<Position>,
    /// The proxy's own clock, in milliseconds since 1970; 0 if it could not be read.
    #[prost(uint64, tag = "3")]
    pub unix_ms: u64,
}

/// "Refused."
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Nack {
    /// Of the message that is answered.
    #[prost(uint64, tag = "1")]
    pub serial: u64,
    /// Why, for people.
    #[prost(string, tag = "2")]
    pub reason: String,
    /// As in [`Ack`].
    #[prost(uint64, tag = "3")]
    pub unix_ms: u64,
    /// The message is not tried, because workers died over it or over its like.
    #[prost(bool, tag = "4")]
    pub quarantined: bool,
}

/// Control plane to filter.
#[derive(Clone, PartialEq, Message)]
pub struct FromControlPlane {
    /// Counts from 1 on each stream.
    #[prost(uint64, tag = "1")]
    pub serial: u64,
    /// What is said; a message without content is refused.
    #[prost(oneof = "ControlPlaneSays", tags = "2, 3, 4, 5, 6")]
    pub says: Option<ControlPlaneSays>,
    /// The last serial whose answer had been heard when this was said; 0 if that was only the hello. See [`crate::echo`].
    #[prost(uint64, tag = "7")]
    pub heard: u64,
}

/// See [`FromControlPlane`].
#[derive(Clone, PartialEq, Oneof)]
pub enum ControlPlaneSays {
    /// A snapshot begins.
    #[prost(message, tag = "2")]
    SnapshotBegin(SnapshotBegin),
    /// Its buckets, in order and without a gap.
    #[prost(message, tag = "3")]
    SnapshotChunk(SnapshotChunk),
    /// It is complete.
    #[prost(message, tag = "4")]
    SnapshotEnd(SnapshotEnd),
    /// What changed.
    #[prost(message, tag = "5")]
    Delta(Delta),
    /// Nothing changed; still here.
    #[prost(message, tag = "6")]
    Heartbeat(Heartbeat),
}

/// The table in full follows.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SnapshotBegin {
    /// What the table will hold. A chunk may be newer than that, never older; the deltas that follow level it out.
    #[prost(message, optional, tag = "1")]
    pub position: Option<Position>,
    /// The exponent of its bucket count.
    #[prost(uint32, tag = "2")]
    pub bucket_bits: u32,
}

/// Some whole buckets.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SnapshotChunk {
    /// The number of the first.
    #[prost(uint32, tag = "1")]
    pub first_bucket: u32,
    /// Each as [`crate::bucket`] lays it out.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub buckets: Vec<Vec<u8>>,
}

/// All buckets have been sent.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SnapshotEnd {}

/// The digests whose grants changed between two revisions, with their newest grants.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Delta {
    /// The revision it builds on.
    #[prost(uint64, tag = "1")]
    pub from: u64,
    /// The position it leads to.
    #[prost(message, optional, tag = "2")]
    pub to: Option<Position>,
    /// At most one per digest.
    #[prost(message, repeated, tag = "3")]
    pub changes: Vec<Change>,
    /// More messages with the same `from` and `to` follow: the table is not yet at `to`.
    #[prost(bool, tag = "4")]
    pub more: bool,
}

/// One digest's new grant.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Change {
    /// 32 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub digest: Vec<u8>,
    /// As [`crate::entry`] lays it out; absent when the credential must no longer pass.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub grant: Option<Vec<u8>>,
}

/// The control plane is there.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Heartbeat {
    /// Its time, in milliseconds since 1970.
    #[prost(uint64, tag = "1")]
    pub unix_ms: u64,
    /// The newest position, if everything up to it has been sent. Only a filter whose table is at this position may count this
    /// heartbeat against its staleness limit: a table that is behind must go on ageing, because the control plane may have taken
    /// it for closed already.
    #[prost(message, optional, tag = "2")]
    pub position: Option<Position>,
    /// How many credentials the newest table lets pass, for statistics.
    #[prost(uint64, tag = "3")]
    pub keys: u64,
}

/// Encodes what the filter says.
pub fn encode_filter(says: FilterSays) -> Vec<u8> {
    FromFilter { says: Some(says) }.encode_to_vec()
}

/// A [`FromControlPlane`] that says something.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// See [`FromControlPlane::serial`].
    pub serial: u64,
    /// See [`FromControlPlane::heard`].
    pub heard: u64,
    /// What is said.
    pub says: ControlPlaneSays,
}

/// Decodes what the control plane says; `None` if it cannot be read or says nothing.
pub fn decode_control_plane(bytes: &[u8]) -> Option<Said> {
    let FromControlPlane { serial, says, heard } = FromControlPlane::decode(bytes).ok()?;
    Some(Said { serial, heard, says: says? })
}

/// Longest name of an Envoy cluster that a filter can open a stream to.
pub const MAX_CLUSTER_LEN: usize = 100;

/// The serialized `envoy.config.core.v3.GrpcService{envoy_grpc{cluster_name}}` that names the cluster of a stream.
///
/// Never a bare name: Envoy tries to read it as this message first, and some names abort the process. `None` for a name that is too
/// long to stay valid UTF-8 in this form.
pub fn grpc_service(cluster: &str) -> Option<String> {
    let service = EnvoyGrpcService { envoy_grpc: Some(EnvoyGrpc { cluster_name: cluster.to_owned() }) };
    (cluster.len() <= MAX_CLUSTER_LEN).then(|| String::from_utf8(service.encode_to_vec()).ok()).flatten()
}

#[derive(Clone, PartialEq, Eq, Message)]
struct EnvoyGrpcService {
    #[prost(message, optional, tag = "1")]
    envoy_grpc: Option<EnvoyGrpc>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct EnvoyGrpc {
    #[prost(string, tag = "1")]
    cluster_name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_never_named_bare() {
        let service = grpc_service("auth-sync").unwrap();
        assert_eq!(service.as_bytes(), b"\x0a\x0b\x0a\x09auth-sync");
        assert!(grpc_service(&"x".repeat(MAX_CLUSTER_LEN)).is_some());
        assert!(grpc_service(&"x".repeat(MAX_CLUSTER_LEN + 1)).is_none());
    }

    #[test]
    fn a_message_that_says_nothing_is_refused() {
        assert_eq!(decode_control_plane(&[]), None);
        assert_eq!(decode_control_plane(&[0xFF; 20]), None);
        let says = ControlPlaneSays::SnapshotEnd(SnapshotEnd {});
        let message = FromControlPlane { serial: 3, says: Some(says.clone()), heard: 2 };
        assert_eq!(decode_control_plane(&message.encode_to_vec()), Some(Said { serial: 3, heard: 2, says }));
    }
}
