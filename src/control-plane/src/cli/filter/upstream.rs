//! What would reach the upstream: the filter's own edits, by the functions that it makes them with.

use std::convert::Infallible;

use keygate_decision::request::is_forbidden_header;
use keygate_decision::{Header, Permit, Policy, Reason};
use serde_json::{Map, Value, json};

/// The edits to a request that passes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Upstream {
    /// Headers that the filter sets, in order.
    pub(super) set: Vec<(String, String)>,
    /// Headers that it removes.
    pub(super) removed: Vec<String>,
    /// Cookies are taken out.
    pub(super) strips_cookies: bool,
    /// Query parameters are taken out.
    pub(super) strips_query: bool,
}

impl Upstream {
    /// The edits to a request that a rule lets pass.
    pub(super) fn forwarded(policy: &Policy, headers: &[Header<'_>], keep_credentials: bool, permit: Option<&Permit>) -> Self {
        let carriers = &policy.carriers;
        let goes = |name: &[u8]| is_forbidden_header(name) || carriers.strips_header(name, keep_credentials);
        Self {
            set: permit.map(|permit| introduction(policy, permit)).unwrap_or_default(),
            removed: names(headers, goes),
            strips_cookies: has(headers, b"cookie", |value| carriers.strip_cookie(value, keep_credentials).is_some()),
            strips_query: has(headers, b":path", |value| carriers.strip_query(value, keep_credentials).is_some()),
        }
    }

    /// The edits to a request that passes in shadow: it keeps its credentials, and nobody says who it is.
    pub(super) fn shadowed(headers: &[Header<'_>], reason: Reason) -> Self {
        let set = vec![("x-keygate-shadow".to_owned(), reason.code().to_owned())];
        Self { set, removed: names(headers, is_forbidden_header), ..Self::default() }
    }

    /// What is taken out, in words.
    pub(super) fn taken_out(&self) -> Vec<String> {
        let more = [(self.strips_cookies, "cookies with credentials"), (self.strips_query, "query parameters with credentials")];
        let more = more.into_iter().filter(|(goes, _)| *goes).map(|(_, what)| what.to_owned());
        self.removed.iter().cloned().chain(more).collect()
    }

    pub(super) fn json(&self) -> Value {
        let set: Map<String, Value> = self.set.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        json!({
            "set": set,
            "removed": self.removed,
            "stripsCookies": self.strips_cookies,
            "stripsQueryParameters": self.strips_query,
        })
    }
}

fn introduction(policy: &Policy, permit: &Permit) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let Ok(()) = policy.introduce(permit, |name, value| {
        all.push((name.to_owned(), value.to_owned()));
        Ok::<(), Infallible>(())
    });
    all
}

fn names(headers: &[Header<'_>], goes: impl Fn(&[u8]) -> bool) -> Vec<String> {
    headers.iter().filter(|(name, _)| goes(name)).map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
}

fn has(headers: &[Header<'_>], wanted: &[u8], goes: impl Fn(&[u8]) -> bool) -> bool {
    headers.iter().any(|(name, value)| *name == wanted && goes(value))
}
