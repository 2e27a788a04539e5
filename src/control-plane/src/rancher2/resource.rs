//! What the resources are: one table each, from which the schemas, the writable fields, the methods and the actions follow. It holds no rule of who may do what.

use axum::http::Method;

use super::error::Error;
use super::request::{Asked, Kind};
use crate::dialect::field::{Field, Write, need, read, write};

/// A type of resource.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) kind: Kind,
    pub(super) id: &'static str,
    pub(super) base: &'static str,
    pub(super) plural: &'static str,
    /// Whether it is of the part that needs no credential.
    pub(super) public: bool,
    pub(super) fields: &'static [Field],
    pub(super) operations: &'static [Operation],
}

/// What is done with a resource.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) verb: Verb,
    /// What it does, in one sentence.
    pub(super) about: &'static str,
    /// The type and the fields that an action takes.
    pub(super) input: Option<(&'static str, &'static [Field])>,
    /// The type that an action gives, if that is another one.
    pub(super) output: Option<&'static str>,
    /// What it answers besides [`USUAL_STATUSES`].
    pub(super) statuses: &'static [u16],
}

/// What any operation may answer: no credential, no right, no such thing, another method, what cannot be taken, and a failing server.
pub(super) const USUAL_STATUSES: [u16; 6] = [401, 403, 404, 405, 422, 503];

/// What one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    List,
    Create,
    Show,
    Update,
    Remove,
    /// An action of one thing.
    Act(&'static str),
    /// An action of the collection.
    ActOnAll(&'static str),
}

impl Verb {
    /// The method by which it is asked for.
    pub(super) fn method(self) -> &'static str {
        match self {
            Self::List | Self::Show => "GET",
            Self::Create | Self::Act(_) | Self::ActOnAll(_) => "POST",
            Self::Update => "PUT",
            Self::Remove => "DELETE",
        }
    }

    fn is_of_all(self) -> bool {
        matches!(self, Self::List | Self::Create | Self::ActOnAll(_))
    }
}

const fn plain(verb: Verb, about: &'static str, statuses: &'static [u16]) -> Operation {
    Operation { verb, about, input: None, output: None, statuses }
}

const COMMON: [Field; 7] = [
    read("id", "string"),
    read("uuid", "string"),
    read("created", "date"),
    read("createdTS", "int"),
    read("creatorId", "reference[user]"),
    read("labels", "map[string]"),
    read("annotations", "map[string]"),
];
const TOKEN: [Field; 16] = [
    write("name", "string", Write::OnCreateByAdmins),
    write("description", "string", Write::OnCreate),
    write("ttl", "int", Write::OnCreate),
    write("clusterId", "reference[cluster]", Write::OnCreate),
    write("userId", "reference[user]", Write::OnCreateByAdmins),
    read("token", "password"),
    read("userPrincipal", "reference[principal]"),
    read("groupPrincipals", "array[reference[principal]]"),
    read("authProvider", "string"),
    read("isDerived", "boolean"),
    read("current", "boolean"),
    read("expired", "boolean"),
    read("expiresAt", "string"),
    read("enabled", "boolean"),
    read("lastUsedAt", "date"),
    read("state", "string"),
];
const USER: [Field; 9] = [
    need("username", "string", Write::OnCreate),
    write("password", "password", Write::Always),
    write("enabled", "boolean", Write::Always),
    read("name", "string"),
    read("description", "string"),
    read("mustChangePassword", "boolean"),
    read("principalIds", "array[reference[principal]]"),
    read("me", "boolean"),
    read("state", "string"),
];
const CLUSTER: [Field; 5] = [
    read("name", "string"),
    read("description", "string"),
    read("state", "string"),
    read("transitioning", "string"),
    read("transitioningMessage", "string"),
];
const SETTING: [Field; 6] = [
    read("name", "string"),
    write("value", "string", Write::Always),
    read("default", "string"),
    read("customized", "boolean"),
    read("source", "string"),
    read("description", "string"),
];
const LOGIN: [Field; 5] = [
    need("username", "string", Write::OnCreate),
    need("password", "password", Write::OnCreate),
    write("description", "string", Write::OnCreate),
    write("ttl", "int", Write::OnCreate),
    write("responseType", "string", Write::OnCreate),
];
const CHANGE_PASSWORD: [Field; 2] =
    [need("currentPassword", "password", Write::OnCreate), need("newPassword", "password", Write::OnCreate)];
