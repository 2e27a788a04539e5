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
                    out.push(u8::from(*access == Access::Write));
                }
            }
        }
    }
    out
}

/// Decodes a grant; `None` for anything that says something else than what [`encode`] writes. Numbers may be longer than they need.
pub fn decode(bytes: &[u8]) -> Option<Grant> {
    let (flags, mut rest) = bytes.split_first()?;
    if flags & !KNOWN_FLAGS != 0 {
        return None;
    }
    let key = KeyId(take_number(&mut rest)?);
    let expires_at = if flags & EXPIRES == 0 { None } else { Some(UnixSeconds(take_number(&mut rest)?)) };
    let limited = flags & LIMITED != 0;
    let holder = match flags & HOLDER_MASK {
        HOLDER_ENVIRONMENT if !limited => Holder::Environment(EnvironmentId::parse(std::str::from_utf8(rest).ok()?).ok()?),
        HOLDER_ACCOUNT_ALL => {
            let account = AccountId(take_number(&mut rest)?);
            rest.is_empty().then_some(Holder::Account { account, limited, reach: Reach::All })?
        }
        HOLDER_ACCOUNT_ONLY => {
            let account = AccountId(take_number(&mut rest)?);
            Holder::Account { account, limited, reach: Reach::Only(decode_environments(rest)?) }
        }
        _ => return None,
    };
    Some(Grant { key, holder, expires_at })
}

fn decode_environments(mut bytes: &[u8]) -> Option<BTreeMap<EnvironmentRef, Access>> {
    let mut environments = BTreeMap::new();
    while let Some((environment, rest)) = bytes.split_first_chunk::<16>() {
        let (access, rest) = rest.split_first()?;
        let access = match access {
            0 => Access::Read,
            1 => Access::Write,
            _ => return None,
        };
        environments.insert(EnvironmentRef::from_bytes(*environment), access);
        bytes = rest;
    }
    bytes.is_empty().then_some(environments)
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
        fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes);
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
