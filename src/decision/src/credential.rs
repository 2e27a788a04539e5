//! From header values to one canonical string. Owns which spellings of a credential are one and the same, and which have none.
//! It never compares secrets and never returns one: only the [`Digest`] leaves, or an [`Outline`] for people. How many of them a request
//! carries is [`crate::credentials`]' affair.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::digest::Digest;
use crate::key::{self, AccessKey, TOKEN_PREFIX};

/// Longest credential that is looked at, in bytes of its header value.
pub const MAX_CREDENTIAL_LEN: usize = 4096;

/// The scheme of an `Authorization` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `Basic base64(access:secret)`.
    Basic,
    /// `Bearer`, followed by any string that [`from_opaque`] takes.
    Bearer,
    /// Such a string alone.
    None,
}

/// What may be said of a credential to people: never its secret, nor any part of what may be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outline {
    /// A key, by its public half.
    Key(AccessKey),
    /// Anything else, by the length of its canonical string in bytes.
    Opaque(usize),
}

impl Outline {
    fn of(canonical: &str) -> Self {
        let access = canonical.split_once(':').and_then(|(access, _)| AccessKey::parse(access));
        access.map_or(Self::Opaque(canonical.len()), Self::Key)
    }
}

/// Reads an `Authorization` value: its scheme, and its digest unless it has no canonical string. `None` for an unknown scheme
/// and for what is too long or no text.
pub fn from_authorization(value: &[u8]) -> Option<(Scheme, Option<Digest>)> {
    read_authorization(value, Digest::of)
}

/// As [`from_authorization`], for people.
pub fn outline_of_authorization(value: &[u8]) -> Option<(Scheme, Option<Outline>)> {
    read_authorization(value, Outline::of)
}

/// Reads a Basic value of this user, whose password is a token: `None` for any other value, else what `read` makes of the token.
pub(crate) fn token_of_basic<T>(value: &[u8], user: &str, read: fn(&[u8]) -> T) -> Option<T> {
    of_user(value, user, |_, token| read(token.as_bytes()))
}

/// Reads a Basic value of this user for what it says of an environment: what stands behind the user's name and `=`, if that stands there.
pub fn environment_of_basic(value: &[u8], user: &str) -> Option<String> {
    of_user(value, user, |environment, _| environment.map(str::to_owned)).flatten()
}

/// Reads a credential that stands alone in a carrier: `access:secret`, the one-string key, or any opaque token.
pub fn from_opaque(value: &[u8]) -> Option<Digest> {
    canonical_opaque(value).map(|canonical| Digest::of(&canonical))
}

/// As [`from_opaque`], for people.
pub fn outline_of_opaque(value: &[u8]) -> Option<Outline> {
    canonical_opaque(value).map(|canonical| Outline::of(&canonical))
}

/// A cookie's or a query parameter's value without the word `bearer`, which Rancher 1.6 allows before it.
pub fn without_bearer(value: &[u8]) -> &[u8] {
    match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii_start(),
        _ => value,
    }
}

fn read_authorization<T>(value: &[u8], from_canonical: fn(&str) -> T) -> Option<(Scheme, Option<T>)> {
    let Some((scheme, parameter)) = scheme_and_parameter(value) else {
        let alone = trimmed(value)?;
        return Some((Scheme::None, canonical_opaque(alone.as_bytes()).map(|canonical| from_canonical(&canonical))));
    };
    if scheme.eq_ignore_ascii_case("basic") {
        Some((Scheme::Basic, canonical_basic(parameter).map(|canonical| from_canonical(&canonical))))
    } else if scheme.eq_ignore_ascii_case("bearer") {
        Some((Scheme::Bearer, canonical_opaque(parameter.as_bytes()).map(|canonical| from_canonical(&canonical))))
    } else {
        None
    }
}

