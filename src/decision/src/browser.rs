//! Whether a browser sends a request, and whether a page of ours made it. It judges nothing: what follows from it is for
//! [`crate::request`].

use crate::carrier;

/// What tells a browser, which sends cookies and passwords that it keeps unasked, from other clients, and its own page from a stranger's.
#[derive(Default)]
pub(crate) struct Browser<'a> {
    pub(crate) is_one: bool,
    /// A page of another origin makes it send this.
    strangers: bool,
    /// A page can set no header of this: it is a link, a form or the like. Source: Fetch, "request's mode".
    unset: bool,
    /// The cookie `CSRF`.
    cookie: Option<&'a [u8]>,
    /// The header `X-API-CSRF`.
    pub(crate) proof: Option<&'a [u8]>,
}

impl<'a> Browser<'a> {
    /// Reads a `Cookie` header.
    pub(crate) fn read_cookies(&mut self, header: &'a [u8]) {
        let own = carrier::cookies(header).find(|(name, _)| name.eq_ignore_ascii_case(b"csrf"));
        self.cookie = self.cookie.or(own.map(|(_, value)| value));
    }

    /// Reads a `User-Agent` header.
    pub(crate) fn read_agent(&mut self, value: &[u8]) {
        self.is_one |= value.windows(7).any(|part| part.eq_ignore_ascii_case(b"mozilla"));
    }

    /// Reads a header that may be one of the two that say how a browser came to send this.
    pub(crate) fn read_fetch(&mut self, name: &[u8], value: &[u8]) {
        let is_other = |words: [&str; 2]| !words.iter().any(|word| word.as_bytes() == value);
        match name.strip_prefix(b"sec-fetch-") {
            Some(b"site") => self.strangers |= is_other(["same-origin", "none"]),
            Some(b"mode") => self.unset |= is_other(["same-origin", "cors"]),
            _ => {}
        }
    }

    /// Whether a page of another origin makes it send what that page can set no header of: then it added `Authorization` by itself.
    pub(crate) fn is_led(&self) -> bool {
        self.strangers && self.unset
    }

    /// Whether its own page shows that it sends this.
    pub(crate) fn has_proof(&self) -> bool {
        self.proof.is_some_and(|proof| !proof.is_empty() && self.cookie == Some(proof))
    }
}
