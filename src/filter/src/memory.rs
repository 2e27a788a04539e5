//! What one worker remembers of the table, all of it for one number of the change detector. It holds no credential: those that were
//! verified are known by a fingerprint, whose key is this VM's own.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use keygate_decision::credential::Unread;
use keygate_decision::fingerprint::{Fingerprint, FingerprintKey};
use keygate_decision::{Grant, Holder, Reach};
use keygate_wire::records::Head;

/// Remembered grants and the environments they list; when they are more, all are forgotten.
const MAX_REMEMBERED: usize = 65_536;

/// See the module.
pub(crate) struct Memory {
    key: FingerprintKey,
    change: u64,
    pub(crate) head: Option<Head>,
    grants: HashMap<Fingerprint, Rc<Grant>, BuildHasherDefault<Hashed>>,
    weight: usize,
}

impl Memory {
    /// Nothing yet; the key is random bytes.
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self { key: FingerprintKey::from_random(key), change: 0, head: None, grants: HashMap::default(), weight: 0 }
    }

    /// Forgets what was remembered for another number of the change detector.
    pub(crate) fn move_to(&mut self, change: u64) {
        if self.change != change {
            self.change = change;
            self.head = None;
            self.forget_grants();
        }
    }

    /// By what a credential is known here.
    pub(crate) fn fingerprint(&self, presented: &Unread<'_>) -> Option<Fingerprint> {
        presented.fingerprint(&self.key)
    }

    /// The grant that was found for a credential.
    pub(crate) fn grant(&self, fingerprint: Fingerprint) -> Option<Rc<Grant>> {
        self.grants.get(&fingerprint).cloned()
    }

    /// Remembers the grant that the table holds for a credential.
    pub(crate) fn remember(&mut self, fingerprint: Fingerprint, grant: Rc<Grant>) {
        if self.weight >= MAX_REMEMBERED {
            self.forget_grants();
        }
        self.weight += weight(&grant);
        self.grants.insert(fingerprint, grant);
    }

    fn forget_grants(&mut self) {
        self.grants = HashMap::default();
        self.weight = 0;
    }
}

/// A fingerprint is a hash already, and one that nobody can aim.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number;
    }
}

fn weight(grant: &Grant) -> usize {
    match &grant.holder {
        Holder::Account { reach: Reach::Only(environments), .. } => 1 + environments.len(),
        Holder::Account { reach: Reach::All, .. } | Holder::Environment(_) => 1,
    }
}
