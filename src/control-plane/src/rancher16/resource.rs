//! What the resources are: one table each, from which the schemas, the writable fields and their parsing follow. It holds no rule of who
//! may do what; that a field is an admin's to write only says which fields are looked at.

use serde_json::{Map, Value};

use super::error::Error;
use super::request::Kind;

/// A type of resource.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) kind: Kind,
    pub(super) id: &'static str,
    pub(super) base: &'static str,
    pub(super) plural: &'static str,
    pub(super) collection_methods: &'static [&'static str],
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

const fn read(name: &'static str, kind: &'static str) -> Field {
    Field { name, kind, write: Write::Never, required: false }
}

const fn write(name: &'static str, kind: &'static str, write: Write) -> Field {
    Field { name, kind, write, required: false }
}

const fn action(name: &'static str) -> Action {
    Action { name, input: &[] }
}

const STATE: Field = read("state", "enum");
const COMMON: [Field; 9] = [
    read("id", "string"),
    read("uuid", "string"),
    read("kind", "string"),
    read("created", "date"),
    read("createdTS", "int"),
    read("transitioning", "enum"),
    read("transitioningMessage", "string"),
    read("transitioningProgress", "int"),
    read("data", "map[json]"),
];

const API_KEY: [Field; 8] = [
    write("accountId", "reference[account]", Write::OnCreateByAdmins),
    write("name", "string", Write::Always),
    write("description", "string", Write::Always),
    read("publicValue", "string"),
    read("secretValue", "password"),
    STATE,
    read("removed", "date"),
    read("removeTime", "date"),
];
const ACCOUNT: [Field; 5] =
    [read("externalId", "string"), read("externalIdType", "string"), read("identity", "string"), read("name", "string"), STATE];
const PROJECT: [Field; 4] =
    [write("name", "string", Write::Always), read("description", "string"), read("members", "array[projectMember]"), STATE];
const PROJECT_MEMBER: [Field; 6] = [
    read("externalId", "string"),
    read("externalIdType", "string"),
    read("name", "string"),
    read("projectId", "reference[project]"),
    read("role", "enum"),
    STATE,
];
const TOKEN: [Field; 12] = [
    Field { name: "code", kind: "string", write: Write::OnCreate, required: true },
    read("jwt", "string"),
    read("user", "string"),
    read("userType", "string"),
    read("accountId", "reference[account]"),
    read("security", "boolean"),
    read("enabled", "boolean"),
    read("authProvider", "string"),
    read("redirectUrl", "string"),
    read("originalLogin", "string"),
    read("userIdentity", "identity"),
    read("identities", "array[identity]"),
];
const IDENTITY: [Field; 10] = [
    read("externalId", "string"),
    read("externalIdType", "string"),
    read("name", "string"),
    read("login", "string"),
    read("user", "boolean"),
    read("profilePicture", "string"),
    read("profileUrl", "string"),
    read("role", "string"),
    read("projectId", "string"),
    read("all", "string"),
];

const LOCAL_AUTH_CONFIG: [Field; 5] = [
    write("accessMode", "enum", Write::OnCreate),
    read("name", "string"),
    Field { name: "username", kind: "string", write: Write::OnCreate, required: true },
    Field { name: "password", kind: "password", write: Write::OnCreate, required: true },
    write("enabled", "boolean", Write::OnCreate),
];
const SETTING: [Field; 5] = [
    read("name", "string"),
    write("value", "string", Write::Always),
    read("activeValue", "string"),
    read("source", "string"),
    read("inDb", "boolean"),
];

/// All of them.
pub(super) static ALL: [Resource; 8] = [
    Resource {
        kind: Kind::ApiKey,
        id: "apiKey",
        base: "credential",
        plural: "apiKeys",
        collection_methods: &["GET", "POST"],
        resource_methods: &["GET", "PUT", "DELETE"],
        actions: &[action("activate"), action("deactivate"), action("remove"), action("purge")],
        fields: &API_KEY,
    },
    Resource {
        kind: Kind::Account,
        id: "account",
        base: "account",
        plural: "accounts",
        collection_methods: &["GET"],
        resource_methods: &["GET"],
        actions: &[action("activate"), action("deactivate")],
        fields: &ACCOUNT,
    },
    Resource {
        kind: Kind::Project,
        id: "project",
        base: "account",
        plural: "projects",
        collection_methods: &["GET"],
        resource_methods: &["GET", "PUT"],
        actions: &[],
        fields: &PROJECT,
    },
    Resource {
        kind: Kind::ProjectMember,
        id: "projectMember",
        base: "projectMember",
        plural: "projectMembers",
        collection_methods: &["GET"],
        resource_methods: &[],
        actions: &[],
        fields: &PROJECT_MEMBER,
    },
    Resource {
        kind: Kind::Token,
        id: "token",
        base: "token",
        plural: "tokens",
        collection_methods: &["GET", "POST"],
        resource_methods: &["GET", "DELETE"],
        actions: &[],
        fields: &TOKEN,
    },
    Resource {
        kind: Kind::Identity,
        id: "identity",
        base: "identity",
        plural: "identities",
        collection_methods: &["GET"],
        resource_methods: &["GET"],
        actions: &[],
        fields: &IDENTITY,
    },
    Resource {
        kind: Kind::LocalAuthConfig,
        id: "localAuthConfig",
        base: "localAuthConfig",
        plural: "localAuthConfigs",
        collection_methods: &["GET", "POST"],
        resource_methods: &[],
        actions: &[],
        fields: &LOCAL_AUTH_CONFIG,
    },
    Resource {
        kind: Kind::Setting,
        id: "setting",
        base: "setting",
        plural: "settings",
        collection_methods: &["GET"],
        resource_methods: &["GET", "PUT"],
        actions: &[],
        fields: &SETTING,
    },
];

/// What schemas are themselves.
pub(super) static SCHEMA: Resource = Resource {
    kind: Kind::Schema,
    id: "schema",
    base: "schema",
    plural: "schemas",
    collection_methods: &["GET"],
    resource_methods: &["GET"],
    actions: &[],
    fields: &[],
};

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

    /// The fields that every resource of its kind shows, too.
    pub(super) fn all_fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().chain(&COMMON)
    }

    /// The writable fields that a request gives. Everything else is ignored.
    pub(super) fn writable(&self, given: &Map<String, Value>, creates: bool, admin: bool) -> Result<Map<String, Value>, Error> {
        let mut written = Map::new();
        for field in self.fields {
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
}
