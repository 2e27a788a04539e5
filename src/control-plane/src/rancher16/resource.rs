//! What a table says of a resource, and what follows from it. It holds no rule of who may do what.

use serde_json::{Map, Value};

use super::error::Error;
use super::request::Kind;
use super::tables::COMMON;
pub(super) use super::tables::{ALL, SCHEMA};
use crate::dialect::field::{Field, writable};
use crate::operations::may;
use crate::permission::{self, Caller, Tie};

/// A type of resource.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) kind: Kind,
    pub(super) id: &'static str,
    pub(super) base: &'static str,
    pub(super) plural: &'static str,
    pub(super) collection_methods: &'static [&'static str],
    /// What somebody must be allowed to do to make one. Where there is nothing here, it depends on what is made.
    pub(super) made_by: Option<permission::Action>,
    pub(super) resource_methods: &'static [&'static str],
    pub(super) actions: &'static [Action],
    pub(super) fields: &'static [Field],
}

/// What can be done to a resource beyond reading, editing and removing it.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) name: &'static str,
    /// What it needs to know, if it does.
    pub(super) input: Option<Input>,
}

/// What an action needs to know: a type of its own in schemas, of which there are no things.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input {
    pub(super) id: &'static str,
    pub(super) fields: &'static [Field],
}

/// An action that needs to know nothing.
pub(super) const fn action(name: &'static str) -> Action {
    Action { name, input: None }
}

/// The table of a type.
pub(super) fn of(kind: Kind) -> &'static Resource {
    ALL.iter().find(|resource| resource.kind == kind).unwrap_or(&SCHEMA)
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

    /// Whether a caller is led to it, in the environment to which this ties them, or outside of all.
    pub(super) fn is_seen_by(&self, caller: &Caller, tie: Option<Tie>) -> bool {
        match (self.kind, tie) {
            (Kind::LocalAuthConfig | Kind::Setting, _) => may(caller, permission::Action::ManageSettings),
            (Kind::ApiKey, Some(tie)) => may(caller, permission::Action::ManageEnvironmentKey(tie)),
            _ => true,
        }
    }

    /// The methods of all of its kind, for a caller.
    pub(super) fn collection_methods_for(&self, caller: &Caller, tie: Option<Tie>) -> Vec<&'static str> {
        let makes = self.made_by.is_none_or(|action| may(caller, action)) && self.is_changed_by(caller, tie);
        self.collection_methods.iter().copied().filter(|method| *method != "POST" || makes).collect()
    }

    /// The methods of one of its kind, for a caller.
    pub(super) fn methods_for(&self, caller: &Caller, tie: Option<Tie>) -> Vec<&'static str> {
        let changes = self.is_changed_by(caller, tie);
        self.resource_methods.iter().copied().filter(|method| *method == "GET" || changes).collect()
    }

    /// The actions of one of its kind, for a caller.
    pub(super) fn actions_for(&self, caller: &Caller, tie: Option<Tie>) -> &'static [Action] {
        if self.is_changed_by(caller, tie) { self.actions } else { &[] }
    }

    /// Whether a caller changes any of its kind. Outside of all environments that depends on which one it is in.
    fn is_changed_by(&self, caller: &Caller, tie: Option<Tie>) -> bool {
        match (self.kind, tie) {
            (Kind::Project | Kind::ProjectMember, Some(tie)) => may(caller, permission::Action::ManageEnvironment(tie)),
            (Kind::Account, _) => may(caller, permission::Action::CreateAccount),
            _ => true,
        }
    }

    /// Its fields, before them those that every resource has.
    pub(super) fn all_fields(&self) -> impl Iterator<Item = &Field> {
        let own = |name: &str| self.fields.iter().any(|field| field.name == name);
        COMMON.iter().filter(move |field| !own(field.name)).chain(self.fields)
    }

    /// What an action needs to know, of what a request gives.
    pub(super) fn input(&self, action: &str, given: &Map<String, Value>) -> Result<Map<String, Value>, Error> {
        let action = self.actions.iter().find(|own| own.name == action).ok_or_else(Error::no_such_action)?;
        Ok(writable(action.input.map_or(&[][..], |input| input.fields), given, true, true)?)
    }

    /// The writable fields that a request gives. Everything else is ignored.
    pub(super) fn writable(&self, given: &Map<String, Value>, creates: bool, admin: bool) -> Result<Map<String, Value>, Error> {
        Ok(writable(self.fields, given, creates, admin)?)
    }
}
