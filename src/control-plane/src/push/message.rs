//! Encoded messages to a filter. Their serial differs for each stream, the rest is shared: protobuf lets the fields of a message be
//! written one after the other, so that the serial is put before a body that was encoded once.

use keygate_wire::sync::{ControlPlaneSays, FromControlPlane};
use prost::Message;
use prost::bytes::{BufMut, Bytes};

/// A [`FromControlPlane`] without its serial, encoded; a clone shares the bytes.
#[derive(Clone, Debug)]
pub(super) struct Body(Bytes);

impl Body {
    /// Encodes what is said.
    pub(super) fn new(says: ControlPlaneSays) -> Self {
        Self(FromControlPlane { serial: 0, says: Some(says) }.encode_to_vec().into())
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
    /// What is said.
    pub(super) body: Body,
}

impl Outgoing {
    /// Writes the whole [`FromControlPlane`].
    pub(super) fn encode(&self, buffer: &mut impl BufMut) {
        prost::encoding::uint64::encode(1, &self.serial, buffer);
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
        Outgoing { serial: 300, body: Body::new(says.clone()) }.encode(&mut bytes);
        assert_eq!(FromControlPlane::decode(bytes.as_slice()), Ok(FromControlPlane { serial: 300, says: Some(says) }));
    }
}
