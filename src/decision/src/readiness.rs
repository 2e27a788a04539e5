//! The path at which the filter says itself whether it is ready. Owns which requests ask that; it says nothing of the answer.

use std::fmt;

use crate::path;
use crate::request::Request;

const MAX_LEN: usize = 256;

/// A path that has one spelling only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadinessPath(String);

/// The text is no such path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidReadinessPath;

impl fmt::Display for InvalidReadinessPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "must be one plain path such as /keygate/ready, at most 256 bytes: beginning with /, without {, }, *, ?, %, \\, ;, #, \
             blanks, // and dot segments",
        )
    }
}

impl std::error::Error for InvalidReadinessPath {}

impl ReadinessPath {
    /// Parses a path.
    ///
    /// # Errors
    /// [`InvalidReadinessPath`] for one that could be spelled or read otherwise, and for a pattern.
    pub fn parse(text: &str) -> Result<Self, InvalidReadinessPath> {
        let is_pattern = text.bytes().any(|byte| b"{}*?".contains(&byte));
        let is_plain = text.len() <= MAX_LEN && !is_pattern && path::is_strict(text.as_bytes());
        is_plain.then(|| Self(text.to_owned())).ok_or(InvalidReadinessPath)
    }

    /// Whether a request asks: a GET or HEAD of exactly this path, with any query.
    pub fn is_asked_by(&self, request: &Request<'_>) -> bool {
        matches!(request.method, b"GET" | b"HEAD") && request.path == Some(self.0.as_bytes())
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::Carriers;
    use crate::request::Reading;

    #[test]
    fn only_a_path_with_one_spelling_will_do() {
        for good in ["/keygate/ready", "/ready", "/ready/", "/a-b_c.d/x:y"] {
            assert_eq!(ReadinessPath::parse(good).map(|path| path.0), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "ready",
            "/a/{environment}",
            "/a/*",
            "/a/**",
            "/a?x",
            "/a%62",
            "/a/../b",
            "/./a",
            "/a//b",
            "//",
            "/a;b",
            "/a\\b",
            "/a b",
            "/ä",
            "/a#b",
        ] {
            assert_eq!(ReadinessPath::parse(bad), Err(InvalidReadinessPath), "{bad}");
        }
        assert!(ReadinessPath::parse(&format!("/{}", "x".repeat(255))).is_ok());
        assert!(ReadinessPath::parse(&format!("/{}", "x".repeat(256))).is_err());
    }

    #[test]
    fn it_is_asked_by_get_and_head_of_that_very_path() {
        let ready = ReadinessPath::parse("/ready").unwrap();
        let carriers = Carriers::standard();
        let asked = |method: &str, path: &str, more: &[(&str, &str)]| {
            let headers = [(":method", method), (":path", path)].into_iter().chain(more.iter().copied());
            let headers = headers.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            ready.is_asked_by(&Request::read(headers, Reading::for_credentials(&carriers)))
        };
        assert!(asked("GET", "/ready", &[]) && asked("HEAD", "/ready?x=1?y", &[]));
        for method in ["POST", "PUT", "OPTIONS", "get", ""] {
            assert!(!asked(method, "/ready", &[]), "{method}");
        }
        for path in ["/ready/", "/Ready", "/%72eady", "/./ready", "//ready", "/ready;x", "ready", "/ready/x", "/"] {
            assert!(!asked("GET", path, &[]), "{path}");
        }
        // Nobody behind the filter sees it, so nobody takes it for another method.
        assert!(asked("GET", "/ready?_method=DELETE", &[("x-http-method-override", "DELETE")]));
    }
}
