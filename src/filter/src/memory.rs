//! What one worker remembers of the table, all of it for one number of the change detector. It holds no credential: those that were
//! verified are known by a fingerprint, whose key is this VM's own.

use std::rc::Rc;

use keygate_decision::Grant;
use keygate_decision::absent::Absent;
use keygate_decision::credentials::Unread;
use keygate_decision::fingerprint::{Fingerprint, FingerprintKey};
use keygate_decision::grants::Grants;
use keygate_wire::records::Head;

/// See the module.
pub(crate) struct Memory {
    key: FingerprintKey,
    change: u64,
    pub(crate) head: Option<Head>,
    grants: Grants,
    absent: Absent,
}

impl Memory {
    /// Nothing yet; the key is random bytes.
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self {
            key: FingerprintKey::from_random(key),
            change: 0,
            head: None,
            grants: Grants::default(),
            absent: Absent::default(),
        }
    }

    /// Forgets what was remembered for another number of the change detector.
    pub(crate) fn move_to(&mut self, change: u64) {
        if self.change != change {
            self.change = change;
            self.head = None;
            self.grants.forget();
            self.absent.forget();
        }
    }

    /// By what a credential is known here.
    pub(crate) fn fingerprint(&self, presented: &Unread<'_>) -> Option<Fingerprint> {
        presented.fingerprint(&self.key)
    }

    /// What was found for a credential, a grant or nothing; `None` if it is not known.
    pub(crate) fn recall(&self, fingerprint: Fingerprint) -> Option<Option<Rc<Grant>>> {
        match self.grants.get(fingerprint) {
            Some(grant) => Some(Some(grant)),
            None => self.absent.contains(fingerprint).then_some(None),
        }
    }

    /// Remembers what the table holds for a credential.
    pub(crate) fn remember(&mut self, fingerprint: Fingerprint, found: Option<&Rc<Grant>>) {
        match found {
            Some(grant) => self.grants.remember(fingerprint, grant.clone()),
            None => self.absent.remember(fingerprint),
        }
    }
}
