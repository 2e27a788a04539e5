//! Grants that were found before, by the fingerprints of their credentials. They belong to a generation, and none of an earlier one is
//! known any more: all of them are forgotten at once, without a look at any.
//!
//! It has a fixed number of places, so that remembering one more never moves the others. It holds no credential.

use std::rc::Rc;

use crate::fingerprint::Fingerprint;
use crate::grant::{Grant, Holder, Reach};

/// So many grants are remembered at most: a fingerprint belongs into one set, in which it may take any place.
const SETS: usize = 16_384;
const PLACES: usize = 4;
/// So many environments may be listed by all of them together; when they are more, all are forgotten.
const MAX_LISTED: usize = 262_144;

/// See the module.
#[derive(Default)]
pub struct Grants {
    /// Empty before the first one is remembered: not every worker serves requests.
    sets: Vec<[Option<Known>; PLACES]>,
    listed: usize,
    /// Counted, so that none ever returns.
    generation: u64,
}

struct Known {
    fingerprint: Fingerprint,
    generation: u64,
    grant: Rc<Grant>,
}

impl Grants {
    /// Forgets all that were remembered.
    pub fn forget(&mut self) {
        self.generation += 1;
    }

    /// The grant that was remembered for this fingerprint.
    pub fn get(&self, fingerprint: Fingerprint) -> Option<Rc<Grant>> {
        let mut known = self.sets.get(fingerprint.index(SETS))?.iter().flatten();
        let same = |known: &&Known| known.generation == self.generation && known.fingerprint == fingerprint;
        known.find(same).map(|known| known.grant.clone())
    }

    /// Remembers a grant for a fingerprint, in the place of one that is forgotten, or of any.
    pub fn remember(&mut self, fingerprint: Fingerprint, grant: Rc<Grant>) {
        let generation = self.generation;
        if self.sets.is_empty() || self.listed > MAX_LISTED {
            self.sets.clear();
            self.sets.resize_with(SETS, Default::default);
            self.listed = 0;
        }
        let Some(set) = self.sets.get_mut(fingerprint.index(SETS)) else { return };
        let is_free = |place: &Option<Known>| {
            place.as_ref().is_none_or(|known| known.generation != generation || known.fingerprint == fingerprint)
        };
        let index = set.iter().position(is_free).unwrap_or(fingerprint.other_index(PLACES));
        let Some(place) = set.get_mut(index) else { return };
        let leaves = place.as_ref().map_or(0, |known| listed(&known.grant));
        self.listed = self.listed.saturating_sub(leaves).saturating_add(listed(&grant));
        *place = Some(Known { fingerprint, generation, grant });
    }
}

fn listed(grant: &Grant) -> usize {
    match &grant.holder {
        Holder::Account { reach: Reach::Only(environments), .. } => environments.len(),
        Holder::Account { reach: Reach::All, .. } | Holder::Environment(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::EnvironmentRef;
    use crate::fingerprint::FingerprintKey;
    use crate::grant::{Access, AccountId, KeyId};

    fn fingerprint(number: usize) -> Fingerprint {
        FingerprintKey::from_random([5; 16]).fingerprint(0, &number.to_le_bytes())
    }

    fn grant(key: usize, environments: usize) -> Rc<Grant> {
        let environments = (0..environments).map(|number| {
            let mut reference = [0; 16];
            reference[..8].copy_from_slice(&number.to_le_bytes());
            (EnvironmentRef::from_bytes(reference), Access::Read)
        });
        let holder = Holder::Account { account: AccountId(1), limited: false, reach: Reach::only(environments) };
        Rc::new(Grant { key: KeyId(key as u64), holder, expires_at: None })
    }

    fn known(grants: &Grants, numbers: impl Iterator<Item = usize>) -> usize {
        let found = |number| grants.get(fingerprint(number)).map(|grant| grant.key);
        numbers
            .filter(|number| found(*number).inspect(|key| assert_eq!(key.0, *number as u64, "another credential's")).is_some())
            .count()
    }

    #[test]
    fn a_grant_is_known_until_it_is_forgotten() {
        let mut grants = Grants::default();
        assert!(grants.get(fingerprint(1)).is_none());
        grants.remember(fingerprint(1), grant(1, 0));
        assert!(grants.get(fingerprint(1)).is_some_and(|grant| grant.key == KeyId(1)));
        assert!(grants.get(fingerprint(2)).is_none());
        grants.forget();
        assert!(grants.get(fingerprint(1)).is_none());
        grants.remember(fingerprint(1), grant(3, 0));
        assert!(grants.get(fingerprint(1)).is_some_and(|grant| grant.key == KeyId(3)));
        // One credential takes one place, whatever it is found to grant.
        grants.remember(fingerprint(1), grant(4, 0));
        assert_eq!(grants.sets.iter().flatten().flatten().count(), 1);
    }

    #[test]
    fn many_are_known_and_what_is_remembered_is_bounded() {
        const MANY: usize = 20_000;
        let mut grants = Grants::default();
        (0..MANY).for_each(|number| grants.remember(fingerprint(number), grant(number, 0)));
        assert!(known(&grants, 0..MANY) > MANY * 97 / 100);
        // Those that are forgotten give up their places first.
        grants.forget();
        (MANY..2 * MANY).for_each(|number| grants.remember(fingerprint(number), grant(number, 0)));
        assert!(known(&grants, MANY..2 * MANY) > MANY * 97 / 100);
        assert_eq!(known(&grants, 0..MANY), 0);
        grants.forget();
        (0..10 * SETS).for_each(|number| grants.remember(fingerprint(number), grant(number, 0)));
        assert!(known(&grants, 0..10 * SETS) > SETS * PLACES * 9 / 10);
        assert_eq!(grants.sets.iter().flatten().count(), SETS * PLACES);
    }

    #[test]
    fn long_reaches_do_not_fill_the_memory() {
        const LONG: usize = 1_000;
        let mut grants = Grants::default();
        for number in 0..1_000 {
            grants.remember(fingerprint(number), grant(number, LONG));
            assert!(grants.listed <= MAX_LISTED + LONG);
            let held: usize = grants.sets.iter().flatten().flatten().map(|known| listed(&known.grant)).sum();
            assert_eq!(held, grants.listed);
        }
        assert!(known(&grants, 0..1_000) > 100);
    }
}
