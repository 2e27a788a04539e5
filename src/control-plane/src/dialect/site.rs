//! This site as a client reached it: what links begin with, and whether a cookie is for TLS alone. It decides nothing about who comes:
//! whoever sends a wrong header gets wrong links.

use std::convert::Infallible;
use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use crate::api::Peer;

/// Prints as `https://host`, with the port if it is not the usual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    is_https: bool,
    host: String,
}

impl Site {
    /// Reads what a proxy in front says of its own connection; without one it is as ours is.
    pub(crate) fn of(headers: &HeaderMap, by_tls: bool) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is_https = match text("x-forwarded-proto") {
            Some("https") => true,
            Some("http") => false,
            _ => by_tls,
        };
        let plain = |host: &&str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
        let host = text(header::HOST.as_str()).filter(plain).unwrap_or("localhost");
        Self { is_https, host: host.to_owned() }
    }

    /// The end of a cookie: a browser that came by TLS never shows it otherwise.
    pub(crate) fn secure(&self) -> &'static str {
        if self.is_https { "; Secure" } else { "" }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_https { "https" } else { "http" }, self.host)
    }
}

impl<S: Sync> FromRequestParts<S> for Site {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers, parts.extensions.get::<Peer>().is_some_and(|peer| peer.by_tls)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_as_the_client_reached_it() {
        let site = |by_tls: bool, said: &[(&'static str, &str)]| {
            let said = said.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            Site::of(&said.collect(), by_tls).to_string()
        };
        assert_eq!(site(false, &[("host", "keys.example:8080")]), "http://keys.example:8080");
        assert_eq!(site(true, &[("host", "[::1]:8443")]), "https://[::1]:8443");
        assert_eq!(site(false, &[("host", "a"), ("x-forwarded-proto", "https")]), "https://a");
        assert_eq!(site(true, &[("host", "a"), ("x-forwarded-proto", "http")]), "http://a");
        assert_eq!(site(true, &[("host", "a/b?\"<"), ("x-forwarded-proto", "gopher")]), "https://localhost");
    }
}
