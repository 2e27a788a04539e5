//! Where in a request, besides its path, an environment may be named, and how those places are written. What a request names there is for
//! [`crate::named`].

use std::fmt;

use crate::carrier::is_spelled;
use crate::request;

/// One place that may name an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locator {
    /// A header; the name in lower case.
    Header(String),
    /// A header that names an environment by something of which only the upstream knows what it belongs to; the name in lower case. It
    /// can never be read, so that a request which has it is refused.
    Opaque(String),
    /// What stands behind this user's name and `=` in `Authorization: Basic`; nothing, where nothing stands there.
    Basic(String),
    /// A query parameter; the name as the upstream writes it, and found in any letter case.
    Query(String),
    /// The same, but only what stands before its value's first `:`. Without one it names nothing that can be read.
    QueryBeforeColon(String),
    /// A label of the host name, counted from the left, from 0.
    Host(usize),
    /// A field of the JSON object in a query parameter.
    Json {
        /// The parameter's name as the upstream writes it, and found in any letter case.
        parameter: String,
        /// The field's name, the same.
        field: String,
    },
}

/// Reads a field of a JSON object as text, numbers as they are written: the outer `None` for what is no JSON object or names the
/// field twice or with another type, the inner one where the field is absent. Passed in, because this crate reads no JSON.
pub type JsonField = fn(document: &[u8], field: &str) -> Option<Option<FieldText>>;

/// What a field of a JSON object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldText {
    /// Its value.
    pub text: String,
    /// Its name is written just as it was asked for.
    pub plain: bool,
}

/// The text names no place; the message says what does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidLocator;

impl fmt::Display for InvalidLocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an environment's place is header:NAME, opaque:NAME, basic:USER, query:NAME, query:NAME:*, host:NUMBER or \
             json:PARAMETER.FIELD; Host is host:NUMBER, and no other header of HTTP's or Keygate's own is one",
        )
    }
}

impl std::error::Error for InvalidLocator {}

impl fmt::Display for Locator {
    /// As [`Locator::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Opaque(name) => write!(f, "opaque:{name}"),
            Self::Basic(user) => write!(f, "basic:{user}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::QueryBeforeColon(name) => write!(f, "query:{name}:*"),
            Self::Host(index) => write!(f, "host:{index}"),
            Self::Json { parameter, field } => write!(f, "json:{parameter}.{field}"),
        }
    }
}

impl Locator {
    /// Parses `header:NAME`, `opaque:NAME`, `basic:USER`, `query:NAME`, `query:NAME:*`, `host:NUMBER` or `json:PARAMETER.FIELD`.
    ///
    /// # Errors
    /// [`InvalidLocator`] for anything else, and for headers that mean something already.
    pub fn parse(text: &str) -> Result<Self, InvalidLocator> {
        let (kind, name) = text.split_once(':').ok_or(InvalidLocator)?;
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let is_header = |name: &str| is_name(name) && !request::is_reserved(name.as_bytes());
        match kind {
            "header" if is_header(name) => Ok(Self::Header(name.to_ascii_lowercase())),
            "opaque" if is_header(name) => Ok(Self::Opaque(name.to_ascii_lowercase())),
            "basic" if is_name(name) => Ok(Self::Basic(name.to_ascii_lowercase())),
            "query" => match name.strip_suffix(":*") {
                Some(name) if is_name(name) => Ok(Self::QueryBeforeColon(name.to_owned())),
                None if is_name(name) => Ok(Self::Query(name.to_owned())),
                _ => Err(InvalidLocator),
            },
            "host" => name.parse::<u8>().map(|label| Self::Host(label.into())).map_err(|_| InvalidLocator),
            "json" => match name.split_once('.') {
                Some((parameter, field)) if is_name(parameter) && is_name(field) => {
                    Ok(Self::Json { parameter: parameter.to_owned(), field: field.to_owned() })
                }
                _ => Err(InvalidLocator),
            },
            _ => Err(InvalidLocator),
        }
    }

    /// Whether this place is a header that some upstream may read under this name, in trailers, where a host is none of Envoy's own.
    pub fn is_header(&self, name: &[u8]) -> bool {
        match self {
            Self::Header(own) | Self::Opaque(own) => is_spelled(name, own.as_bytes()),
            Self::Basic(_) => is_spelled(name, b"authorization"),
            Self::Host(_) => {
                [b"host".as_slice(), b"forwarded"].iter().any(|own| is_spelled(name, own))
                    || FORWARDED_HOSTS.iter().any(|own| is_spelled(name, own))
            }
            Self::Query(_) | Self::QueryBeforeColon(_) | Self::Json { .. } => false,
        }
    }
}

/// Some of a policy's places, by their order there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places(u32);

impl Places {
    /// A policy has no more.
    pub const MOST: usize = 32;
    /// All that there are.
    pub const ALL: Self = Self(u32::MAX);

    /// These and the one that has this index.
    #[must_use]
    pub fn with(self, index: usize) -> Self {
        Self(self.0 | (1 << (index % Self::MOST)))
    }

    /// Whether one of them is among the others.
    pub fn meet(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

/// Headers that many upstreams believe rather than the host name itself.
pub(crate) const FORWARDED_HOSTS: [&[u8]; 3] = [b"x-forwarded-host", b"x-original-host", b"x-host"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_names() {
        for text in [
            "header:X-API-Project-Id",
            "opaque:X-Key",
            "basic:x-api-bearer",
            "query:endpointId",
            "query:projectId:*",
            "host:0",
            "json:filters.EndpointID",
        ] {
            let written = Locator::parse(text).map(|locator| locator.to_string());
            assert!(written.is_ok_and(|written| written.eq_ignore_ascii_case(text)), "{text}");
        }
        for text in [
            "",
            "header",
            "header:",
            "host:x",
            "host:256",
            "json:filters",
            "json:.x",
            "path:x",
            "query:a b",
            "query:a:b",
            "query::*",
            "header:a:*",
            "opaque:",
            "basic:a=b",
            // Envoy knows it by another name, and the others mean something to HTTP or are ours.
            "header:Host",
            "header:cookie",
            "opaque:authorization",
            "header:Content-Length",
            "header:transfer_encoding",
            "header:x-keygate-environment",
            "opaque:x_keygate_key",
        ] {
            assert_eq!(Locator::parse(text), Err(InvalidLocator), "{text}");
        }
    }
}
