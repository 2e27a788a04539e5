//! The one place that draws randomness: new keys, logins, join tokens, salts and epochs. It never stores or prints what it draws.

use keygate_decision::key::{AccessKey, KeyPair, SecretKey};
use keygate_wire::JoinToken;

/// The operating system gave no randomness, so nothing secret can be made.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no randomness: {0}")]
pub(crate) struct NoRandomness(String);

/// A new key: 80 random bits of access key, over 200 of secret.
pub(crate) fn key_pair() -> Result<KeyPair, NoRandomness> {
    let access = AccessKey::from_random(bytes()?);
    Ok(KeyPair { access, secret: secret()? })
}

/// A new secret, half of a key or a login by itself: over 200 random bits in 40 characters, the form in which Rancher 1.6 has them.
pub(crate) fn secret() -> Result<SecretKey, NoRandomness> {
    SecretKey::from_random(&bytes()?).ok_or_else(|| NoRandomness("its bytes are no random ones".to_owned()))
}

/// A new join token.
pub(crate) fn join_token() -> Result<JoinToken, NoRandomness> {
    JoinToken::from_random(&bytes()?).ok_or_else(|| NoRandomness("its bytes are no random ones".to_owned()))
}

/// Random characters of those that Rancher 2 draws, none of which is mistaken for another: over 4.7 bits each.
pub(crate) fn letters(count: usize) -> Result<String, NoRandomness> {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    // The largest multiple of 27 in a byte: past it some characters would be likelier than others.
    const FAIR: u8 = 243;
    let mut text = String::with_capacity(count);
    while text.len() < count {
        let drawn: [u8; 64] = bytes()?;
        let fair = drawn.iter().filter(|byte| **byte < FAIR).filter_map(|byte| ALPHABET.get(usize::from(byte % 27)));
        let missing = count - text.len();
        text.extend(fair.take(missing).map(|byte| char::from(*byte)));
    }
    Ok(text)
}

/// Random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| NoRandomness(error.to_string()))?;
    Ok(bytes)
}
