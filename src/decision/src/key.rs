//! A key's two halves and its one-string form. Plain secrets live in these types and nowhere else, and they never print.
//!
//! Formats: access key 20 upper-case hex characters, secret 40 characters (both as Rancher 1.6 makes them); one string
//! `kg_<access>_<secret>_<crc32>`, where the checksum is CRC-32 (IEEE) over all before its `_`, 8 lower-case hex characters, so
//! that a mistyped one dies before any lookup.

use std::fmt;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::digest::Digest;

const ACCESS_LEN: usize = 20;
const SECRET_LEN: usize = 40;

/// The public half of a key: 20 upper-case hex characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey(String);

impl AccessKey {
    /// Makes an access key of ten random bytes.
    pub fn from_random(bytes: [u8; 10]) -> Self {
        Self(hex::encode_upper(bytes))
    }

    /// Parses an access key; `None` unless it is 20 upper-case hex characters.
    pub fn parse(text: &str) -> Option<Self> {
        Self::is_valid(text).then(|| Self(text.to_owned()))
    }

    fn is_valid(text: &str) -> bool {
        text.len() == ACCESS_LEN && text.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
    }

    /// The 20 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The secret half of a key: 40 letters and digits without `O`, `0`, `l` and `I`. Prints as `SecretKey(..)`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(String);

impl SecretKey {
    /// Makes a secret of 128 random bytes the way Rancher 1.6 does: base64 without look-alikes and signs, its first 40
    /// characters. `None` in the practically impossible case that fewer than 40 characters are left.
    pub fn from_random(bytes: &[u8; 128]) -> Option<Self> {
        let text: String = STANDARD.encode(bytes).chars().filter(|c| is_secret_char(*c)).take(SECRET_LEN).collect();
        (text.len() == SECRET_LEN).then_some(Self(text))
    }

    /// Parses a secret; `None` unless it has the form above.
    pub fn parse(text: &str) -> Option<Self> {
        Self::is_valid(text).then(|| Self(text.to_owned()))
    }

    fn is_valid(text: &str) -> bool {
        text.len() == SECRET_LEN && text.bytes().all(|b| is_secret_char(char::from(b)))
    }

    /// The plain secret. For the one reply that shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

fn is_secret_char(c: char) -> bool {
    c.is_ascii_alphanumeric() && !matches!(c, 'O' | '0' | 'l' | 'I')
}

/// Both halves of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// The public half.
    pub access: AccessKey,
    /// The secret half.
    pub secret: SecretKey,
}

impl KeyPair {
    /// Parses the one-string form; `None` for any other text and for a wrong checksum.
    pub fn parse_token(token: &str) -> Option<Self> {
        let (access, secret) = split_token(token)?;
        Some(Self { access: AccessKey::parse(access)?, secret: SecretKey::parse(secret)? })
    }

    /// The one-string form.
    pub fn token(&self) -> String {
        let body = format!("{TOKEN_PREFIX}{}_{}", self.access.0, self.secret.0);
        let checksum = checksum(body.as_bytes());
        format!("{body}_{checksum:08x}")
    }

    /// The canonical string: `access:secret`, whichever way the key was presented.
    pub fn canonical(&self) -> String {
        canonical(&self.access.0, &self.secret.0)
    }

    /// The digest under which the table knows this key.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.canonical())
    }
}

/// What every one-string key begins with; secret scanners may look for it.
pub const TOKEN_PREFIX: &str = "kg_";

/// The canonical string of a key in its one-string form; `None` for any other text and for a wrong checksum.
pub(crate) fn canonical_of_token(token: &str) -> Option<String> {
    split_token(token).map(|(access, secret)| canonical(access, secret))
}

/// The two halves of a key in its one-string form, both valid, and its checksum right.
fn split_token(token: &str) -> Option<(&str, &str)> {
    let (access, rest) = token.strip_prefix(TOKEN_PREFIX)?.split_at_checked(ACCESS_LEN)?;
    let (secret, rest) = rest.strip_prefix('_')?.split_at_checked(SECRET_LEN)?;
    let expected = rest.strip_prefix('_')?;
    let body = token.get(..token.len() - rest.len())?;
    let mut checksum = [0; 8];
    hex::encode_to_slice(self::checksum(body.as_bytes()).to_be_bytes(), &mut checksum).ok()?;
    let valid = AccessKey::is_valid(access) && SecretKey::is_valid(secret) && checksum == expected.as_bytes();
    valid.then_some((access, secret))
}

/// CRC-32 (IEEE), byte by byte.
fn checksum(bytes: &[u8]) -> u32 {
    // Made at run time: lying in the filter's module, it would weigh more than what makes it.
    static REMAINDERS: LazyLock<[u32; 256]> = LazyLock::new(|| std::array::from_fn(|byte| remainder(byte as u32)));
    let remainders = &*REMAINDERS;
    let looked_up = |byte: u8| remainders.get(usize::from(byte)).copied().unwrap_or_default();
    !bytes.iter().fold(!0, |crc, byte| crc >> 8 ^ looked_up(crc as u8 ^ byte))
}

/// What is left of one byte, bits reversed, after division by the polynomial of CRC-32.
fn remainder(byte: u32) -> u32 {
    (0..8).fold(byte, |rest, _| rest >> 1 ^ if rest & 1 == 1 { 0xEDB8_8320 } else { 0 })
}

fn canonical(access: &str, secret: &str) -> String {
    [access, secret].join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> KeyPair {
        KeyPair {
            access: AccessKey::from_random([0xAB, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
            secret: SecretKey::from_random(&std::array::from_fn(|i| u8::try_from(i * 7 % 251).unwrap())).unwrap(),
        }
    }

    #[test]
    fn the_one_string_form_is_the_same_key() {
        let token = pair().token();
        assert_eq!(token.len(), 73);
        assert_eq!(KeyPair::parse_token(&token), Some(pair()));
        assert_eq!(pair().digest(), Digest::of(&pair().canonical()));
    }

    #[test]
    fn the_checksum_is_the_one_that_everybody_knows() {
        assert_eq!(checksum(b""), 0);
        assert_eq!(checksum(b"123456789"), 0xCBF4_3926);
        assert_eq!(checksum(b"The quick brown fox jumps over the lazy dog"), 0x414F_A339);
    }

    #[test]
    fn a_mistyped_token_is_not_a_key() {
        let token = pair().token();
        for position in 0..token.len() {
            let mut typo: Vec<u8> = token.clone().into_bytes();
            typo[position] = if typo[position] == b'a' { b'b' } else { b'a' };
            let typo = String::from_utf8(typo).unwrap();
            if typo != token {
                assert_eq!(KeyPair::parse_token(&typo), None, "{position}");
            }
        }
        // Signs of several bytes, and those that mean something elsewhere, for each, before each and behind the last.
        for (position, sign) in
            (0..=token.len()).flat_map(|position| ["é", "🔑", "_", ":", ",", " ", "\0"].map(|sign| (position, sign)))
        {
            let (before, after) = token.split_at(position);
            assert_eq!(KeyPair::parse_token(&[before, sign, after].concat()), None, "{sign:?} at {position}");
            let replaced = [before, sign, after.get(1..).unwrap_or_default()].concat();
            assert_eq!(KeyPair::parse_token(&replaced), (replaced == token).then(pair), "{sign:?} at {position}");
        }
        assert_eq!(KeyPair::parse_token(&token.to_uppercase()), None);
        assert_eq!(KeyPair::parse_token(&format!("{token}a")), None);
    }

    #[test]
    fn a_secret_never_prints() {
        assert!(!format!("{:?}", pair()).contains(pair().secret.expose()));
    }
}
