//! A short name for a credential that was presented before, for whoever remembers what it found then: cheaper than the digest, and good
//! for nothing to anyone who lacks the key. It never stands in for the digest in a table, and never leaves the memory it was made in.
//!
//! It is SipHash-2-4 with 128 bits: a keyed hash in which nobody without the key finds two values with one fingerprint.

/// A key for fingerprints: random, and never told.
#[derive(Clone, Copy)]
pub struct FingerprintKey(u64, u64);

/// A fingerprint: equal for equal values under one key, and for others with a chance of one in 2^128.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64, u64);

impl Fingerprint {
    /// One of so many indexes, all equally likely, that nobody without the key can aim at.
    pub(crate) fn index(self, count: usize) -> usize {
        self.0 as usize % count
    }

    /// Another index, which the first tells nothing about.
    pub(crate) fn other_index(self, count: usize) -> usize {
        self.1 as usize % count
    }
}

impl FingerprintKey {
    /// A key of random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        let number = u128::from_le_bytes(bytes);
        Self(number as u64, (number >> 64) as u64)
    }

    /// The fingerprint of some bytes; `kind` tells apart those that mean different things.
    pub fn fingerprint(&self, kind: u8, bytes: &[u8]) -> Fingerprint {
        let mut state = State {
            a: self.0 ^ 0x736f_6d65_7073_6575,
            b: self.1 ^ 0x646f_7261_6e64_6f6d ^ 0xEE,
            c: self.0 ^ 0x6c79_6765_6e65_7261,
            d: self.1 ^ 0x7465_6462_7974_6573,
        };
        // The kind stands before the bytes.
        let (first, rest) = bytes.split_at_checked(7).unwrap_or((bytes, &[]));
        let first = u64::from(kind) | little_endian(first) << 8;
        let last = ((bytes.len() as u64).wrapping_add(1)) << 56;
        if bytes.len() < 7 {
            state.take(first | last);
        } else {
            state.take(first);
            let (words, tail) = rest.as_chunks::<8>();
            words.iter().for_each(|word| state.take(u64::from_le_bytes(*word)));
            state.take(little_endian(tail) | last);
        }
        state.c ^= 0xEE;
        (0..4).for_each(|_| state.round());
        let low = state.folded();
        state.b ^= 0xDD;
        (0..4).for_each(|_| state.round());
        Fingerprint(low, state.folded())
    }
}

/// Fewer than eight bytes as a number.
fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

struct State {
    a: u64,
    b: u64,
    c: u64,
    d: u64,
}

impl State {
    fn take(&mut self, word: u64) {
        self.d ^= word;
        self.round();
        self.round();
        self.a ^= word;
    }

    fn round(&mut self) {
        self.a = self.a.wrapping_add(self.b);
        self.b = self.b.rotate_left(13) ^ self.a;
        self.a = self.a.rotate_left(32);
        self.c = self.c.wrapping_add(self.d);
        self.d = self.d.rotate_left(16) ^ self.c;
        self.a = self.a.wrapping_add(self.d);
        self.d = self.d.rotate_left(21) ^ self.a;
        self.c = self.c.wrapping_add(self.b);
        self.b = self.b.rotate_left(17) ^ self.c;
        self.c = self.c.rotate_left(32);
    }

    fn folded(&self) -> u64 {
        self.a ^ self.b ^ self.c ^ self.d
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the authors of SipHash, for messages 00, 00 01, ... under the key 00 01 .. 0f.
    #[test]
    fn it_is_siphash() {
        let key = FingerprintKey::from_random(std::array::from_fn(|i| i as u8));
        let message: Vec<u8> = (1..64).collect();
        for (len, expected) in [
            (1, "da87c1d86b99af44347659119b22fc45"),
            (2, "8177228da4a45dc7fca38bdef60affe4"),
            (3, "9c70b60c5267a94e5f33b6b02985ed51"),
            (7, "a1f1ebbed8dbc153c0b84aa61ff08239"),
            (8, "3b62a9ba6258f5610f83e264f31497b4"),
            (9, "264499060ad9baabc47f8b02bb6d71ed"),
            (63, "5150d1772f50834a503e069a973fbd7c"),
        ] {
            let Fingerprint(low, high) = key.fingerprint(0, &message[..len - 1]);
            assert_eq!(hex::encode([low.to_le_bytes(), high.to_le_bytes()].concat()), expected, "{len} bytes");
        }
    }

    #[test]
    fn another_key_or_kind_gives_another_fingerprint() {
        let [one, two] = [[1; 16], [2; 16]].map(FingerprintKey::from_random);
        assert!(one.fingerprint(0, b"a:b") == one.fingerprint(0, b"a:b"));
        assert!(one.fingerprint(0, b"a:b") != two.fingerprint(0, b"a:b"));
        assert!(one.fingerprint(0, b"a:b") != one.fingerprint(1, b"a:b"));
    }
}
