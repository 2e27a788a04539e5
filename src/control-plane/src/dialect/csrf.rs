//! What a browser proves by that a write is by a page of ours: a cookie, whose value only such a page can read, and shows in `X-API-CSRF`. That
//! it is shown is checked where credentials are read.

use axum::http::{HeaderMap, HeaderValue, header};
use keygate_decision::carrier::cookies;

use super::Site;
use crate::random;

const CSRF: &str = "CSRF";

/// The header that gives a browser such a cookie, unless it has one.
pub(crate) fn csrf_cookie(headers: &HeaderMap, site: &Site) -> Option<HeaderValue> {
    let agent = headers.get(header::USER_AGENT).map(|value| value.as_bytes().to_ascii_lowercase()).unwrap_or_default();
    let is_browser = agent.windows(7).any(|part| part == b"mozilla");
    let mut own = headers.get_all(header::COOKIE).iter().flat_map(|value| cookies(value.as_bytes()));
    if !is_browser || own.any(|(name, _)| name.eq_ignore_ascii_case(CSRF.as_bytes())) {
        return None;
    }
    // Without randomness there is none, and nothing can be forged by that: a browser without it writes nothing.
    let value = hex::encode(random::bytes::<16>().ok()?);
    HeaderValue::try_from(format!("{CSRF}={value}; Path=/; SameSite=Strict{}", site.secure())).ok()
}
