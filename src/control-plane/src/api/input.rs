//! What a request says, parsed field by field into domain types. Unknown fields are refused, and every refusal names its field: that is
//! why bodies are not deserialized into structs.

use std::fmt;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Error;

/// The fields of a body or of a query.
#[derive(Debug)]
pub(super) struct Fields {
    given: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    /// A field that must be there and not null.
    pub(super) fn required<T>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Result<T, Error> {
        self.optional(field, parse)?.ok_or_else(|| Error::missing_field(field))
    }

    /// A field that may be absent or null.
    pub(super) fn optional<T>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Result<Option<T>, Error> {
        Ok(self.edited(field, parse)?.flatten())
    }

    /// A field whose absence and whose null mean different things: leave it, and clear it.
    pub(super) fn edited<T>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Result<Option<Option<T>>, Error> {
        self.known.push(field);
        match self.given.remove(field) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(value) => match parse(&value) {
                Ok(parsed) => Ok(Some(Some(parsed))),
                Err(why) => Err(Error::invalid_field(field, why)),
            },
        }
    }

    /// A field that may be absent but not null.
    pub(super) fn replaced<T>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Result<Option<T>, Error> {
        match self.edited(field, parse)? {
            Some(None) => Err(Error::invalid_field(field, "must not be null; leave it out to keep it as it is")),
            given => Ok(given.flatten()),
        }
    }

    /// Reads fields with a function, then refuses those that it did not ask for.
    fn read<T>(given: Map<String, Value>, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let mut fields = Self { given, known: Vec::new() };
        let result = read(&mut fields)?;
        match fields.given.into_iter().next() {
            Some((unknown, _)) => Err(Error::unknown_field(unknown, &fields.known)),
            None => Ok(result),
        }
    }
}

/// For [`Fields`]: a string that is parsed further.
pub(super) fn text<T, E: ToString>(parse: impl FnOnce(&str) -> Result<T, E>) -> impl FnOnce(&Value) -> Result<T, String> {
    |value| match value {
        Value::String(text) => parse(text).map_err(|why| why.to_string()),
        _ => Err("must be a string".to_owned()),
    }
}

/// For [`Fields`]: a whole number, not negative, that is parsed further.
pub(super) fn number<T>(parse: impl FnOnce(u64) -> Result<T, String>) -> impl FnOnce(&Value) -> Result<T, String> {
    |value| match value.as_u64() {
        Some(number) => parse(number),
        None => Err("must be a whole number, not negative".to_owned()),
    }
}

/// A JSON object as body.
#[derive(Debug)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    /// Reads the body's fields; what `read` does not ask for is refused.
    pub(super) fn read<T>(self, read: impl FnOnce(&mut Fields) -> Result<T, Error>) -> Result<T, Error> {
        Fields::read(self.0, read)
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        if !is_json(request.headers()) {
            return Err(Error::not_json());
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|_| Error::unreadable_body())?;
        let object: Object = serde_json::from_slice(&bytes).map_err(|error| Error::malformed_body(&error.to_string()))?;
        once_each(object.0).map(Self)
    }
}

/// Lets a request through that has no body, or one that says nothing: what it says would be ignored.
pub(super) async fn refuse_body(request: Request, next: Next) -> Result<Response, Error> {
    let (head, body) = request.into_parts();
    let bytes = Bytes::from_request(Request::new(body), &()).await.map_err(|_| Error::unreadable_body())?;
    if bytes.is_empty() || serde_json::from_slice::<Object>(&bytes).is_ok_and(|object| object.0.is_empty()) {
        return Ok(next.run(Request::from_parts(head, bytes.into())).await);
    }
    Err(Error::invalid_field("body", "must be empty: this takes none"))
}

/// A JSON object as it was written. A map would keep the last of several fields of one name, and others may read the first.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Vec<(String, Value)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Fields).map(Self)
    }
}

fn once_each(fields: Vec<(String, Value)>) -> Result<Map<String, Value>, Error> {
    let mut map = Map::new();
    for (name, value) in fields {
        if map.contains_key(&name) {
            return Err(Error::invalid_field(&name, "is given twice; give it once"));
        }
        map.insert(name, value);
    }
    Ok(map)
}

/// The query's parameters, each of them a string and given once.
#[derive(Debug)]
pub(super) struct Parameters(Map<String, Value>);

impl Parameters {
    /// Reads the parameters; what `read` does not ask for is refused.
    pub(super) fn read<T>(self, read: impl FnOnce(&mut Fields) -> Result<T, Error>) -> Result<T, Error> {
        Fields::read(self.0, read)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Error::invalid_field("query", rejection.body_text()))?;
        once_each(pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect()).map(Self)
    }
}

/// The variable segments of the path. One that is not even text names nothing.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(segments)| Self(segments)).map_err(|_| Error::no_such_path())
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}
