//! What clients of Rancher say in ways of their own, brought into the ways in which everybody else says it: a token under the Basic user
//! `x-api-bearer`, a browser's proof in the query. It decides nothing.

use axum::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Uri};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The user beside whom a login's token stands, in any letter case; `=` and a project may follow: `x-api-bearer=1a5`.
const TOKEN_USER: &str = "x-api-bearer";
const PROOF: HeaderName = HeaderName::from_static("x-api-csrf");
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// The headers as everybody else would have sent them, and the project that was named with a token.
pub(super) fn plain(headers: &HeaderMap, uri: &Uri) -> (HeaderMap, Option<String>) {
    let mut headers = headers.clone();
    let query = uri.query().unwrap_or_default();
    if !headers.contains_key(PROOF)
        && let Some((_, proof)) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name.eq_ignore_ascii_case("csrf"))
        && let Ok(proof) = HeaderValue::from_str(&proof)
    {
        headers.insert(PROOF, proof);
    }
    // Of several nobody could say which one counts: they stay, and are refused.
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let found = match (given.next(), given.next()) {
        (Some(value), None) => unwrap(value),
        _ => None,
    };
    let Some((token, project)) = found else { return (headers, None) };
    headers.insert(AUTHORIZATION, token);
    (headers, project)
}

fn unwrap(value: &HeaderValue) -> Option<(HeaderValue, Option<String>)> {
    let (scheme, parameter) = value.to_str().ok()?.trim().split_once(char::is_whitespace)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(parameter.trim()).ok()?).ok()?;
    let (user, token) = decoded.split_once(':')?;
    let (name, project) = user.split_once('=').map_or((user, None), |(name, project)| (name, Some(project.to_owned())));
    if !name.eq_ignore_ascii_case(TOKEN_USER) {
        return None;
    }
    Some((HeaderValue::try_from(format!("Bearer {token}")).ok()?, project.filter(|project| !project.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(authorization: &str, uri: &str) -> (String, Option<String>, Option<String>) {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(authorization).unwrap())]);
        let (headers, project) = plain(&headers, &uri.parse().unwrap());
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        (text(AUTHORIZATION).unwrap(), project, text(PROOF))
    }

    #[test]
    fn a_token_under_the_special_user_is_a_token() {
        let basic = |text: &str| format!("Basic {}", BASE64.encode(text));
        let token = |text: &str| read(&basic(text), "/v1");
        assert_eq!(token("x-api-bearer:abc"), ("Bearer abc".to_owned(), None, None));
        assert_eq!(token("x-api-bearer=1a5:abc").1.as_deref(), Some("1a5"));
        assert_eq!(token("x-api-bearer=:abc").1, None);
        assert_eq!(
            token("X-API-BEARER=1a5:abc"),
            ("Bearer abc".to_owned(), Some("1a5".to_owned()), None),
            "as Rancher writes it"
        );
        for other in [basic("x-api-bearers:abc"), basic("0123:abc"), basic("x-api-bearer"), "Bearer x".into(), "Basic !".into()] {
            assert_eq!(read(&other, "/v1"), (other.clone(), None, None));
        }
        assert_eq!(read("Bearer x", "/v1?a=b&CSRF=c%2Bd").2.as_deref(), Some("c+d"));
    }
}