const SET_PASSWORD: [Field; 2] =
    [write("currentPassword", "password", Write::OnCreate), need("newPassword", "password", Write::OnCreate)];

const SHOW_PROVIDERS: [Operation; 2] =
    [plain(Verb::List, "Lists the ways to log in", &[200]), plain(Verb::Show, "Shows a way to log in", &[200])];

/// All of them.
pub(super) static ALL: [Resource; 6] = [
    Resource {
        kind: Kind::Token,
        id: "token",
        base: "token",
        plural: "tokens",
        public: false,
        fields: &TOKEN,
        operations: &[
            plain(Verb::List, "Lists what passes in your name, also what has expired", &[200]),
            plain(Verb::Create, "Makes a token and shows it, this once; ttl is in milliseconds, 0 for ever", &[201]),
            plain(Verb::ActOnAll("logout"), "Ends the token that is presented", &[200]),
            plain(Verb::Show, "Shows a token of yours, without its secret", &[200]),
            plain(Verb::Remove, "Deletes a token of yours, at every proxy; not the login that is presented", &[204, 400]),
        ],
    },
    Resource {
        kind: Kind::User,
        id: "user",
        base: "user",
        plural: "users",
        public: false,
        fields: &USER,
        operations: &[
            plain(Verb::List, "Lists users: all for an admin, oneself for others and with me=true", &[200]),
            plain(Verb::Create, "Makes a user with a password", &[201]),
            Operation {
                verb: Verb::ActOnAll("changepassword"),
                about: "Gives oneself another password; tokens stay",
                input: Some(("changePasswordInput", &CHANGE_PASSWORD)),
                output: None,
                statuses: &[200, 409, 429],
            },
            plain(Verb::Show, "Shows a user", &[200]),
            plain(Verb::Update, "Disables a user, with all tokens and keys at every proxy, or enables one", &[200, 409, 429]),
            plain(Verb::Remove, "Deletes a user with all tokens and keys", &[200]),
            Operation {
                verb: Verb::Act("setpassword"),
                about: "Gives a user another password; tokens stay",
                input: Some(("setPasswordInput", &SET_PASSWORD)),
                output: Some("user"),
                statuses: &[200, 409, 429],
            },
        ],
    },
    Resource {
        kind: Kind::Cluster,
        id: "cluster",
        base: "cluster",
        plural: "clusters",
        public: false,
        fields: &CLUSTER,
        operations: &[
            plain(Verb::List, "Lists the clusters that you see", &[200]),
            plain(Verb::Show, "Shows a cluster", &[200]),
            Operation {
                verb: Verb::Act("generateKubeconfig"),
                about: "Writes a kubeconfig file for the cluster, with a token in it or with a command that logs in",
                input: None,
                output: Some("generateKubeConfigOutput"),
                statuses: &[200],
            },
        ],
    },
    Resource {
        kind: Kind::Setting,
        id: "setting",
        base: "setting",
        plural: "settings",
        public: false,
        fields: &SETTING,
        operations: &[
            plain(Verb::List, "Lists the settings", &[200]),
            plain(Verb::Show, "Shows a setting; cacerts without a credential, too", &[200]),
            plain(Verb::Update, "Gives a setting a value, or its default back with an empty one", &[200, 409]),
        ],
    },
    Resource {
        kind: Kind::AuthProvider,
        id: "authProvider",
        base: "authProvider",
        plural: "authProviders",
        public: true,
        fields: &[],
        operations: &SHOW_PROVIDERS,
    },
    Resource {
        kind: Kind::LocalProvider,
        id: "localProvider",
        base: "authProvider",
        plural: "localProviders",
        public: true,
        fields: &[],
        operations: &[
            plain(Verb::List, "Lists the ways to log in with a password", &[200]),
            plain(Verb::Show, "Shows the way to log in with a password", &[200]),
            Operation {
                verb: Verb::Act("login"),
                about: "Logs in: the token as JSON, in the cookie R_SESS, or one for kubectl (kubeconfig_<clusterId>)",
                input: Some(("basicLogin", &LOGIN)),
                output: Some("token"),
                statuses: &[200, 201, 429],
            },
        ],
    },
];

