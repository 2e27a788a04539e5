//! One grant as bytes: what a bucket holds for a digest, and what a message carries for it.
//!
//! Layout: one byte of flags; the key's number; the expiry, if flagged; then for an environment key the environment's id to the
//! end; for an account's key the account's number and, unless it reaches all, 17 bytes per environment (reference, access) to the
//! end. Numbers are LEB128.

use std::collections::BTreeMap;

use keygate_decision::{Access, AccountId, EnvironmentId, EnvironmentRef, Grant, Holder, KeyId, Reach, UnixSeconds};

const HOLDER_ENVIRONMENT: u8 = 0;
const HOLDER_ACCOUNT_ALL: u8 = 1;
const HOLDER_ACCOUNT_ONLY: u8 = 2;
const HOLDER_MASK: u8 = 0b0011;
const LIMITED: u8 = 0b0100;
const EXPIRES: u8 = 0b1000;
const KNOWN_FLAGS: u8 = HOLDER_MASK | LIMITED | EXPIRES;
/// The access that is not [`Access::Read`], which is zero.
const WRITE: u8 = 1;

/// Encodes a grant.
pub fn encode(grant: &Grant) -> Vec<u8> {
    let holder = match &grant.holder {
        Holder::Environment(_) => HOLDER_ENVIRONMENT,
        Holder::Account { reach: Reach::All, .. } => HOLDER_ACCOUNT_ALL,
        Holder::Account { reach: Reach::Only(_), .. } => HOLDER_ACCOUNT_ONLY,
    };
    let limited = if matches!(grant.holder, Holder::Account { limited: true, .. }) { LIMITED } else { 0 };
    let expires = if grant.expires_at.is_some() { EXPIRES } else { 0 };
    let mut out = vec![holder | limited | expires];
    put_number(&mut out, grant.key.0);
    if let Some(UnixSeconds(seconds)) = grant.expires_at {
        put_number(&mut out, seconds);
    }
    match &grant.holder {
        Holder::Environment(id) => out.extend_from_slice(id.as_str().as_bytes()),
        Holder::Account { account, reach, .. } => {
            put_number(&mut out, account.0);
            if let Reach::Only(environments) = reach {
                for (environment, access) in environments {
                    out.extend_from_slice(environment.as_bytes());
                    out.push(if *access == Access::Write { WRITE } else { 0 });
                }
            }
        }
    }
    out
}

/// Decodes a grant; `None` for anything that says something else than what [`encode`] writes. Numbers may be longer than they need.
pub fn decode(bytes: &[u8]) -> Option<Grant> {
    let Parts { key, expires_at, holder } = Parts::of(bytes)?;
    let holder = match holder {
        HolderParts::Environment(id) => Holder::Environment(EnvironmentId::parse(id).ok()?),
        HolderParts::Account { account, limited, reach } => Holder::Account { account, limited, reach: reach.to_reach() },
    };
    Some(Grant { key, holder, expires_at })
}

/// Whether [`decode`] gives a grant, found without making one.
pub(crate) fn is_grant(bytes: &[u8]) -> bool {
    Parts::of(bytes).is_some()
}

/// A grant that was read and found right, and lies in its bytes still.
struct Parts<'a> {
    key: KeyId,
    expires_at: Option<UnixSeconds>,
    holder: HolderParts<'a>,
}

enum HolderParts<'a> {
    Environment(&'a str),
    Account { account: AccountId, limited: bool, reach: ReachParts<'a> },
}

enum ReachParts<'a> {
    All,
    /// Reference and access of each.
    Only(&'a [[u8; 17]]),
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (flags, mut rest) = bytes.split_first()?;
        if flags & !KNOWN_FLAGS != 0 {
            return None;
        }
        let key = KeyId(take_number(&mut rest)?);
        let expires_at = if flags & EXPIRES == 0 { None } else { Some(UnixSeconds(take_number(&mut rest)?)) };
        let limited = flags & LIMITED != 0;
        let holder = match flags & HOLDER_MASK {
            HOLDER_ENVIRONMENT if !limited => {
                HolderParts::Environment(std::str::from_utf8(rest).ok().filter(|id| EnvironmentId::is_valid(id))?)
            }
            HOLDER_ACCOUNT_ALL => {
                let account = AccountId(take_number(&mut rest)?);
                rest.is_empty().then_some(HolderParts::Account { account, limited, reach: ReachParts::All })?
            }
            HOLDER_ACCOUNT_ONLY => {
                let account = AccountId(take_number(&mut rest)?);
                let (environments, tail) = rest.as_chunks::<17>();
                let are_right = tail.is_empty() && environments.iter().all(|[.., access]| *access <= WRITE);
                are_right.then_some(HolderParts::Account { account, limited, reach: ReachParts::Only(environments) })?
            }
            _ => return None,
        };
        Some(Self { key, expires_at, holder })
    }
}