/// Whether an `Authorization` value is Basic, and its user this one, in any letter case, alone or with `=` and more behind the name: then
/// that more and the password are read.
fn of_user<T>(value: &[u8], user: &str, read: impl FnOnce(Option<&str>, &str) -> T) -> Option<T> {
    let (scheme, parameter) = scheme_and_parameter(value)?;
    if !scheme.eq_ignore_ascii_case("basic") || !may_begin_with(parameter, user) {
        return None;
    }
    let decoded = canonical_basic(parameter)?;
    let (name, password) = decoded.split_once(':')?;
    let (name, more) = name.split_at_checked(user.len())?;
    let more = if more.is_empty() { None } else { Some(more.strip_prefix('=')?) };
    name.eq_ignore_ascii_case(user).then(|| read(more, password))
}

/// Whether Base64 may stand for a text that begins as this one, in any letter case. Most users are others, which the first letters show.
fn may_begin_with(base64: &str, text: &str) -> bool {
    let mut start = [0; 3];
    let decoded = base64.get(..4).map(|quartet| STANDARD.decode_slice(quartet, &mut start));
    match (decoded, text.as_bytes().get(..3)) {
        (Some(Ok(3)), Some(expected)) => start.eq_ignore_ascii_case(expected),
        _ => true,
    }
}

fn scheme_and_parameter(value: &[u8]) -> Option<(&str, &str)> {
    let (scheme, parameter) = trimmed(value)?.split_once([' ', '\t'])?;
    Some((scheme, parameter.trim_start_matches([' ', '\t'])))
}

fn trimmed(value: &[u8]) -> Option<&str> {
    Some(short_text(value)?.trim_matches([' ', '\t']))
}

fn canonical_opaque(value: &[u8]) -> Option<Cow<'_, str>> {
    let text = short_text(value)?;
    // What most send, and what holds no sign that is refused below.
    if let Some(canonical) = key::canonical_of_token(text) {
        return Some(canonical.into());
    }
    // A comma joins repeated headers: where one stands, there may have been two credentials.
    if text.is_empty() || text.bytes().any(|b| !b.is_ascii_graphic() || b == b',') {
        return None;
    }
    let is_mistyped = text.starts_with(TOKEN_PREFIX) && !text.contains(':');
    (!is_mistyped).then_some(text.into())
}

fn canonical_basic(parameter: &str) -> Option<String> {
    // Clients of Rancher 2 send the URL-safe alphabet, everyone else the standard one.
    let engine = if parameter.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    let decoded = String::from_utf8(engine.decode(parameter).ok()?).ok()?;
    let has_secret = decoded.split_once(':').is_some_and(|(access, secret)| !access.is_empty() && !secret.is_empty());
    (has_secret && !decoded.bytes().any(|b| b.is_ascii_control())).then_some(decoded)
}

fn short_text(value: &[u8]) -> Option<&str> {
    (value.len() <= MAX_CREDENTIAL_LEN).then(|| std::str::from_utf8(value).ok()).flatten()
}

