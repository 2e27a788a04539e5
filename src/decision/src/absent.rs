//! Credentials that were looked up and not found, by their fingerprints, so that whoever presents the same one again and again (a client
//! whose key was revoked) costs no more than one that is let in. They belong to a generation as [`crate::grants`] do, and stand apart from
//! those: somebody who tries one credential after the other pushes out only what others tried in vain.
//!
//! It never lets anybody in. It holds no credential.

use crate::fingerprint::Fingerprint;

/// So many are remembered at most, each in the one place that its fingerprint has.
const PLACES: usize = 4_096;

/// See the module.
#[derive(Default)]
pub struct Absent {
    /// Empty before the first one is remembered, then of fixed length.
    places: Vec<Option<(Fingerprint, u64)>>,
    /// Counted, so that none ever returns.
    generation: u64,
}

impl Absent {
    /// Forgets all that were remembered.
    pub fn forget(&mut self) {
        self.generation += 1;
    }

    /// Whether this fingerprint's credential is known not to be there.
    pub fn contains(&self, fingerprint: Fingerprint) -> bool {
        self.places.get(fingerprint.index(PLACES)).is_some_and(|place| *place == Some((fingerprint, self.generation)))
    }

    /// Remembers that a credential was not found, in the place of one that has the same.
    pub fn remember(&mut self, fingerprint: Fingerprint) {
        self.places.resize(PLACES, None);
        if let Some(place) = self.places.get_mut(fingerprint.index(PLACES)) {
            *place = Some((fingerprint, self.generation));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::FingerprintKey;

    fn fingerprint(number: usize) -> Fingerprint {
        FingerprintKey::from_random([6; 16]).fingerprint(0, &number.to_le_bytes())
    }

    #[test]
    fn what_was_not_found_is_known_until_it_is_forgotten() {
        let mut absent = Absent::default();
        assert!(!absent.contains(fingerprint(1)));
        absent.remember(fingerprint(1));
        assert!(absent.contains(fingerprint(1)) && !absent.contains(fingerprint(2)));
        absent.forget();
        assert!(!absent.contains(fingerprint(1)));
        absent.remember(fingerprint(2));
        assert!(!absent.contains(fingerprint(1)) && absent.contains(fingerprint(2)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut absent = Absent::default();
        (0..10 * PLACES).for_each(|number| absent.remember(fingerprint(number)));
        assert_eq!(absent.places.len(), PLACES);
        let known = (0..10 * PLACES).filter(|number| absent.contains(fingerprint(*number))).count();
        assert!((PLACES * 9 / 10..=PLACES).contains(&known), "{known}");
        assert!(absent.contains(fingerprint(10 * PLACES - 1)), "the last one has its place");
    }
}
