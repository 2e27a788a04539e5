//! What a request asks, read as leniently as Portainer reads it: a body is JSON whatever its media type says, its fields in any letter
//! case, and what is not known is ignored. It does not look at who asks.

use axum::http::{HeaderMap, Method, Uri};
use keygate_decision::AccountId;
use serde_json::{Map, Value};

use super::error::Error;

/// The paths of the dialect. Numbers stand as they came: whoever may not ask at all is not told that they are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Auth,
    Logout,
    Users,
    Me,
    AdminCheck,
    AdminInit,
    User(String),
    Password(String),
    Tokens(String),
    Token(String, String),
    Status,
    PublicSettings,
}

impl Route {
    /// The route of a path, if there is one; paths are exact, as in Portainer.
    pub(super) fn find(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix("/api/")?.split('/').collect();
        if segments.contains(&"") {
            return None;
        }
        let own = |segment: &&str| (*segment).to_owned();
        Some(match segments.as_slice() {
            ["auth"] => Self::Auth,
            ["auth", "logout"] => Self::Logout,
            ["users"] => Self::Users,
            ["users", "me"] => Self::Me,
            ["users", "admin", "check"] => Self::AdminCheck,
            ["users", "admin", "init"] => Self::AdminInit,
            ["users", user] => Self::User(own(user)),
            ["users", user, "passwd"] => Self::Password(own(user)),
            ["users", user, "tokens"] => Self::Tokens(own(user)),
            ["users", user, "tokens", token] => Self::Token(own(user), own(token)),
            ["status"] | ["system", "status"] => Self::Status,
            ["settings", "public"] => Self::PublicSettings,
            _ => return None,
        })
    }

    /// The methods that it takes, as `Allow` lists them.
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Auth | Self::Logout | Self::AdminInit => "POST",
            Self::Users | Self::Tokens(_) => "GET, HEAD, POST",
            Self::Me | Self::AdminCheck | Self::Status | Self::PublicSettings => "GET, HEAD",
            Self::User(_) => "GET, HEAD, PUT, DELETE",
            Self::Password(_) => "PUT",
            Self::Token(..) => "DELETE",
        }
    }

    /// What the audit record calls it: without what stands in the path, which may be anything.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Logout => "auth/logout",
            Self::Users => "users",
            Self::Me => "users/me",
            Self::AdminCheck => "users/admin/check",
            Self::AdminInit => "users/admin/init",
            Self::User(_) => "users/{id}",
            Self::Password(_) => "users/{id}/passwd",
            Self::Tokens(_) => "users/{id}/tokens",
            Self::Token(..) => "users/{id}/tokens/{id}",
            Self::Status => "status",
            Self::PublicSettings => "settings/public",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Asked<'r> {
    /// One that the route takes; HEAD counts as GET.
    pub(super) method: Method,
    pub(super) route: Route,
    pub(super) uri: &'r Uri,
    pub(super) headers: &'r HeaderMap,
    body: &'r [u8],
}

impl<'r> Asked<'r> {
    /// Reads a request.
    pub(super) fn read(method: Method, uri: &'r Uri, headers: &'r HeaderMap, body: &'r [u8]) -> Result<Self, Error> {
        let route = Route::find(uri.path()).ok_or_else(Error::no_such_path)?;
        if !route.methods().split(", ").any(|taken| taken == method.as_str()) {
            return Err(Error::method_not_allowed(route.methods()));
        }
        let method = if method == Method::HEAD { Method::GET } else { method };
        Ok(Self { method, route, uri, headers, body })
    }

    /// The body's fields.
    pub(super) fn payload(&self) -> Result<Payload, Error> {
        let body: Value = serde_json::from_slice(self.body).map_err(|error| Error::invalid_payload(&error.to_string()))?;
        let Value::Object(fields) = body else { return Err(Error::invalid_payload("the body must be a JSON object")) };
        let mut payload = Map::new();
        for (name, value) in fields {
            // Which of two an upstream would have read is its own affair.
            if payload.insert(name.to_ascii_lowercase(), value).is_some() {
                return Err(Error::invalid_payload(&format!("{name} is given twice, in different letter case; give it once")));
            }
        }
        Ok(Payload(payload))
    }
}

/// A body's fields, their names in lower case.
#[derive(Debug)]
pub(super) struct Payload(Map<String, Value>);

impl Payload {
    /// A text; empty if it is absent or null.
    pub(super) fn text(&self, field: &str) -> Result<&str, Error> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(Error::invalid_payload(&format!("{field} must be a string"))),
        }
    }

    /// A whole number; 0 if it is absent or null.
    pub(super) fn number(&self, field: &str) -> Result<u64, Error> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(0),
            Some(value) => {
                let number = value.as_u64();
                number.ok_or_else(|| Error::invalid_payload(&format!("{field} must be a whole number, not negative")))
            }
        }
    }
}

/// The account that a path names by its number.
pub(super) fn account_id(segment: &str) -> Result<AccountId, Error> {
    number(segment).map(AccountId).ok_or_else(|| Error::no_number("Invalid user identifier route variable"))
}

/// A number in a path; digits alone, as `parse` by itself would take a sign.
pub(super) fn number(segment: &str) -> Option<u64> {
    segment.bytes().all(|byte| byte.is_ascii_digit()).then(|| segment.parse().ok()).flatten()
}
