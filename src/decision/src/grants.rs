//! Grants that were found before, by the fingerprints of their credentials. A grant is remembered for one number of the table's change
//! detector, and known under no other: another number makes all of them unknown at once, without a look at any.
//!
//! It has a fixed number of places, so that remembering one more never moves the others and no request waits for it. It holds no
//! credential.

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
}

struct Known {
    fingerprint: Fingerprint,
    change: u64,
    grant: Rc<Grant>,
}

impl Grants {
    /// The grant that was remembered for this fingerprint at this change.
    pub fn get(&self, fingerprint: Fingerprint, change: u64) -> Option<Rc<Grant>> {
        let known = self.sets.get(fingerprint.index(SETS))?.iter().flatten();
        known
            .filter(|known| known.change == change)
            .find(|known| known.fingerprint == fingerprint)
            .map(|known| known.grant.clone())
    }

    /// Remembers a grant for a fingerprint at a change, in the place of one that is known no more, or of any.
    pub fn remember(&mut self, fingerprint: Fingerprint, change: u64, grant: Rc<Grant>) {
        if self.sets.is_empty() || self.listed > MAX_LISTED {
            self.sets.clear();
            self.sets.resize_with(SETS, Default::default);
            self.listed = 0;
        }
        let Some(set) = self.sets.get_mut(fingerprint.index(SETS)) else { return };
        let is_free =
            |place: &Option<Known>| place.as_ref().is_none_or(|known| known.change != change || known.fingerprint == fingerprint);
        let index = set.iter().position(is_free).unwrap_or(fingerprint.other_index(PLACES));
        let Some(place) = set.get_mut(index) else { return };
        let leaves = place.as_ref().map_or(0, |known| listed(&known.grant));
        self.listed = self.listed.saturating_sub(leaves).saturating_add(listed(&grant));
        *place = Some(Known { fingerprint, change, grant });
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

    fn known(grants: &Grants, numbers: impl Iterator<Item = usize>, change: u64) -> usize {
        let found = |number| grants.get(fingerprint(number), change).map(|grant| grant.key);
        numbers
            .filter(|number| found(*number).inspect(|key| assert_eq!(key.0, *number as u64, "another credential's")).is_some())
            .count()
    }

    #[test]
    fn a_grant_is_known_at_its_change_and_at_no_other() {
        let mut grants = Grants::default();
        assert!(grants.get(fingerprint(1), 7).is_none());
        grants.remember(fingerprint(1), 7, grant(1, 0));
        assert!(grants.get(fingerprint(1), 7).is_some_and(|grant| grant.key == KeyId(1)));
        assert!(grants.get(fingerprint(1), 8).is_none() && grants.get(fingerprint(2), 7).is_none());
        grants.remember(fingerprint(1), 8, grant(3, 0));
        assert!(grants.get(fingerprint(1), 8).is_some_and(|grant| grant.key == KeyId(3)));
        assert!(grants.get(fingerprint(1), 7).is_none());
        // One credential takes one place, whatever it is found to grant.
        grants.remember(fingerprint(1), 8, grant(4, 0));
        assert_eq!(grants.sets.iter().flatten().flatten().count(), 1);
    }

    #[test]
    fn many_are_known_and_what_is_remembered_is_bounded() {
        const MANY: usize = 20_000;
        let mut grants = Grants::default();
        (0..MANY).for_each(|number| grants.remember(fingerprint(number), 1, grant(number, 0)));
        assert!(known(&grants, 0..MANY, 1) > MANY * 97 / 100);
        // Those of another change give up their places first.
        (MANY..2 * MANY).for_each(|number| grants.remember(fingerprint(number), 2, grant(number, 0)));
        assert!(known(&grants, MANY..2 * MANY, 2) > MANY * 97 / 100);
        (0..10 * SETS).for_each(|number| grants.remember(fingerprint(number), 3, grant(number, 0)));
        assert!(known(&grants, 0..10 * SETS, 3) > SETS * PLACES * 9 / 10);
        assert_eq!(grants.sets.iter().flatten().count(), SETS * PLACES);
    }

    #[test]
    fn long_reaches_do_not_fill_the_memory() {
        const LONG: usize = 1_000;
        let mut grants = Grants::default();
        for number in 0..1_000 {
            grants.remember(fingerprint(number), 1, grant(number, LONG));
            assert!(grants.listed <= MAX_LISTED + LONG);
            let held: usize = grants.sets.iter().flatten().flatten().map(|known| listed(&known.grant)).sum();
            assert_eq!(held, grants.listed);
        }
        assert!(known(&grants, 0..1_000, 1) > 100);
    }
}
