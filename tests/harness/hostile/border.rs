//! The border that no request may cross: a filter between environments `1a5`, `1a6` and the administration, for keys of `1a5` alone.
//! Owns how a crossing would show in what reaches the upstream.

use std::sync::LazyLock;

use keygate_decision::request::is_forbidden_header;
use keygate_decision::{EnvironmentId, Header, Policy};
use keygate_wire::{FilterConfig, json};

use super::views::{decoded, folded, jetty_parameters, views};

/// The environment of the keys.
pub const OWN: &str = "1a5";

/// The filter's configuration. It ends in a catch-all, as no preset does: the worst that an operator may write.
pub const FILTER: &str = r#"{
  "proxy": "edge-1",
  "control_plane": { "cluster": "keygate" },
  "carriers": ["basic", "bearer", "bare", "header:x-api-key", "cookie:token", "query:x-api-key"],
  "strip": ["cookie:R_SESS", "query:token"],
  "environment_places": ["header:x-api-project-id", "query:projectId", "json:filters.EndpointID"],
  "rules": [
    { "path": "/public/**", "target": "public" },
    { "path": "/v1/projects/{environment}/exec", "target": "environment", "access": "write" },
    { "path": "/v1/projects/{environment}/**", "target": "environment" },
    { "path": "/v3/projects/{environment}:*/**", "target": "environment" },
    { "path": "/v1/settings/**", "target": "admin" },
    { "path": "/api/kubernetes/config", "target": "own" },
    { "path": "/api/kubernetes/{environment}/**", "target": "environment" },
    { "path": "/**", "target": "own" }
  ]
}"#;

/// [`FILTER`], parsed.
pub fn policy() -> &'static Policy {
    static POLICY: LazyLock<Policy> =
        LazyLock::new(|| FilterConfig::parse(FILTER.as_bytes()).expect("the border's configuration is a good one").policy);
    &POLICY
}

/// How some reader of this path would see another environment or the administration in it; `None` if none would.
pub fn path_crossing(path: &[u8]) -> Option<String> {
    let path = path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    views(path).into_iter().find(|view| is_beyond(view))
}

/// How some reader of this request, for which a key was judged, would see another environment in it than [`OWN`].
pub fn crossing(target: &[u8], headers: &[Header<'_>]) -> Option<String> {
    let elsewhere = || headers.iter().find_map(|header| header_crossing(*header));
    path_crossing(target).or_else(|| query_crossing(target)).or_else(elsewhere)
}

fn is_beyond(view: &str) -> bool {
    let segments: Vec<&str> = view.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        ["v1", "project" | "projects", environment, ..] => *environment != OWN,
        ["v3", "project" | "projects", environment, ..] => before_colon(environment).is_some_and(|id| id != OWN),
        ["v1", "setting" | "settings", ..] => true,
        ["api", "kubernetes", "config"] => false,
        ["api", "kubernetes", environment, ..] => *environment != OWN,
        _ => false,
    }
}

/// Whether this is an environment, but not the keys' own.
fn is_another(named: &str) -> bool {
    named != OWN && EnvironmentId::parse(named).is_ok()
}

/// The part of a segment before its first `:`, which `%3A` is as well.
fn before_colon(segment: &str) -> Option<&str> {
    let ends = [segment.find(':'), segment.find("%3a")];
    ends.into_iter().flatten().min().and_then(|end| segment.get(..end))
}

/// A parameter that names another environment, by whatever signs the query is split and however it is decoded.
fn query_crossing(target: &[u8]) -> Option<String> {
    let query = target.splitn(2, |byte| *byte == b'?').nth(1)?;
    let split = |is_separator: fn(&u8) -> bool| -> Vec<(Vec<u8>, Vec<u8>)> {
        let halves = |pair: &[u8]| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=').map(form_decoded);
            (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
        };
        query.split(is_separator).map(halves).collect()
    };
    let readings =
        [split(|byte| *byte == b'&'), split(|byte| matches!(byte, b'&' | b';')), jetty_parameters(query).unwrap_or_default()];
    readings.iter().flatten().find_map(|(name, value)| {
        let named = match folded(name).as_slice() {
            b"projectid" => Some(String::from_utf8_lossy(value).into_owned()),
            b"filters" => json::field(value, "EndpointID")?.map(|found| found.text),
            _ => None,
        };
        named.filter(|named| is_another(named))
    })
}

/// A header that names another environment, or whatever only the filter may say; `_` is `-` to some.
fn header_crossing((name, value): Header<'_>) -> Option<String> {
    let text = String::from_utf8_lossy(value).into_owned();
    let name = String::from_utf8_lossy(name).to_lowercase().replace('_', "-");
    match name.as_str() {
        "x-api-project-id" | "x-keygate-environment" => is_another(&text).then_some(text),
        "x-keygate-key" | "x-keygate-account" | "x-keygate-access" => None,
        name => is_forbidden_header(name.as_bytes()).then_some(text),
    }
}

fn form_decoded(text: &[u8]) -> Vec<u8> {
    decoded(&text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect::<Vec<u8>>())
}