const LENIENT_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT_PADDING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT_PADDING);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyPair;

    const ACCESS: &str = "0123456789ABCDEF0123";
    const SECRET: &str = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQ";

    fn canonical() -> Digest {
        Digest::of(&format!("{ACCESS}:{SECRET}"))
    }

    fn digest_of(authorization: &str) -> Option<Digest> {
        from_authorization(authorization.as_bytes()).and_then(|(_, digest)| digest)
    }

    #[test]
    fn every_spelling_of_a_key_is_the_same_credential() {
        let plain = format!("{ACCESS}:{SECRET}");
        let basic = STANDARD.encode(&plain);
        let token = KeyPair {
            access: crate::key::AccessKey::parse(ACCESS).unwrap(),
            secret: crate::key::SecretKey::parse(SECRET).unwrap(),
        }
        .token();
        for authorization in [
            format!("Basic {basic}"),
            format!("basic   {}", basic.trim_end_matches('=')),
            format!("BEARER {plain}"),
            format!(" Bearer {token}\t"),
        ] {
            assert_eq!(digest_of(&authorization), Some(canonical()), "{authorization}");
        }
        assert_eq!(from_opaque(plain.as_bytes()), Some(canonical()));
        assert_eq!(from_opaque(token.as_bytes()), Some(canonical()));
    }

    #[test]
    fn what_could_be_read_in_two_ways_has_no_canonical_string() {
        let basic = STANDARD.encode(format!("{ACCESS}:{SECRET}"));
        for authorization in [
            "".to_owned(),
            " ".to_owned(),
            "Digest abc".to_owned(),
            format!("Basic {basic} {basic}"),
            format!("Basic {basic},Bearer x"),
            format!("Basic {}", STANDARD.encode("no colon")),
            format!("Basic {}", STANDARD.encode("nosecret:")),
            format!("Basic {}", STANDARD.encode("a:b\nc")),
            format!("Basic {}", STANDARD.encode([b'a', b':', 0xFF])),
            "Basic !!!".to_owned(),
            "token,token".to_owned(),
            "Bearer kg_0123456789ABCDEF0123_abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQ_00000000".to_owned(),
            format!("Bearer {}", "x".repeat(MAX_CREDENTIAL_LEN)),
        ] {
            assert_eq!(digest_of(&authorization), None, "{authorization}");
        }
        assert_eq!(from_opaque(b"one,two"), None);
        assert_eq!(from_opaque(b"one two"), None);
        assert_eq!(from_opaque(&[0xFF]), None);
    }

    #[test]
    fn a_users_password_may_be_a_token_and_the_name_say_where() {
        const USER: &str = "x-api-bearer";
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let read = |value: &str| token_of_basic(value.as_bytes(), USER, from_opaque);
        let place = |value: &str| environment_of_basic(value.as_bytes(), USER);
        for (text, environment) in [
            ("x-api-bearer:token", None),
            ("X-API-Bearer:token", None),
            ("x-api-bearer=1a5:token", Some("1a5")),
            ("x-api-bearer==1a5:token", Some("=1a5")),
            ("x-api-bearer=:token", Some("")),
        ] {
            assert_eq!(read(&basic(text)), Some(Some(Digest::of("token"))), "{text}");
            assert_eq!(place(&basic(text)).as_deref(), environment, "{text}");
        }
        assert_eq!(read(&basic("x-api-bearer=1a5:a:b")), Some(Some(Digest::of("a:b"))), "the first colon splits");
        assert_eq!(read(&basic("x-api-bearer:a,b")), Some(None), "as alone in a carrier");
        let pair = format!("{ACCESS}:{SECRET}");
        for value in [
            basic("x-api-beare:token"),
            basic("x-api-bearers:token"),
            basic("x-api-bearer1a5:token"),
            basic("x-api-bearer :token"),
            basic("\u{212A}-api-bearer:token"),
            basic("x-api-bearer=1a5"),
            basic("x-api-bearer=1a5:"),
            basic(&pair),
            "Bearer x-api-bearer:token".to_owned(),
            format!("Bearer {}", STANDARD.encode("x-api-bearer:token")),
            "Basic eC1".to_owned(),
            "Basic".to_owned(),
        ] {
            assert_eq!((read(&value), place(&value)), (None, None), "{value}");
        }
        // A name too short to be told by its first letters.
        assert_eq!(token_of_basic(basic("x:token").as_bytes(), "x", from_opaque), Some(Some(Digest::of("token"))));
    }

    #[test]
    fn an_outline_tells_at_most_the_access_key() {
        let access = AccessKey::parse(ACCESS).unwrap();
        let plain = format!("{ACCESS}:{SECRET}");
        let basic = format!("Basic {}", STANDARD.encode(&plain));
        assert_eq!(outline_of_authorization(basic.as_bytes()), Some((Scheme::Basic, Some(Outline::Key(access.clone())))));
        assert_eq!(outline_of_opaque(plain.as_bytes()), Some(Outline::Key(access)));
        // What stands before a colon may be the secret itself.
        assert_eq!(outline_of_opaque(b"hush:x-oauth-basic"), Some(Outline::Opaque(18)));
        assert_eq!(outline_of_opaque(b"two words"), None);
    }
}
