//! Reading JSON objects: one field of one, for environments that are named in it, where nothing else of the document is looked at; and
//! those of a configuration, which are objects and nothing else.

use std::fmt;

use keygate_decision::carrier::is_same_word;
use keygate_decision::locator::FieldText;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

/// See [`keygate_decision::locator::JsonField`]. A field that stands twice is not read: which one an upstream takes is its own affair.
pub fn field(document: &[u8], name: &str) -> Option<Option<FieldText>> {
    let mut deserializer = serde_json::Deserializer::from_slice(document);
    let found = deserializer.deserialize_map(Field(name)).ok()?;
    deserializer.end().ok().map(|()| found)
}

/// Looks for a field in any letter case, because Go's decoder, for one, takes it in any, Unicode's among them.
struct Field<'n>(&'n str);

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Option<FieldText>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = fields.next_key::<String>()? {
            if !is_same_word(name.as_bytes(), self.0) {
                fields.next_value::<IgnoredAny>()?;
            } else if found.replace(FieldText { text: fields.next_value::<Id>()?.0, plain: name == self.0 }).is_some() {
                return Err(A::Error::custom("the field stands twice"));
            }
        }
        Ok(found)
    }
}

/// A string, or a whole number as it is written.
struct Id(String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;
        impl Visitor<'_> for IdVisitor {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a whole number")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
                Ok(Id(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Id, E> {
                Ok(Id(number.to_string()))
            }
        }
        deserializer.deserialize_any(IdVisitor)
    }
}

/// A struct that stands as an object. Serde would take an array of its fields in their order, too, which is a second spelling of
/// everything, and twice the code.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(ObjectOnly(deserializer)).map(Self)
    }
}

struct ObjectOnly<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectOnly<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use keygate_decision::locator::FieldText;

    use super::{Object, field};

    #[test]
    fn an_array_is_no_object() {
        #[derive(serde::Deserialize)]
        struct Pair {
            one: u8,
            two: u8,
        }
        let read = |text| serde_json::from_str::<Object<Pair>>(text).map(|Object(pair)| (pair.one, pair.two));
        assert_eq!(read(r#"{"two":2,"one":1}"#).unwrap(), (1, 2));
        assert!(read("[1,2]").unwrap_err().to_string().contains("invalid type: sequence, expected struct Pair"));
    }

    #[test]
    fn only_what_has_one_meaning_is_read() {
        let read = |document: &str| Some(field(document.as_bytes(), "EndpointID")?.map(|found| found.text));
        assert_eq!(read(r#"{"EndpointID":4,"x":[]}"#), Some(Some("4".to_owned())));
        assert_eq!(read(r#"{"endpointid":"4"}"#), Some(Some("4".to_owned())));
        assert_eq!(read(r#"{"x":1}"#), Some(None));
        assert_eq!(read("{}"), Some(None));
        assert_eq!(
            field("{\"Cluſter\u{212A}ey\":\"a\"}".as_bytes(), "clusterKey"),
            Some(Some(FieldText { text: "a".to_owned(), plain: false }))
        );
        for document in [
            r#"{"EndpointID":4,"EndpointID":5}"#,
            r#"{"EndpointID":4,"endpointId":5}"#,
            r#"{"EndpointID":null}"#,
            "[]",
            "x",
            "",
            r#"{"EndpointID":[4]}"#,
            r#"{"EndpointID":4.0}"#,
            r#"{"EndpointID":4} x"#,
        ] {
            assert_eq!(read(document), None, "{document}");
        }
    }
}
