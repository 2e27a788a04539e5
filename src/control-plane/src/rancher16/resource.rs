//! What a table says of a resource, and what follows from it: which fields are writable, and how they are parsed. It holds no rule of who
//! may do what; that a field is an admin's to write only says which fields are looked at.

use serde_json::{Map, Value};

use super::error::Error;
use super::request::Kind;
use super::tables::COMMON;
pub(super) use super::tables::{ALL, SCHEMA};

/// A type of resource.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) kind: Kind,
    pub(super) id: &'static str,
    pub(super) base: &'static str,
    pub(super) plural: &'static str,
    pub(super) collection_methods: &'static [&'static str],
    /// Whether only admins make one.
    pub(super) made_by_admins: bool,
    pub(super) resource_methods: &'static [&'static str],
    pub(super) actions: &'static [Action],
    pub(super) fields: &'static [Field],
}

/// What can be done to a resource beyond reading, editing and removing it.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) name: &'static str,
    /// What it needs to know.
    pub(super) input: &'static [Field],
}

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
    OnCreateByAdmins,
    Always,
}

/// A field that is only shown.
pub(super) const fn read(name: &'static str, kind: &'static str) -> Field {
    Field { name, kind, write: Write::Never, required: false }
}

/// A field that may be left out.
pub(super) const fn write(name: &'static str, kind: &'static str, write: Write) -> Field {
    Field { name, kind, write, required: false }
}

/// A field that may not be left out where it may be written.
pub(super) const fn need(name: &'static str, kind: &'static str, write: Write) -> Field {
    Field { name, kind, write, required: true }
}

/// An action that needs to know nothing.
pub(super) const fn action(name: &'static str) -> Action {
    Action { name, input: &[] }
}

/// The table of a type.
pub(super) fn of(kind: Kind) -> &'static Resource {
    ALL.iter().find(|resource| resource.kind == kind).unwrap_or(&SCHEMA)
}

impl Field {
    /// A value of its kind: null, a text, or, for booleans, also the word that a form has.
    fn read(&self, value: &Value) -> Result<Value, &'static str> {
        match (self.kind, value) {
            (_, Value::Null) | ("boolean", Value::Bool(_)) => Ok(value.clone()),
            ("boolean", Value::String(word)) if word == "true" || word == "false" => Ok((word == "true").into()),
            ("boolean", _) => Err("must be true or false"),
            (kind, Value::Array(_)) if kind.starts_with("array[") => Ok(value.clone()),
            (kind, _) if kind.starts_with("array[") => Err("must be a list"),
            (_, Value::String(_)) => Ok(value.clone()),
            _ => Err("must be a string"),
        }
    }
}

impl Resource {
    /// Whether there is such an action.
    pub(super) fn has_action(&self, name: &str) -> bool {
        self.actions.iter().any(|action| action.name == name)
    }

    /// Whether a project has things of its own of this kind.
    pub(super) fn is_in_projects(&self) -> bool {
        matches!(self.kind, Kind::ApiKey | Kind::ProjectMember)
    }

    /// Whether it is for those who have no credential yet.
    pub(super) fn needs_no_credential(&self) -> bool {
        self.kind == Kind::Token
    }

    /// Whether only admins see that it is there.
    pub(super) fn is_for_admins(&self) -> bool {
        matches!(self.kind, Kind::LocalAuthConfig | Kind::Setting)
    }

    /// Its fields, before them those that every resource has.
    pub(super) fn all_fields(&self) -> impl Iterator<Item = &Field> {
        let own = |name: &str| self.fields.iter().any(|field| field.name == name);
        COMMON.iter().filter(move |field| !own(field.name)).chain(self.fields)
    }

    /// What an action needs to know, of what a request gives.
    pub(super) fn input(&self, action: &str, given: &Map<String, Value>) -> Result<Map<String, Value>, Error> {
        let action = self.actions.iter().find(|own| own.name == action).ok_or_else(Error::no_such_action)?;
        read_fields(action.input, given, true, true)
    }

    /// The writable fields that a request gives. Everything else is ignored.
    pub(super) fn writable(&self, given: &Map<String, Value>, creates: bool, admin: bool) -> Result<Map<String, Value>, Error> {
        read_fields(self.fields, given, creates, admin)
    }
}

fn read_fields(fields: &[Field], given: &Map<String, Value>, creates: bool, admin: bool) -> Result<Map<String, Value>, Error> {
    let mut written = Map::new();
    for field in fields {
        let may = match field.write {
            Write::Never => false,
            Write::OnCreate => creates,
            Write::OnCreateByAdmins => creates && admin,
            Write::Always => true,
        };
        match given.get(field.name).filter(|_| may) {
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
