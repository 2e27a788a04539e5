//! A table that stands in the filter's configuration itself, for an edge without a control plane: an object from digest (64 lower-case
//! hexadecimal digits) to grant ([`crate::entry`], in base64). Every spelling but that one is refused, so that no digest can stand twice
//! under two names.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keygate_decision::{Digest, Grant, KeyId, UnixSeconds};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::entry;

/// The most keys that a configuration may carry: about 12 MB of it, and 20 MB in each of Envoy's workers.
pub const MAX_EMBEDDED_KEYS: usize = 100_000;

/// A whole table, in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmbeddedTable(BTreeMap<Digest, Grant>);

impl EmbeddedTable {
    /// What the table holds for a digest.
    pub fn find(&self, digest: &Digest) -> Option<&Grant> {
        self.0.get(digest)
    }

    /// The grant of a key, by the key's id.
    pub fn grant_of(&self, key: KeyId) -> Option<&Grant> {
        self.0.values().find(|grant| grant.key == key)
    }

    /// How many keys it holds, expired ones included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many of its keys have expired.
    pub fn expired(&self, now: UnixSeconds) -> usize {
        self.0.values().filter(|grant| grant.expires_at.is_some_and(|end| now >= end)).count()
    }

    /// Parses what stands in a configuration.
    ///
    /// # Errors
    /// The place of the entry, which is its digest or, because what stands for one may be a secret, its number from 0, and what is wrong
    /// with it. The place is empty if the whole table is at fault.
    pub(crate) fn parse(text: EntryTexts) -> Result<Self, (String, String)> {
        if text.0.len() > MAX_EMBEDDED_KEYS {
            let problem = format!("holds more than {MAX_EMBEDDED_KEYS} keys: use a control_plane for so many");
            return Err((String::new(), problem));
        }
        let mut table = BTreeMap::new();
        for (index, (name, value)) in text.0.into_iter().enumerate() {
            let Some(digest) = parse_digest(&name) else {
                return Err((
                    format!("[{index}]"),
                    "stands under what is no digest: 64 lower-case hexadecimal digits".to_owned(),
                ));
            };
            let wrong = |problem: &str| Err((format!(".{name}"), problem.to_owned()));
            let Ok(bytes) = STANDARD.decode(&value) else { return wrong("its grant is not base64") };
            let Some(grant) = entry::decode(&bytes) else { return wrong("its grant cannot be read: export the table again") };
            if table.insert(digest, grant).is_some() {
                return wrong("stands twice");
            }
        }
        Ok(Self(table))
    }
}

/// One entry as a configuration spells it: digest and grant.
pub fn entry_text(digest: &Digest, grant: &Grant) -> (String, String) {
    (hex::encode(digest.as_bytes()), STANDARD.encode(entry::encode(grant)))
}

fn parse_digest(text: &str) -> Option<Digest> {
    let bytes: [u8; 32] = hex::decode(text).ok()?.try_into().ok()?;
    (!text.bytes().any(|byte| byte.is_ascii_uppercase())).then(|| Digest::from_bytes(bytes))
}

/// The object as it stands there: a name that stands twice is still seen twice.
#[derive(Debug)]
pub(crate) struct EntryTexts(Vec<(String, String)>);

impl<'de> Deserialize<'de> for EntryTexts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = EntryTexts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of digests and grants")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<EntryTexts, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = fields.next_entry()? {
                    // One more than may be there is enough to refuse all; the rest is only read over.
                    if entries.len() <= MAX_EMBEDDED_KEYS {
                        entries.push(entry);
                    }
                }
                Ok(EntryTexts(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use keygate_decision::{EnvironmentId, Holder};

    use super::*;

    fn grant(key: u64) -> Grant {
        let holder = Holder::Environment(EnvironmentId::parse("1a5").unwrap());
        Grant { key: KeyId(key), holder, expires_at: Some(UnixSeconds(key)) }
    }

    fn digest(number: u64) -> Digest {
        Digest::of(&number.to_string())
    }

    fn parse(json: &str) -> Result<EmbeddedTable, (String, String)> {
        EmbeddedTable::parse(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_table_survives_its_spelling() {
        let entries: BTreeMap<String, String> = (0..50).map(|n| entry_text(&digest(n), &grant(n))).collect();
        let table = parse(&serde_json::to_string(&entries).unwrap()).unwrap();
        assert_eq!((table.len(), table.expired(UnixSeconds(10))), (50, 11));
        assert_eq!(table.find(&digest(7)), Some(&grant(7)));
        assert_eq!(table.find(&digest(50)), None);
        assert_eq!((table.grant_of(KeyId(9)), table.grant_of(KeyId(50))), (Some(&grant(9)), None));
        assert!(parse("{}").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_with_an_entry_is_named_by_its_digest() {
        let (name, value) = entry_text(&digest(1), &grant(1));
        let problem = |name: &str, value: &str| parse(&format!(r#"{{"{name}":"{value}"}}"#)).unwrap_err();
        for wrong in ["", "xyz", &name[1..], &name.to_uppercase(), &format!("{name}00")] {
            let (at, problem) = problem(wrong, &value);
            assert_eq!(at, "[0]");
            assert!(problem.contains("no digest"), "{problem}");
        }
        assert!(problem(&name, "%%").1.contains("not base64"));
        assert!(problem(&name, "AAA").1.contains("not base64"));
        assert!(problem(&name, "////").1.contains("cannot be read"));
        assert!(problem(&name, "").1.contains("cannot be read"));
        let twice = parse(&format!(r#"{{"{name}":"{value}","{name}":"{value}"}}"#));
        assert_eq!(twice, Err((format!(".{name}"), "stands twice".to_owned())));
    }

    #[test]
    fn a_table_too_large_is_refused() {
        let entries = (0..=MAX_EMBEDDED_KEYS as u64).map(|n| entry_text(&digest(n), &grant(n))).collect::<Vec<_>>();
        let mut fewer = entries.clone();
        fewer.pop();
        assert_eq!(EmbeddedTable::parse(EntryTexts(fewer)).map(|table| table.len()), Ok(MAX_EMBEDDED_KEYS));
        assert!(EmbeddedTable::parse(EntryTexts(entries)).is_err_and(|(_, problem)| problem.contains("100000")));
    }
}
