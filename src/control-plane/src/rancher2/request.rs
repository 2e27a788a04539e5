//! What a request asks, read as leniently as Rancher reads it: types in any letter case, singular or plural; a body that is JSON whatever
//! its media type says. What is wrong with it is told only once it is known who asks. It does not look at who that is.

use axum::body::Bytes;
use axum::http::{Method, Uri};
use keygate_decision::EnvironmentId;
use serde_json::{Map, Value};

use super::error::Error;
use super::render::Base;
use crate::dialect::Site;
use crate::dialect::request::{object, short_query};

/// The types of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Token,
    User,
    Cluster,
    Setting,
    Schema,
    AuthProvider,
    LocalProvider,
}

impl Kind {
    fn parse(segment: &str) -> Option<Self> {
        Some(match segment.to_ascii_lowercase().as_str() {
            "token" | "tokens" => Self::Token,
            "user" | "users" => Self::User,
            "cluster" | "clusters" => Self::Cluster,
            "setting" | "settings" => Self::Setting,
            "schema" | "schemas" => Self::Schema,
            "authprovider" | "authproviders" => Self::AuthProvider,
            "localprovider" | "localproviders" => Self::LocalProvider,
            _ => return None,
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) base: Base,
    pub(super) method: Method,
    /// `None` for what has no type: the version itself, and unknown types, whose name is the id.
    pub(super) kind: Option<Kind>,
    pub(super) id: Option<String>,
    pub(super) action: Option<String>,
    /// Decoded, in order.
    pub(super) query: Vec<(String, String)>,
    /// Whether all of the path and of the query was read.
    is_whole: Result<(), Shortened>,
    body: Bytes,
}

/// Why a request was not read to its end.
#[derive(Debug)]
enum Shortened {
    /// It asks for something below a resource, or names one in no text.
    Path,
    /// The bounds of a query.
    Query(String),
}

impl Asked {
    /// Reads a request.
    pub(super) fn read(method: &Method, uri: &Uri, site: Site, body: Bytes) -> Self {
        let base = Base::of(site, uri.path());
        let short = short_query(uri.query().unwrap_or_default());
        let pairs = |query: &str| form_urlencoded::parse(query.as_bytes()).into_owned().collect::<Vec<_>>();
        let query = short.as_ref().map(|query| pairs(query)).unwrap_or_default();
        let mut segments = uri.path().split('/').filter(|segment| !segment.is_empty()).skip(1).map(decode);
        let (first, id, rest) = (segments.next(), segments.next(), segments.next());
        let garbled = [&first, &id].into_iter().flatten().any(|segment| segment.contains('\u{fffd}'));
        let kind = first.as_deref().and_then(Kind::parse);
        let is_whole = match (rest, garbled) {
            (None, false) => short.map(drop).map_err(Shortened::Query),
            _ => Err(Shortened::Path),
        };
        let action = query.iter().find(|(name, _): &&(String, String)| name == "action").map(|(_, value)| value.clone());
        // A HEAD is answered as a GET, whose body is left out on its way.
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        Self { base, method, kind, id: if kind.is_some() { id } else { first }, action, query, is_whole, body }
    }

    /// Whether it can be answered at all.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.is_whole {
            Ok(()) => Ok(()),
            Err(Shortened::Path) => Err(Error::not_found()),
            Err(Shortened::Query(bounds)) => Err(Error::invalid("InvalidFormat", "query", bounds)),
        }
    }

    /// The cluster that the path names, if it may be one.
    pub(super) fn cluster(&self) -> Option<EnvironmentId> {
        let id = self.id.as_deref().filter(|_| self.kind == Some(Kind::Cluster))?;
        EnvironmentId::parse(id).ok()
    }

    /// A query parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The body's fields; what is null is not given. `code` is what Rancher calls a body that has none.
    pub(super) fn fields(&self, code: &'static str) -> Result<Map<String, Value>, Error> {
        let mut fields = object(&self.body).map_err(|why| Error::body(code, &why))?;
        fields.retain(|_, value| !value.is_null());
        Ok(fields)
    }
}

fn decode(segment: &str) -> String {
    // What would split a form stands for itself in a path.
    let escaped = segment.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(escaped.as_bytes()).next().map(|(text, _)| text.into_owned()).unwrap_or_default()
}
