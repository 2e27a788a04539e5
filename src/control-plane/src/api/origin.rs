//! Which site a request comes from. A browser sends along what it knows of a user, whichever page makes it send: a page of another
//! site must not change anything with it.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use super::Error;

/// Lets a request through unless it changes something on behalf of another site's page.
pub(super) async fn refuse_other_sites(request: Request, next: Next) -> Result<Response, Error> {
    if writes_for_another_site(request.method(), request.headers()) {
        return Err(Error::other_site());
    }
    Ok(next.run(request).await)
}

/// Whether a page of another site makes a browser change something. Only browsers send these headers; what they do not say is not held
/// against a request.
pub(crate) fn writes_for_another_site(method: &Method, headers: &HeaderMap) -> bool {
    !method.is_safe() && is_of_another_site(headers)
}

fn is_of_another_site(headers: &HeaderMap) -> bool {
    const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    let host = headers.get(header::HOST).map_or(&b""[..], |host| host.as_bytes());
    let is_own = |origin: &[u8]| {
        let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    };
    headers.get_all(FETCH_SITE).iter().any(|site| site.as_bytes().eq_ignore_ascii_case(b"cross-site"))
        || headers.get_all(header::ORIGIN).iter().any(|origin| !is_own(origin.as_bytes()))
}