impl ReachParts<'_> {
    fn to_reach(&self) -> Reach {
        let Self::Only(environments) = self else { return Reach::All };
        // One by one: collecting them would sort them first, by code that weighs on the filter's module.
        let mut reach = BTreeMap::new();
        for [reference @ .., access] in *environments {
            let access = if *access == WRITE { Access::Write } else { Access::Read };
            reach.insert(EnvironmentRef::from_bytes(*reference), access);
        }
        Reach::Only(reach)
    }
}

/// Appends a number as unsigned LEB128.
pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes an unsigned LEB128 number off the front; `None` if it is cut off or does not fit.
pub(crate) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        if bits.checked_shl(shift)? >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any grant that the control plane could compile.
    pub(crate) fn any_grant() -> impl Strategy<Value = Grant> {
        let environment = "[a-z0-9]{1,8}".prop_map(|id| Holder::Environment(EnvironmentId::parse(&id).unwrap()));
        let entries = prop::collection::vec((any::<[u8; 16]>(), any::<bool>()), 0..5);
        let reach = prop_oneof![
            Just(Reach::All),
            entries.prop_map(|list| Reach::only(list.into_iter().map(|(bytes, write)| {
                (EnvironmentRef::from_bytes(bytes), if write { Access::Write } else { Access::Read })
            })))
        ];
        let account = (any::<u64>(), any::<bool>(), reach).prop_map(|(id, limited, reach)| Holder::Account {
            account: AccountId(id),
            limited,
            reach,
        });
        (any::<u64>(), prop_oneof![environment, account], any::<Option<u64>>()).prop_map(|(key, holder, expiry)| Grant {
            key: KeyId(key),
            holder,
            expires_at: expiry.map(UnixSeconds),
        })
    }

    proptest! {
        #[test]
        fn a_grant_survives_its_encoding(grant in any_grant()) {
            prop_assert_eq!(decode(&encode(&grant)), Some(grant));
        }

        #[test]
        fn what_is_a_grant_can_be_decoded_and_nothing_panics(
            random in prop::collection::vec(any::<u8>(), 0..100),
            grant in any_grant(),
            (at, byte, cut) in (0..100_usize, any::<u8>(), 0..100_usize),
        ) {
            let mut bytes = encode(&grant);
            if let Some(changed) = bytes.get_mut(at) {
                *changed = byte;
            }
            bytes.truncate(cut.max(1));
            for bytes in [random, bytes] {
                prop_assert_eq!(is_grant(&bytes), decode(&bytes).is_some());
            }
        }
    }

    #[test]
    fn a_cut_off_or_extended_grant_is_refused() {
        let grant = Grant {
            key: KeyId(300),
            holder: Holder::Account {
                account: AccountId(5),
                limited: false,
                reach: Reach::only([(EnvironmentRef::from_bytes([7; 16]), Access::Write)]),
            },
            expires_at: Some(UnixSeconds(u64::MAX)),
        };
        let bytes = encode(&grant);
        // Cutting exactly the list of environments off leaves a valid, smaller reach: every other length is refused.
        for len in (0..bytes.len()).filter(|len| *len != bytes.len() - 17) {
            assert_eq!(decode(&bytes[..len]), None, "{len}");
        }
        assert_eq!(decode(&[bytes.as_slice(), &[0]].concat()), None);
    }
}
