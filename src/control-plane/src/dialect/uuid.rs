//! UUIDs, for clients that expect one at each thing. Nothing is found by one.

use keygate_decision::Digest;

/// Sixteen bytes in the form of a UUID.
pub(crate) fn uuid(bytes: [u8; 16]) -> String {
    let hex = hex::encode(bytes);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| hex.get(range).unwrap_or_default());
    parts.join("-")
}

/// One that always comes out the same for the same thing.
pub(crate) fn uuid_of(thing: &str) -> String {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(Digest::of(thing).as_bytes()).for_each(|(to, from)| *to = *from);
    uuid(bytes)
}