/// The resource of a kind; schemas, which have none, look like the first.
pub(super) fn of(kind: Kind) -> &'static Resource {
    let [first, ..] = &ALL;
    ALL.iter().find(|resource| resource.kind == kind).unwrap_or(first)
}

impl Resource {
    /// Its fields and those that every resource has.
    pub(super) fn all_fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().chain(&COMMON)
    }

    /// What is asked of it.
    pub(super) fn operation(&self, asked: &Asked) -> Result<&Operation, Error> {
        let of_all = asked.id.is_none();
        if let (&Method::POST, Some(wanted)) = (&asked.method, &asked.action) {
            let is_it = |operation: &&Operation| match operation.verb {
                Verb::Act(action) => !of_all && action == wanted,
                Verb::ActOnAll(action) => of_all && action == wanted,
                _ => false,
            };
            return self.operations.iter().find(is_it).ok_or_else(Error::no_such_action);
        }
        let here = || self.operations.iter().filter(|operation| operation.verb.is_of_all() == of_all);
        let is_action = |operation: &Operation| matches!(operation.verb, Verb::Act(_) | Verb::ActOnAll(_));
        let found = here().find(|operation| !is_action(operation) && operation.verb.method() == asked.method.as_str());
        found.ok_or_else(|| {
            let mut methods: Vec<&str> = here().map(|operation| operation.verb.method()).collect();
            methods.dedup();
            Error::method_not_allowed(&methods)
        })
    }
}

/// What somebody wants, for those who may not: `create token`.
pub(super) fn deed(asked: &Asked) -> String {
    let Some(kind) = asked.kind else { return "do this".to_owned() };
    let resource = of(kind);
    let verb = match resource.operation(asked).map(|operation| operation.verb) {
        Ok(Verb::List) => "list",
        Ok(Verb::Create) => "create",
        Ok(Verb::Show) => "get",
        Ok(Verb::Update) => "update",
        Ok(Verb::Remove) => "delete",
        Ok(Verb::Act(action) | Verb::ActOnAll(action)) => action,
        Err(_) => "use",
    };
    format!("{verb} {}", resource.id)
}

/// Whether the table says that a request of this kind may get this status.
#[cfg(test)]
pub(crate) fn is_documented(method: &str, path: &str, status: u16) -> bool {
    use axum::body::Bytes;
    use axum::http::{HeaderMap, Uri};
    let (method, uri) = (Method::from_bytes(method.as_bytes()).unwrap(), path.parse::<Uri>().unwrap());
    let site = crate::dialect::Site::of(&HeaderMap::new(), false);
    let asked = Asked::read(&method, &uri, site, Bytes::new());
    let operation = asked.kind.map(|kind| of(kind).operation(&asked));
    let own = match &operation {
        Some(Ok(operation)) => operation.statuses,
        Some(Err(_)) => &[],
        None => &[200],
    };
    let of_schemas = asked.kind == Some(Kind::Schema) && status == 200;
    own.contains(&status) || USUAL_STATUSES.contains(&status) || of_schemas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_says_what_it_does_and_that_it_may_succeed() {
        for resource in &ALL {
            for operation in resource.operations {
                assert!(!operation.about.is_empty() && operation.statuses.iter().any(|status| *status < 300), "{operation:?}");
                assert!(operation.statuses.iter().all(|status| !USUAL_STATUSES.contains(status)), "{operation:?}");
            }
        }
    }
}
