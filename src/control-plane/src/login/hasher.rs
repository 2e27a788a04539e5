//! Hashing passwords: argon2id, with the parameters that OWASP recommends. Owns how many are hashed at a time; it never stores a
//! password and never logs one.
//!
//! A hash takes 19 MiB and a good part of a processor for some 20 ms, on purpose. Whoever may ask for it without a credential could
//! use up the machine: so few are made at a time, few more wait, and the others are told to come again. Nobody has more than a few of
//! these places, not even with the right password, which no delay of guessing stops.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::{Password, Source};
use crate::random;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

const AT_A_TIME: usize = 2;
const WAITING: usize = 32;
/// So many of all these places one account may have from one address.
const FOR_ONE: usize = 5;

/// A hash with the parameters of this version over nothing in particular: comparing with it takes as long as with a real one.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The hash of a password, as a PHC string.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PasswordDigest(String);

impl PasswordDigest {
    /// Parses a PHC string.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        PasswordHash::new(text).map(|_| Self(text.to_owned())).map_err(|_| "is no PHC string")
    }

    /// The PHC string.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordDigest(..)")
    }
}

/// Why there is no hash.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashFailure {
    /// Too many are waiting for theirs.
    #[error("too many passwords are being checked")]
    Busy,
    /// It could not be computed.
    #[error("a password could not be hashed: {0}")]
    Failed(String),
}

/// Hashes passwords, a few at a time, on threads that may block. Clones share the limit.
#[derive(Clone, Debug)]
pub(crate) struct Hasher {
    admitted: Arc<Semaphore>,
    working: Arc<Semaphore>,
    shares: Shares,
}

impl Hasher {
    /// A hasher with all its places free.
    pub(crate) fn new() -> Self {
        Self {
            admitted: Arc::new(Semaphore::new(AT_A_TIME + WAITING)),
            working: Arc::new(Semaphore::new(AT_A_TIME)),
            shares: Shares::default(),
        }
    }

    /// Hashes a password with a new salt.
    pub(crate) async fn hash(&self, password: Password) -> Result<PasswordDigest, HashFailure> {
        let salt: [u8; 16] = random::bytes().map_err(|error| HashFailure::Failed(error.to_string()))?;
        self.run(None, move || {
            let salt = SaltString::encode_b64(&salt)?;
            Ok(PasswordDigest(argon2()?.hash_password(password.expose().as_bytes(), &salt)?.to_string()))
        })
        .await
    }

    /// Whether a password, which is said from there to be that of an account of this name, has this hash. Without one it is wrong, after
    /// just as much work.
    pub(crate) async fn matches(
        &self,
        name: &str,
        source: Source,
        password: Password,
        digest: Option<PasswordDigest>,
    ) -> Result<bool, HashFailure> {
        let share = self.shares.take(name, source).ok_or(HashFailure::Busy)?;
        self.run(Some(share), move || {
            let text = digest.as_ref().map_or(NOBODY, PasswordDigest::as_str);
            let same = argon2()?.verify_password(password.expose().as_bytes(), &PasswordHash::new(text)?);
            match same {
                Ok(()) => Ok(digest.is_some()),
                Err(argon2::password_hash::Error::Password) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        share: Option<Share>,
        work: impl FnOnce() -> Result<T, argon2::password_hash::Error> + Send + 'static,
    ) -> Result<T, HashFailure> {
        let admitted = self.admitted.clone().try_acquire_owned().map_err(|_| HashFailure::Busy)?;
        let working = self.working.clone().acquire_owned().await.map_err(|error| HashFailure::Failed(error.to_string()))?;
        // The places are held until the work is done, even if whoever asked has gone away.
        let done = spawn_blocking(move || {
            let result = work();
            drop((admitted, working, share));
            result
        });
        let result = done.await.map_err(|error| HashFailure::Failed(error.to_string()))?;
        result.map_err(|error| HashFailure::Failed(error.to_string()))
    }
}

/// How many places each account has from each address; where it has none, nothing is kept.
#[derive(Clone, Debug, Default)]
struct Shares(Arc<Mutex<HashMap<(String, Source), usize>>>);

impl Shares {
    /// One place more, unless that is too many.
    fn take(&self, name: &str, source: Source) -> Option<Share> {
        let of = (name.to_lowercase(), source);
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = places.entry(of.clone()).or_default();
        if *taken >= FOR_ONE {
            return None;
        }
        *taken += 1;
        Some(Share { of, shares: self.clone() })
    }
}

/// A place, which is free again when this is dropped.
#[derive(Debug)]
struct Share {
    of: (String, Source),
    shares: Shares,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut places = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = places.get_mut(&self.of) {
            *taken -= 1;
            if *taken == 0 {
                places.remove(&self.of);
            }
        }
    }
}

fn argon2() -> Result<Argon2<'static>, argon2::password_hash::Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    fn source(last: u8) -> Source {
        Source::of([192, 0, 2, last].into())
    }

