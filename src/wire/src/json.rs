//! Reading one field of a JSON object, for environments that are named in one. Nothing else of the document is looked at.

use serde::Deserialize;
use serde_json::{Map, Value};

/// See [`keygate_decision::locator::JsonField`]. A field that stands twice is not read: which one an upstream takes is its own affair.
pub fn field(document: &[u8], name: &str) -> Option<Option<String>> {
    let Unique(fields) = serde_json::from_slice(document).ok()?;
    // Go's decoder, for one, takes a field in any letter case.
    let mut found = fields.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
    match (found.next(), found.next()) {
        (None, _) => Some(None),
        (Some((_, Value::String(text))), None) => Some(Some(text.clone())),
        (Some((_, Value::Number(number))), None) => Some(Some(number.to_string())),
        _ => None,
    }
}

/// An object's fields, none of which stands twice.
struct Unique(Map<String, Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Unique;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut access: A) -> Result<Unique, A::Error> {
                let mut fields = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if fields.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("a field stands twice"));
                    }
                }
                Ok(Unique(fields))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn only_what_has_one_meaning_is_read() {
        let read = |document: &str| field(document.as_bytes(), "EndpointID");
        assert_eq!(read(r#"{"EndpointID":4,"x":[]}"#), Some(Some("4".to_owned())));
        assert_eq!(read(r#"{"endpointid":"4"}"#), Some(Some("4".to_owned())));
        assert_eq!(read(r#"{"x":1}"#), Some(None));
        assert_eq!(read("{}"), Some(None));
        for document in [
            r#"{"EndpointID":4,"EndpointID":5}"#,
            r#"{"EndpointID":4,"endpointId":5}"#,
            r#"{"EndpointID":null}"#,
            "[]",
            "x",
            "",
            r#"{"EndpointID":[4]}"#,
        ] {
            assert_eq!(read(document), None, "{document}");
        }
    }
}
