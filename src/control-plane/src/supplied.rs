//! The halves of a key that an admin brings along, from a system where they are in use. Owns which are acceptable: keys are stored as
//! plain digests, which is safe only for secrets that nobody can guess. What was once drawn at random can be told from what somebody
//! made up only roughly, so this is a check for mistakes: whoever supplies a secret answers for it.

use std::collections::BTreeSet;
use std::fmt;

use keygate_decision::Digest;
use keygate_decision::key::SecretKey;

use crate::name::Label;

/// Longest secret, in bytes.
const LONGEST: usize = 256;
/// So hard it must be to guess, in hundredths of a bit.
const LEAST: usize = 12_800;
/// Who shows this name as Basic user shows a login's token beside it.
const RESERVED: &str = "x-api-bearer";

/// A secret that was not drawn here. Prints as `SuppliedSecret(..)`.
#[derive(Clone)]
pub(crate) struct SuppliedSecret(String);

impl SuppliedSecret {
    /// Takes a secret; the error says what is accepted.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let carried = text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        let distinct = text.bytes().collect::<BTreeSet<_>>().len();
        let (per_character, fewest) = strength(text);
        if carried && distinct >= fewest && text.len() * per_character >= LEAST {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "must be random, of 128 bits or more: 32 hexadecimal digits, or 22 letters of both cases and digits; at most {LONGEST} \
             printable ASCII characters without blanks and commas. Leave it out to have one drawn"
        ))
    }

    /// The digest of a key of this secret and this access key.
    pub(crate) fn digest(&self, access: &Label) -> Digest {
        Digest::of(&[access.as_str(), &self.0].join(":"))
    }

    /// The plain secret. For the one reply that shows it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&SecretKey> for SuppliedSecret {
    /// One that was drawn here, to go with an access key that was not.
    fn from(drawn: &SecretKey) -> Self {
        Self(drawn.expose().to_owned())
    }
}

impl fmt::Debug for SuppliedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SuppliedSecret(..)")
    }
}

/// Takes an access key that was not drawn here; the error says what is accepted.
pub(crate) fn access_key(text: &str) -> Result<Label, String> {
    let label = Label::parse(text)?;
    // Storage tells them apart by any case; so does this.
    if text.to_ascii_lowercase().starts_with(RESERVED) {
        return Err(format!("must not begin with {RESERVED}, which stands for a login"));
    }
    // Where a comma stands in Authorization, two values were joined.
    if text.contains(',') {
        return Err("must hold no comma".to_owned());
    }
    Ok(label)
}

/// What a character tells at most, in hundredths of a bit, and how many different ones there must be. Letters alone are words.
fn strength(text: &str) -> (usize, usize) {
    let has = |is: fn(&u8) -> bool| text.bytes().any(|byte| is(&byte));
    let (upper, lower, digit) = (has(u8::is_ascii_uppercase), has(u8::is_ascii_lowercase), has(u8::is_ascii_digit));
    let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit()) && !(upper && lower);
    match () {
        () if !digit => (0, 0),
        () if !upper && !lower => (332, 8),
        () if hexadecimal => (400, 8),
        () if upper && lower => (595, 12),
        () => (516, 12),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_somebody_made_up_is_refused() {
        for good in [
            "0123456789abcdef0123456789abcdef",
            "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMN2Q",
            "tR7uQz2vKpLm9XcWbN4sYd",
            "7zq2m4x6c8v1b3n5k9j0hgfds",
            "p4+Q/8xZ=wv2:Ls9Tq-r6Yh",
        ] {
            assert!(SuppliedSecret::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "secret",
            "correct horse battery staple 1",
            "CorrectHorseBatteryStapleAndSoOnForLong",
            "0123456789abcdef0123456789abcde",
            "tR7uQz2vKpLm9XcWbN4sY",
            "a1A2a1A2a1A2a1A2a1A2a1A2a1A2a1A2",
            "tR7uQz2vKpLm9XcWbN4sYd,x",
            "tR7uQz2vKpLm9XcWbN4sYd\u{e4}",
            &"tR7uQz2vKpLm9XcWbN4sYd".repeat(12),
        ] {
            assert!(SuppliedSecret::parse(bad).is_err(), "{bad}");
        }
        assert!(!format!("{:?}", SuppliedSecret::parse("tR7uQz2vKpLm9XcWbN4sYd").unwrap()).contains("tR7"));
    }

    #[test]
    fn an_access_key_never_stands_for_a_login() {
        assert!(access_key("ci-runner").is_ok());
        for bad in ["", "a:b", "a,b", "X-API-Bearer", "x-api-bearer=1a5"] {
            assert!(access_key(bad).is_err(), "{bad}");
        }
    }
}
