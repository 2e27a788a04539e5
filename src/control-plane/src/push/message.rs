//! Encoded messages to a filter. Their serial and what was heard differ for each stream, the rest is shared: protobuf lets the fields of a
//! message be written one after the other, so that these are put before a body that was encoded once.

use keygate_wire::sync::{ControlPlaneSays, FromControlPlane};
use prost::Message;
use prost::bytes::{BufMut, Bytes};

/// What a [`FromControlPlane`] says, encoded; a clone shares the bytes.
#[derive(Clone, Debug)]
pub(super) struct Body(Bytes);

impl Body {
    /// Encodes what is said.
    pub(super) fn new(says: ControlPlaneSays) -> Self {
        Self(FromControlPlane { says: Some(says), ..FromControlPlane::default() }.encode_to_vec().into())
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// One message on one stream.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Counts from 1 on each stream.
    pub(super) serial: u64,
    /// The last serial that the filter had answered.
    pub(super) heard: u64,
    /// What is said.
    pub(super) body: Body,
}

impl Outgoing {
    /// Writes the whole [`FromControlPlane`].
    pub(super) fn encode(&self, buffer: &mut impl BufMut) {
        prost::encoding::uint64::encode(1, &self.serial, buffer);
        prost::encoding::uint64::encode(7, &self.heard, buffer);
        buffer.put_slice(&self.body.0);
    }
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// The time, and which position is the newest.
    Heartbeat,
    /// A snapshot of the table at a revision.
    Snapshot(u64),
    /// A delta to a revision.
    Delta(u64),
}

#[cfg(test)]
mod tests {
    use keygate_wire::sync::Heartbeat;

    use super::*;

    #[test]
    fn a_message_reads_as_if_it_had_been_encoded_whole() {
        let says = ControlPlaneSays::Heartbeat(Heartbeat { unix_ms: 5, position: None, keys: 0 });
        let mut bytes = Vec::new();
        Outgoing { serial: 300, heard: 299, body: Body::new(says.clone()) }.encode(&mut bytes);
        let whole = FromControlPlane { serial: 300, says: Some(says), heard: 299 };
        assert_eq!(FromControlPlane::decode(bytes.as_slice()), Ok(whole));
    }
}
