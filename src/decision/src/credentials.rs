//! The credentials that one request carries, gathered carrier by carrier, and what becomes of more than one. A single one, as nearly all
//! requests carry, is not read before it is asked for: who remembers it by its fingerprint never does. It never prints one.

use std::borrow::Cow;
use std::fmt;

use crate::credential::{self, MAX_CREDENTIAL_LEN, Scheme};
use crate::digest::Digest;
use crate::fingerprint::{Fingerprint, FingerprintKey};
use crate::reason::Reason;

/// What one carrier presents, not yet read: whether it has a canonical string shows only then, and that takes its time. Never prints.
#[derive(Clone)]
pub enum Unread<'a> {
    /// The value of `Authorization`.
    Authorization {
        /// The whole value.
        value: &'a [u8],
        /// Basic counts.
        basic: bool,
        /// Bearer counts.
        bearer: bool,
        /// A token alone counts.
        bare: bool,
    },
    /// A credential that stands alone, as [`credential::from_opaque`] takes it.
    Opaque(Cow<'a, [u8]>),
}

impl fmt::Debug for Unread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unread(..)")
    }
}

impl Unread<'_> {
    /// Its digest; `None` if it has no canonical string, or if its scheme does not count.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Authorization { value, basic, bearer, bare } => match credential::from_authorization(value)? {
                (Scheme::Basic, digest) if *basic => digest,
                (Scheme::Bearer, digest) if *bearer => digest,
                (Scheme::None, digest) if *bare => digest,
                _ => None,
            },
            Self::Opaque(value) => credential::from_opaque(value),
        }
    }

    /// Its fingerprint. What has one fingerprint has one digest, if the same carriers count. `None` for one that is too long to be read.
    pub fn fingerprint(&self, key: &FingerprintKey) -> Option<Fingerprint> {
        let (kind, value) = match self {
            Self::Authorization { value, .. } => (0, *value),
            Self::Opaque(value) => (1, value.as_ref()),
        };
        (value.len() <= MAX_CREDENTIAL_LEN).then(|| key.fingerprint(kind, value))
    }
}

/// The credentials that one request carries, gathered carrier by carrier. A single one, as nearly all requests carry, is not read before
/// it is asked for.
#[derive(Debug, Default)]
pub struct Credentials<'a> {
    first: Option<Unread<'a>>,
    conflicting: bool,
    malformed: bool,
}

impl<'a> Credentials<'a> {
    /// Adds what one carrier presented; `None` stands for a value that has no canonical string.
    pub fn add(&mut self, presented: Option<Unread<'a>>) {
        match (presented, &self.first) {
            (None, _) => self.malformed = true,
            (Some(new), None) => self.first = Some(new),
            (Some(new), Some(first)) => match (first.digest(), new.digest()) {
                (Some(one), Some(other)) => self.conflicting |= one != other,
                (Some(_), None) => self.malformed = true,
                (None, _) => {
                    self.malformed = true;
                    self.first = Some(new);
                }
            },
        }
    }

    /// The one credential of the request, whether it can be read or not.
    ///
    /// # Errors
    /// As [`Self::digest`].
    pub fn sole(&self) -> Result<&Unread<'a>, Reason> {
        match &self.first {
            _ if self.conflicting => Err(Reason::ConflictingCredentials),
            _ if self.malformed => Err(Reason::MalformedCredential),
            Some(presented) => Ok(presented),
            None => Err(Reason::NoCredential),
        }
    }

    /// The digest of the one credential of the request.
    ///
    /// # Errors
    /// [`Reason::ConflictingCredentials`] before [`Reason::MalformedCredential`] before [`Reason::NoCredential`]: a
    /// malformed carrier is refused even beside a good one, because an upstream might read it differently.
    pub fn digest(&self) -> Result<Digest, Reason> {
        self.sole()?.digest().ok_or(Reason::MalformedCredential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_may_stand_alone_where_that_counts() {
        let read =
            |value: &str, bare| Unread::Authorization { value: value.as_bytes(), basic: true, bearer: true, bare }.digest();
        for (value, token) in [("opaque", "opaque"), (" a:b\t", "a:b"), ("Bearer", "Bearer"), ("Bearer ", "Bearer")] {
            assert_eq!((read(value, true), read(value, false)), (Some(Digest::of(token)), None), "{value}");
        }
        for value in ["Digest opaque", "opaque opaque", "", "one,two", "kg_0123456789ABCDEF0123_x_00000000"] {
            assert_eq!(read(value, true), None, "{value}");
        }
        assert_eq!(read("Bearer opaque", true), Some(Digest::of("opaque")));
    }

    #[test]
    fn two_credentials_pass_only_if_they_are_one() {
        let gathered = |presented: &[Option<&str>]| {
            let mut credentials = Credentials::default();
            let opaque = |text: &str| Unread::Opaque(text.as_bytes().to_vec().into());
            presented.iter().for_each(|p| credentials.add(p.map(opaque)));
            credentials.digest()
        };
        let (one, two, unreadable) = (Some("a:b"), Some("a:c"), Some("a b"));
        assert_eq!(gathered(&[]), Err(Reason::NoCredential));
        assert_eq!(gathered(&[one, one]), Ok(Digest::of("a:b")));
        assert_eq!(gathered(&[one, two]), Err(Reason::ConflictingCredentials));
        assert_eq!(gathered(&[one, one, two]), Err(Reason::ConflictingCredentials));
        for malformed in [None, unreadable] {
            assert_eq!(gathered(&[malformed]), Err(Reason::MalformedCredential));
            assert_eq!(gathered(&[one, malformed]), Err(Reason::MalformedCredential));
            assert_eq!(gathered(&[malformed, one, one]), Err(Reason::MalformedCredential));
            for order in [[malformed, one, two], [one, malformed, two], [one, two, malformed]] {
                assert_eq!(gathered(&order), Err(Reason::ConflictingCredentials));
            }
        }
    }

    #[test]
    fn one_fingerprint_means_one_credential_in_one_kind_of_carrier() {
        let key = FingerprintKey::from_random([7; 16]);
        let opaque = |value: &[u8]| Unread::Opaque(value.to_vec().into()).fingerprint(&key);
        let authorization = |value| Unread::Authorization { value, basic: true, bearer: true, bare: true }.fingerprint(&key);
        assert!(opaque(b"a:b") == opaque(b"a:b") && opaque(b"a:b") != opaque(b"a:c"));
        assert!(authorization(b"Basic YTpi") == authorization(b"Basic YTpi"));
        assert!(authorization(b"Basic YTpi") != opaque(b"Basic YTpi"));
        assert!(opaque(&[b'x'; MAX_CREDENTIAL_LEN]).is_some() && opaque(&[b'x'; MAX_CREDENTIAL_LEN + 1]).is_none());
    }
}
