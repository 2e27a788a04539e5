//! What names an environment: the id that requests carry, and the short reference that grants carry.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// An environment's id as requests carry it: 1 to 64 characters of `[A-Za-z0-9._:-]`, not dots alone.
///
/// Two ids that differ only in case are different here; the control plane never lets both exist. A clone shares the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvironmentId(Arc<str>);

/// The text is no environment id; the message says what one looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidEnvironmentId;

impl fmt::Display for InvalidEnvironmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an environment id is 1 to 64 characters of A-Z a-z 0-9 . _ : - and not dots alone")
    }
}

impl std::error::Error for InvalidEnvironmentId {}

impl EnvironmentId {
    /// Longest id, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Parses an id.
    ///
    /// # Errors
    /// [`InvalidEnvironmentId`] if the text is empty, too long, dots alone or holds any other character.
    pub fn parse(text: &str) -> Result<Self, InvalidEnvironmentId> {
        if Self::is_valid(text) { Ok(Self(text.into())) } else { Err(InvalidEnvironmentId) }
    }

    /// Whether the text is an id.
    pub fn is_valid(text: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        let dots_alone = text.bytes().all(|byte| byte == b'.');
        text.len() <= Self::MAX_LEN && !dots_alone && text.bytes().all(allowed)
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The reference that grants carry for this environment.
    pub fn reference(&self) -> EnvironmentRef {
        let hash: [u8; 32] = Sha256::digest(self.0.as_bytes()).into();
        let mut short = [0; 16];
        short.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        EnvironmentRef(short)
    }
}

impl fmt::Display for EnvironmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first 16 bytes of the SHA-256 of an environment's id: fixed in size, so that a long reach stays compact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvironmentRef([u8; 16]);

impl EnvironmentRef {
    /// A reference read from a message or from the table.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_documented_systems_parse() {
        for id in ["1a5", "c-abcde", "c-abcde:p-xyz", "4", "local", "a.b", "...a", &"x".repeat(64)] {
            assert!(EnvironmentId::parse(id).is_ok(), "{id}");
        }
    }

    #[test]
    fn anything_that_a_path_could_reinterpret_is_refused() {
        for id in ["", ".", "..", "...", "a/b", "a%2fb", "a b", "ä", "a;b", "a\\b", &"x".repeat(65)] {
            assert_eq!(EnvironmentId::parse(id), Err(InvalidEnvironmentId), "{id}");
        }
    }
}