    #[tokio::test]
    async fn only_the_password_itself_has_its_hash() {
        let hasher = Hasher::new();
        let digest = hasher.hash(password("correct horse")).await.unwrap();
        assert!(digest.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", digest.as_str());
        assert_ne!(hasher.hash(password("correct horse")).await.unwrap(), digest, "each has a salt of its own");
        let stored = PasswordDigest::parse(digest.as_str()).unwrap();
        assert!(hasher.matches("alice", source(1), password("correct horse"), Some(stored.clone())).await.unwrap());
        assert!(!hasher.matches("alice", source(1), password("correct Horse"), Some(stored)).await.unwrap());
        assert!(PasswordDigest::parse("plain").is_err());
        assert!(!format!("{digest:?}").contains("argon2"));
    }

    #[tokio::test]
    async fn nobody_s_password_takes_as_long_as_somebody_s() {
        let hasher = Hasher::new();
        let digest = hasher.hash(password("correct horse")).await.unwrap();
        // The work follows from these alone.
        let work = |text: &str| {
            let hash = PasswordHash::new(text).unwrap();
            let salt = hash.salt.unwrap().as_str().len();
            (hash.algorithm.to_string(), hash.version, hash.params.clone(), salt, hash.hash.unwrap().len())
        };
        assert_eq!(work(NOBODY), work(digest.as_str()));
        // And it is done: without it an answer would come a thousand times sooner. What else the machine does may be much.
        let mut quickest = [std::time::Duration::MAX; 2];
        for _ in 0..5 {
            for (digest, quickest) in [Some(digest.clone()), None].into_iter().zip(&mut quickest) {
                let begun = Instant::now();
                assert!(!hasher.matches("alice", source(1), password("wrong"), digest).await.unwrap());
                *quickest = begun.elapsed().min(*quickest);
            }
        }
        let [somebody, nobody] = quickest;
        assert!(nobody * 20 > somebody, "{somebody:?} and {nobody:?}");
    }

    #[tokio::test]
    async fn few_wait_and_the_others_are_told() {
        let hasher = Hasher::new();
        let held = hasher.working.clone().acquire_many_owned(2).await.unwrap();
        let waiting: Vec<_> = (0..AT_A_TIME + WAITING)
            .map(|number| {
                let hasher = hasher.clone();
                tokio::spawn(async move { hasher.matches(&format!("user{number}"), source(1), password("wrong"), None).await })
            })
            .collect();
        while hasher.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(hasher.matches("alice", source(1), password("wrong"), None).await, Err(HashFailure::Busy)));
        drop(held);
        for answer in waiting {
            assert!(!answer.await.unwrap().unwrap());
        }
        assert!(hasher.hash(password("correct horse")).await.is_ok());
    }

    #[tokio::test]
    async fn nobody_takes_the_places_of_others_even_with_the_right_password() {
        let hasher = Hasher::new();
        let digest = hasher.hash(password("correct horse")).await.unwrap();
        let held = hasher.working.clone().acquire_many_owned(2).await.unwrap();
        let ask = |name: &'static str, source| {
            let (hasher, digest) = (hasher.clone(), digest.clone());
            tokio::spawn(async move { hasher.matches(name, source, password("correct horse"), Some(digest)).await })
        };
        let mut flood: Vec<_> = (0..FOR_ONE).map(|_| ask("mallory", source(1))).collect();
        while hasher.admitted.available_permits() > AT_A_TIME + WAITING - FOR_ONE {
            tokio::task::yield_now().await;
        }
        assert!(matches!(ask("MALLORY", source(1)).await.unwrap(), Err(HashFailure::Busy)));
        // Another account, or the same from elsewhere, has its own.
        flood.extend([ask("alice", source(1)), ask("mallory", source(2))]);
        drop(held);
        for answer in flood {
            assert!(answer.await.unwrap().unwrap());
        }
        assert!(ask("mallory", source(1)).await.unwrap().unwrap(), "places come back");
        assert!(hasher.shares.0.lock().unwrap().is_empty());
    }
}
