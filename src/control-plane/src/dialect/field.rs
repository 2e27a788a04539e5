//! Fields of resources and of what actions take: when they may be written, and how their values are read. It knows no resource, and
//! holds no rule of who may do what: that a field is an admin's to write only says which fields are looked at.

use serde_json::{Map, Value};

use crate::operations::Refusal;

/// A field of a resource.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// As schemas name it.
    pub(crate) kind: &'static str,
    pub(crate) write: Write,
    pub(crate) required: bool,
}

/// When a field may be written. What is written otherwise is silently ignored, as the systems do that have such fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Never,
    OnCreate,
    OnCreateByAdmins,
    Always,
}

/// A field that is only shown.
pub(crate) const fn read(name: &'static str, kind: &'static str) -> Field {
    Field { name, kind, write: Write::Never, required: false }
}

/// A field that may be left out.
pub(crate) const fn write(name: &'static str, kind: &'static str, write: Write) -> Field {
    Field { name, kind, write, required: false }
}

/// A field that may not be left out where something is made and it may be written.
pub(crate) const fn need(name: &'static str, kind: &'static str, write: Write) -> Field {
    Field { name, kind, write, required: true }
}

/// The writable ones of these fields that a request gives. Everything else is ignored.
pub(crate) fn writable(
    fields: &[Field],
    given: &Map<String, Value>,
    creates: bool,
    admin: bool,
) -> Result<Map<String, Value>, Refusal> {
    let mut written = Map::new();
    for field in fields {
        let may = match field.write {
            Write::Never => false,
            Write::OnCreate => creates,
            Write::OnCreateByAdmins => creates && admin,
            Write::Always => true,
        };
        match given.get(field.name).filter(|_| may) {
            None if may && creates && field.required => return Err(Refusal::Absent(field.name)),
            None => {}
            Some(value) => {
                let value = field.read(value).map_err(|why| Refusal::invalid(field.name, why))?;
                written.insert(field.name.to_owned(), value);
            }
        }
    }
    Ok(written)
}

/// A text among written fields; an empty one is none.
pub(crate) fn text<'w>(written: &'w Map<String, Value>, field: &str) -> Option<&'w str> {
    written.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}

impl Field {
    /// A value of its kind, or null; numbers and booleans also as the text of one, as forms have them.
    fn read(&self, value: &Value) -> Result<Value, &'static str> {
        match (self.kind, value) {
            (_, Value::Null) => Ok(Value::Null),
            // 60000.0 is whole, too.
            ("int", Value::Number(number)) => {
                let text = number.to_string();
                whole(text.strip_suffix(".0").unwrap_or(&text))
            }
            ("int", Value::String(text)) => whole(text),
            ("int", _) => Err("must be a number"),
            ("boolean", Value::Bool(_)) => Ok(value.clone()),
            ("boolean", Value::String(word)) if word == "true" || word == "false" => Ok((word == "true").into()),
            ("boolean", _) => Err("must be true or false"),
            (kind, Value::Array(_)) if kind.starts_with("array[") => Ok(value.clone()),
            (kind, _) if kind.starts_with("array[") => Err("must be a list"),
            (_, Value::String(_)) => Ok(value.clone()),
            _ => Err("must be a string"),
        }
    }
}

/// Whether a negative one means anything is for the field's own resource to say.
fn whole(text: &str) -> Result<Value, &'static str> {
    let number = text.parse::<u64>().map(Value::from).or_else(|_| text.parse::<i64>().map(Value::from));
    number.map_err(|_| "must be a whole number from -9223372036854775808 to 18446744073709551615")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_as_rancher_reads_them() {
        let read = |kind, value: Value| write("x", kind, Write::Always).read(&value).ok();
        assert_eq!(read("int", "60000".into()), Some(60_000.into()));
        assert_eq!(read("int", 0.into()), Some(0.into()));
        assert_eq!(read("int", json!(3.6e6)), Some(3_600_000.into()), "as programs write it that count in floats");
        for negative in [json!(-1), json!(-1.0), json!("-1")] {
            assert_eq!(read("int", negative.clone()), Some((-1).into()), "{negative}");
        }
        for value in [Value::from(-1.5), 1.5.into(), 1e20.into(), (-1e20).into(), "1h".into(), true.into(), "".into()] {
            assert_eq!(read("int", value.clone()), None, "{value}");
        }
        assert_eq!(read("boolean", "false".into()), Some(false.into()));
        assert_eq!((read("boolean", 1.into()), read("string", 1.into())), (None, None));
        assert_eq!((read("array[x]", json!([1])), read("array[x]", "1".into())), (Some(json!([1])), None));
        assert_eq!(read("string", Value::Null), Some(Value::Null));
    }

    #[test]
    fn only_what_may_be_written_is_looked_at() {
        let fields = [
            read("shown", "string"),
            need("made", "string", Write::OnCreate),
            need("admins", "string", Write::OnCreateByAdmins),
            write("always", "string", Write::Always),
        ];
        let written = |given: Value, creates, admin| {
            let written = writable(&fields, given.as_object().unwrap(), creates, admin);
            written.map(|written| written.keys().cloned().collect::<Vec<_>>().join(" ")).map_err(|why| why.to_string())
        };
        let all = || json!({"shown": 1, "made": "x", "admins": "x", "always": "x", "unheard": 1});
        assert_eq!(written(all(), false, true).unwrap(), "always");
        assert_eq!(written(all(), true, false).unwrap(), "always made");
        assert_eq!(written(all(), true, true).unwrap(), "admins always made");
        assert_eq!(written(json!({"made": "x"}), true, false).unwrap(), "made");
        assert_eq!(written(json!({"made": "x"}), true, true).unwrap_err(), "admins is missing");
        assert_eq!(written(json!({"always": 1}), false, false).unwrap_err(), "always: must be a string");
    }
}
