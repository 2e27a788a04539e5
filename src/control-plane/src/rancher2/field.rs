//! Fields of resources and of what actions take: when they may be written, and how their values are read. It knows no resource.

use serde_json::{Map, Value};

use super::error::Error;

/// A field of a resource.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// As schemas name it.
    pub(super) kind: &'static str,
    pub(super) write: Write,
    pub(super) required: bool,
}

/// When a field may be written. What is written otherwise is silently ignored, as Rancher does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Never,
    OnCreate,
    Always,
}

/// One that is only read.
pub(super) const fn read(name: &'static str, kind: &'static str) -> Field {
    Field { name, kind, write: Write::Never, required: false }
}

/// One that may be written.
pub(super) const fn write(name: &'static str, kind: &'static str, write: Write) -> Field {
    Field { name, kind, write, required: false }
}

/// One that must be given where something is made.
pub(super) const fn required(name: &'static str, kind: &'static str) -> Field {
    Field { name, kind, write: Write::OnCreate, required: true }
}

/// The writable ones of these fields that a request gives. Everything else is ignored.
pub(super) fn writable(fields: &[Field], given: &Map<String, Value>, creates: bool) -> Result<Map<String, Value>, Error> {
    let mut written = Map::new();
    for field in fields {
        let may = match field.write {
            Write::Never => false,
            Write::OnCreate => creates,
            Write::Always => true,
        };
        // What is null is not given.
        match given.get(field.name).filter(|value| may && !value.is_null()) {
            None if may && creates && field.required => {
                return Err(Error::invalid("MissingRequired", field.name, "is missing"));
            }
            None => {}
            Some(value) => {
                let value = field.read(value).map_err(|why| Error::invalid("InvalidFormat", field.name, why))?;
                written.insert(field.name.to_owned(), value);
            }
        }
    }
    Ok(written)
}

/// A text among written fields; an empty one is none.
pub(super) fn text<'w>(written: &'w Map<String, Value>, field: &str) -> Option<&'w str> {
    written.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}

impl Field {
    /// A value of its kind; numbers and booleans also as the text of one, as Rancher takes them.
    fn read(&self, value: &Value) -> Result<Value, &'static str> {
        match (self.kind, value) {
            ("int", Value::Number(_)) => whole(value.as_u64()),
            ("int", Value::String(text)) => whole(text.parse().ok()),
            ("int", _) => Err("must be a number"),
            ("boolean", Value::Bool(_)) => Ok(value.clone()),
            ("boolean", Value::String(word)) if word == "true" || word == "false" => Ok((word == "true").into()),
            ("boolean", _) => Err("must be true or false"),
            (_, Value::String(_)) => Ok(value.clone()),
            _ => Err("must be a string"),
        }
    }
}

fn whole(number: Option<u64>) -> Result<Value, &'static str> {
    number.map(Value::from).ok_or("must be a whole number, not negative")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_rancher_reads_them() {
        let read = |kind, value: Value| Field { name: "x", kind, write: Write::Always, required: false }.read(&value).ok();
        assert_eq!(read("int", "60000".into()), Some(60_000.into()));
        assert_eq!(read("int", 0.into()), Some(0.into()));
        for value in [Value::from(-1), 1.5.into(), "1h".into(), true.into(), "-1".into(), "".into()] {
            assert_eq!(read("int", value.clone()), None, "{value}");
        }
        assert_eq!(read("boolean", "false".into()), Some(false.into()));
        assert_eq!((read("boolean", 1.into()), read("string", 1.into())), (None, None));
    }
}
