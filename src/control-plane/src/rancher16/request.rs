//! What a request asks, read as leniently as Rancher reads it: types in any letter case, singular or plural; a body that is JSON whatever
//! its media type says, or a form; query parameters under it. It does not look at who asks.

use axum::http::{HeaderMap, Method, Uri, header};
use keygate_decision::EnvironmentId;
use serde_json::{Map, Value};

use super::error::Error;
use super::render::Base;
use super::resource;
use crate::dialect::request::{object, short_query};

/// The types of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ApiKey,
    Account,
    Project,
    ProjectMember,
    Token,
    Identity,
    Password,
    LocalAuthConfig,
    Setting,
    Schema,
}

impl Kind {
    fn parse(segment: &str) -> Option<Self> {
        Some(match segment.to_ascii_lowercase().as_str() {
            "apikey" | "apikeys" => Self::ApiKey,
            "account" | "accounts" => Self::Account,
            "project" | "projects" => Self::Project,
            "projectmember" | "projectmembers" => Self::ProjectMember,
            "token" | "tokens" => Self::Token,
            "identity" | "identities" => Self::Identity,
            "password" | "passwords" => Self::Password,
            "localauthconfig" | "localauthconfigs" => Self::LocalAuthConfig,
            "setting" | "settings" | "activesetting" | "activesettings" => Self::Setting,
            "schema" | "schemas" => Self::Schema,
            _ => return None,
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) base: Base,
    pub(super) method: Method,
    /// The environment that the request is about, as it names it; it may not exist.
    pub(super) scope: Option<String>,
    /// Whether it asks for what is in that environment. Who its members are is said of the environment itself.
    pub(super) enters: bool,
    /// `None` for what has no type: the version itself, and unknown types, whose name is the id.
    pub(super) kind: Option<Kind>,
    pub(super) id: Option<String>,
    /// What follows the id: a link of the resource.
    pub(super) link: Option<String>,
    pub(super) action: Option<String>,
    /// Decoded, in order.
    pub(super) query: Vec<(String, String)>,
    /// The body's fields over the query's.
    pub(super) fields: Map<String, Value>,
}

impl Asked {
    /// Reads a request.
    pub(super) fn read(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8], base: Base) -> Result<Self, Error> {
        let query = read_query(uri.query().unwrap_or_default())?;
        let parameter = |name: &str| query.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
        let segments = segments(uri.path())?;
        let (scope, rest) = match segments.as_slice() {
            [projects, id, rest @ ..] if Kind::parse(projects) == Some(Kind::Project) && !rest.is_empty() => {
                (Some(id.clone()), rest)
            }
            all => (None, all),
        };
        let mut rest = rest.iter().cloned();
        let (first, id, link) = (rest.next(), rest.next(), rest.next());
        if rest.next().is_some() {
            return Err(Error::not_found());
        }
        let kind = first.as_deref().and_then(Kind::parse);
        let named = headers.get("x-api-project-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
        // What is empty names none: Rancher's own programs send the header whether they have a project or not.
        let not_empty = |text: &String| !text.is_empty();
        let enters = scope.is_none() || kind != Some(Kind::ProjectMember);
        let base = match &scope {
            Some(scope) if enters => base.scoped(scope),
            _ => base,
        };
        Ok(Self {
            base,
            method: overridden(method, parameter("_method"))?,
            scope: scope.or(named.filter(not_empty)).or_else(|| parameter("projectId").filter(not_empty)),
            enters,
            kind,
            id: if kind.is_some() { id } else { first },
            link,
            action: parameter("action"),
            fields: fields(headers, body, &query)?,
            query,
        })
    }

    /// The environment that the request is about. What is no id names none.
    pub(super) fn environment(&self) -> Result<Option<EnvironmentId>, Error> {
        self.scope.as_deref().map(|id| EnvironmentId::parse(id).map_err(|_| self.closed())).transpose()
    }

    /// What those are told for whom there is no such environment as the request is about.
    pub(super) fn closed(&self) -> Error {
        if self.enters { Error::forbidden() } else { Error::not_found() }
    }

    /// Where the schemas are that a client goes on with: whoever begins with the URL of a project means to work in it.
    pub(super) fn schemas_base(&self) -> Base {
        match (self.kind, &self.id) {
            (Some(Kind::Project), Some(id)) if EnvironmentId::parse(id).is_ok() => self.base.clone().scoped(id),
            _ => self.base.clone(),
        }
    }

    /// Whether it is about the version itself.
    pub(super) fn is_root(&self) -> bool {
        self.kind.is_none() && self.id.is_none()
    }

    /// The methods that what is asked for takes, in some state and from somebody.
    pub(super) fn allowed(&self) -> Vec<&'static str> {
        let Some(kind) = self.kind else { return vec!["GET"] };
        let resource = resource::of(kind);
        match (&self.id, &self.link) {
            (None, _) => resource.collection_methods.to_vec(),
            (Some(_), Some(_)) => vec!["GET"],
            (Some(_), None) if resource.actions.is_empty() => resource.resource_methods.to_vec(),
            (Some(_), None) => [resource.resource_methods, &["POST"]].concat(),
        }
    }

    /// A query parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// The segments after the version, decoded.
fn segments(path: &str) -> Result<Vec<String>, Error> {
    let decode = |segment: &str| {
        // A plus is itself in a path.
        let escaped = segment.replace('+', "%2B");
        let decoded = form_urlencoded::parse(escaped.as_bytes()).next().map(|(text, _)| text.into_owned()).unwrap_or_default();
        if segment.contains(['=', '&']) || decoded.contains('\u{fffd}') { Err(Error::not_found()) } else { Ok(decoded) }
    };
    path.split('/').filter(|segment| !segment.is_empty()).skip(1).map(decode).collect()
}

/// Only a POST may stand for another method: what is made to look like a read must not write, nor look as if it had.
fn overridden(method: &Method, other: Option<String>) -> Result<Method, Error> {
    let meant = match other {
        Some(other) if method == Method::POST => {
            Method::from_bytes(other.to_ascii_uppercase().as_bytes()).unwrap_or(Method::POST)
        }
        Some(other) if method.is_safe() && !["GET", "HEAD"].iter().any(|read| other.eq_ignore_ascii_case(read)) => {
            return Err(Error::method_not_allowed("only a POST may stand for another method, by _method"));
        }
        _ => method.clone(),
    };
    // A HEAD is answered as a GET, whose body is left out on its way.
    Ok(if meant == Method::HEAD { Method::GET } else { meant })
}

fn fields(headers: &HeaderMap, body: &[u8], query: &[(String, String)]) -> Result<Map<String, Value>, Error> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_form = media_type.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded");
    let mut fields: Map<String, Value> = query.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    // curl -d sends JSON as a form, and a form's first byte is never a brace.
    if is_form && !body.trim_ascii_start().starts_with(b"{") {
        fields.extend(decode_pairs(body)?.into_iter().map(|(name, value)| (name, value.into())));
    } else {
        fields.extend(object(body).map_err(|why| Error::bad_request("InvalidBodyContent", &why))?);
    }
    Ok(fields)
}

fn read_query(query: &str) -> Result<Vec<(String, String)>, Error> {
    let query = short_query(query).map_err(|bounds| Error::bad_request("QueryTooLong", &bounds))?;
    decode_pairs(query.as_bytes())
}

fn decode_pairs(text: &[u8]) -> Result<Vec<(String, String)>, Error> {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(text).into_owned().collect();
    let garbled = |text: &String| text.contains('\u{fffd}');
    match pairs.iter().any(|(name, value)| garbled(name) || garbled(value)) {
        true => Err(Error::bad_request("InvalidBodyContent", "what is sent must be UTF-8")),
        false => Ok(pairs),
    }
}
