//! The tables of the resources, one each: what they are called, what is done with them, and their fields.

use keygate_decision::AccountId;

use super::request::Kind;
use super::resource::{Action, Input, Resource, action};
use crate::dialect::field::{Field, Write, need, read, write};
use crate::permission;

/// Nobody's number: whoever may do something to this one may do it to all.
const ANYBODY: AccountId = AccountId(0);

const STATE: Field = read("state", "enum");
/// What every resource has.
pub(super) static COMMON: [Field; 9] = [
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

const API_KEY: &[Field] = &[
    write("accountId", "reference[account]", Write::OnCreateByAdmins),
    write("name", "string", Write::Always),
    write("description", "string", Write::Always),
    write("publicValue", "string", Write::OnCreateByAdmins),
    write("secretValue", "password", Write::OnCreateByAdmins),
    STATE,
    read("removed", "date"),
    read("removeTime", "date"),
];
const ACCOUNT: &[Field] = &[
    need("name", "string", Write::OnCreateByAdmins),
    need("kind", "enum", Write::OnCreateByAdmins),
    read("externalId", "string"),
    read("externalIdType", "string"),
    read("identity", "string"),
    STATE,
];
const PROJECT: &[Field] = &[
    need("id", "string", Write::OnCreateByAdmins),
    write("name", "string", Write::Always),
    read("description", "string"),
    write("members", "array[projectMember]", Write::OnCreateByAdmins),
    STATE,
];
const PROJECT_MEMBER: &[Field] = &[
    need("externalId", "string", Write::OnCreate),
    need("externalIdType", "string", Write::OnCreate),
    need("role", "enum", Write::Always),
    write("projectId", "reference[project]", Write::OnCreate),
    read("name", "string"),
    STATE,
];
/// The name that somebody logs in by is the name of the account.
const PASSWORD: &[Field] = &[
    write("accountId", "reference[account]", Write::OnCreateByAdmins),
    write("publicValue", "string", Write::OnCreate),
    need("secretValue", "password", Write::OnCreate),
    read("name", "string"),
    STATE,
];
const TOKEN: &[Field] = &[
    need("code", "string", Write::OnCreate),
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
const IDENTITY: &[Field] = &[
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

const LOCAL_AUTH_CONFIG: &[Field] = &[
    write("accessMode", "enum", Write::OnCreate),
    read("name", "string"),
    need("username", "string", Write::OnCreate),
    need("password", "password", Write::OnCreate),
    write("enabled", "boolean", Write::OnCreate),
];
const SETTING: &[Field] = &[
    read("name", "string"),
    write("value", "string", Write::Always),
    read("activeValue", "string"),
    read("source", "string"),
    read("inDb", "boolean"),
];

/// What `setmembers` takes: all members, those who are left out are none any more.
const SET_MEMBERS: Input =
    Input { id: "setProjectMembersInput", fields: &[need("members", "array[projectMember]", Write::Always)] };
/// What `changesecret` takes. An admin does not need to know the former password of somebody else.
const CHANGE_SECRET: Input = Input {
    id: "changeSecretInput",
    fields: &[write("oldSecret", "password", Write::Always), need("newSecret", "password", Write::Always)],
};

/// All resources.
pub(super) static ALL: [Resource; 9] = [
    Resource {
        kind: Kind::ApiKey,
        id: "apiKey",
        base: "credential",
        plural: "apiKeys",
        collection_methods: &["GET", "POST"],
        made_by: None,
        resource_methods: &["GET", "PUT", "DELETE"],
        actions: &[action("activate"), action("deactivate"), action("remove"), action("purge")],
        fields: API_KEY,
    },
    Resource {
        kind: Kind::Account,
        id: "account",
        base: "account",
        plural: "accounts",
        collection_methods: &["GET", "POST"],
        made_by: Some(permission::Action::CreateAccount),
        resource_methods: &["GET", "DELETE"],
        actions: &[action("activate"), action("deactivate"), action("remove")],
        fields: ACCOUNT,
    },
    Resource {
        kind: Kind::Project,
        id: "project",
        base: "account",
        plural: "projects",
        collection_methods: &["GET", "POST"],
        made_by: Some(permission::Action::CreateEnvironment),
        resource_methods: &["GET", "PUT", "DELETE"],
        actions: &[Action { name: "setmembers", input: Some(SET_MEMBERS) }, action("remove")],
        fields: PROJECT,
    },
    Resource {
        kind: Kind::ProjectMember,
        id: "projectMember",
        base: "projectMember",
        plural: "projectMembers",
        collection_methods: &["GET", "POST"],
        made_by: None,
        resource_methods: &["GET", "PUT", "DELETE"],
        actions: &[action("remove")],
        fields: PROJECT_MEMBER,
    },
    Resource {
        kind: Kind::Password,
        id: "password",
        base: "credential",
        plural: "passwords",
        collection_methods: &["GET", "POST"],
        made_by: Some(permission::Action::SetFirstPassword(ANYBODY)),
        resource_methods: &["GET"],
        actions: &[Action { name: "changesecret", input: Some(CHANGE_SECRET) }],
        fields: PASSWORD,
    },
    Resource {
        kind: Kind::Token,
        id: "token",
        base: "token",
        plural: "tokens",
        collection_methods: &["GET", "POST"],
        made_by: None,
        resource_methods: &["GET", "DELETE"],
        actions: &[],
        fields: TOKEN,
    },
    Resource {
        kind: Kind::Identity,
        id: "identity",
        base: "identity",
        plural: "identities",
        collection_methods: &["GET"],
        made_by: None,
        resource_methods: &["GET"],
        actions: &[],
        fields: IDENTITY,
    },
    Resource {
        kind: Kind::LocalAuthConfig,
        id: "localAuthConfig",
        base: "localAuthConfig",
        plural: "localAuthConfigs",
        collection_methods: &["GET", "POST"],
        made_by: None,
        resource_methods: &[],
        actions: &[],
        fields: LOCAL_AUTH_CONFIG,
    },
    Resource {
        kind: Kind::Setting,
        id: "setting",
        base: "setting",
        plural: "settings",
        collection_methods: &["GET"],
        made_by: None,
        resource_methods: &["GET", "PUT"],
        actions: &[],
        fields: SETTING,
    },
];

/// What schemas are themselves.
pub(super) static SCHEMA: Resource = Resource {
    kind: Kind::Schema,
    id: "schema",
    base: "schema",
    plural: "schemas",
    collection_methods: &["GET"],
    made_by: None,
    resource_methods: &["GET"],
    actions: &[],
    fields: &[],
};
