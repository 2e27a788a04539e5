//! Join tokens, by which a proxy proves its name: `kgj_` and 40 letters and digits. Owns their form; the text never prints.

use std::fmt;

use keygate_decision::Digest;
use keygate_decision::key::{SecretKey, TOKEN_PREFIX};

/// What every join token begins with; secret scanners may look for it.
pub const PREFIX: &str = "kgj_";
const RANDOM_LEN: usize = 40;

/// A join token. Prints as `JoinToken(..)`.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken(String);

impl JoinToken {
    /// Makes a token of 128 random bytes: over 200 random bits. `None` in the practically impossible case that they do not suffice.
    pub fn from_random(bytes: &[u8; 128]) -> Option<Self> {
        Some(Self(format!("{PREFIX}{}", SecretKey::from_random(bytes)?.expose())))
    }

    /// Parses a token; `None` unless it has the form above.
    pub fn parse(text: &str) -> Option<Self> {
        let random = text.strip_prefix(PREFIX)?;
        (random.len() == RANDOM_LEN && random.bytes().all(|b| b.is_ascii_alphanumeric())).then(|| Self(text.to_owned()))
    }

    /// The plain text, for the reply that creates it and for the proxy's Hello.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The digest under which the control plane knows it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(..)")
    }
}

/// A text with whatever in it may be a join token or a key blotted out: for messages that quote what they could not read.
pub fn redact(text: &str) -> String {
    let (mut redacted, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(letter) = rest.chars().next() {
        let secret = [PREFIX, TOKEN_PREFIX].into_iter().find_map(|prefix| Some((prefix, rest.strip_prefix(prefix)?)));
        if let Some((prefix, behind)) = secret {
            redacted.push_str(prefix);
            redacted.push_str("..");
            rest = behind.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        } else {
            redacted.push(letter);
            rest = rest.get(letter.len_utf8()..).unwrap_or_default();
        }
    }
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_form_and_never_prints() {
        let bytes = std::array::from_fn(|index| (index * 7 % 256) as u8);
        let token = JoinToken::from_random(&bytes).unwrap();
        assert_eq!(JoinToken::parse(token.expose()), Some(token.clone()));
        assert_eq!(format!("{token:?}"), "JoinToken(..)");
        assert_eq!(token.digest(), Digest::of(token.expose()));
        let random = token.expose().strip_prefix(PREFIX).unwrap();
        for text in ["", PREFIX, random, &format!("kg_{random}"), &format!("{PREFIX}{random}x"), &format!(" {PREFIX}{random}")] {
            assert_eq!(JoinToken::parse(text), None, "{text}");
        }
        assert_eq!(JoinToken::parse(&format!("{PREFIX}{}-", &random[1..])), None);
    }

    #[test]
    fn whatever_may_be_a_token_is_blotted_out() {
        assert_eq!(redact("string \"kgj_abc123\", and kgj_"), "string \"kgj_..\", and kgj_..");
        assert_eq!(redact("\"kg_0123_secret_crc\": kg_"), "\"kg_..\": kg_..");
        assert_eq!(redact("nothing here"), "nothing here");
    }
}
