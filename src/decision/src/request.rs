//! What a request says of itself, read in one pass over its header map. Owns which headers carry a credential, which claim an
//! identity, and which make a request a write. It never changes a request.

use crate::credential::{self, Credentials, Scheme};
use crate::path;
use crate::policy::Carriers;

/// One header as it came: the name in lower case, the value raw. Pseudo-headers (`:path`) are among them.
pub type Header<'a> = (&'a [u8], &'a [u8]);

/// What every identity header begins with, in the `-` spelling.
pub const IDENTITY_PREFIX: &str = "x-keygate-";

/// The parts of a request that matter here.
#[derive(Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The path without its query; `None` where there is none, as in a plain CONNECT.
    pub path: Option<&'a [u8]>,
    /// It writes by its method, by asking for an upgrade, or by overriding its method.
    pub writes: bool,
    /// The answer to a missing credential may carry a challenge; clients that upgrade or opt out must not get one.
    pub wants_challenge: bool,
    /// Its credentials.
    pub credentials: Credentials,
}

impl<'a> Request<'a> {
    /// Reads a header map.
    pub fn read(headers: impl IntoIterator<Item = Header<'a>>, carriers: Carriers) -> Self {
        let mut request =
            Self { method: b"", path: None, writes: false, wants_challenge: true, credentials: Credentials::default() };
        let mut upgrades = false;
        let mut authorizations = 0;
        let mut api_keys = 0;
        for (name, value) in headers {
            match name {
                b":method" => request.method = value,
                b":path" => {
                    let (path, query) = path::split_query(value);
                    request.path = Some(path);
                    request.writes |= overrides_method(query);
                }
                b":protocol" | b"upgrade" => upgrades = true,
                b"x-http-method-override" | b"x-http-method" | b"x-method-override" => request.writes = true,
                b"x-api-no-challenge" if value.eq_ignore_ascii_case(b"true") => request.wants_challenge = false,
                b"authorization" => {
                    authorizations += 1;
                    request.credentials.add(read_authorization(value, carriers));
                }
                b"x-api-key" if carriers.api_key => {
                    api_keys += 1;
                    request.credentials.add(credential::from_opaque(value));
                }
                _ => {}
            }
        }
        // The same header twice is refused even if both say the same: which one an upstream reads is its own affair.
        if authorizations > 1 || api_keys > 1 {
            request.credentials.add(None);
        }
        request.writes |= upgrades || !matches!(request.method, b"GET" | b"HEAD" | b"OPTIONS");
        request.wants_challenge &= !upgrades;
        request
    }
}

/// Whether this header carries a credential, in any spelling that an upstream might fold together (`_` for `-`).
pub fn is_credential_header(name: &[u8]) -> bool {
    is_spelled(name, b"authorization") || is_spelled(name, b"x-api-key")
}

/// Whether this header belongs to those with which the filter tells the upstream who calls, in either spelling.
pub fn is_identity_header(name: &[u8]) -> bool {
    name.get(..IDENTITY_PREFIX.len()).is_some_and(|start| is_spelled(start, IDENTITY_PREFIX.as_bytes()))
}

fn is_spelled(name: &[u8], canonical: &[u8]) -> bool {
    let same = |(byte, expected): (&u8, &u8)| byte.eq_ignore_ascii_case(expected) || (*byte == b'_' && *expected == b'-');
    name.len() == canonical.len() && name.iter().zip(canonical).all(same)
}

fn read_authorization(value: &[u8], carriers: Carriers) -> Option<crate::Digest> {
    match credential::from_authorization(value)? {
        (Scheme::Basic, digest) if carriers.basic => digest,
        (Scheme::Bearer, digest) if carriers.bearer => digest,
        _ => None,
    }
}

/// Rancher's API takes `?_method=` instead of the method.
fn overrides_method(query: &[u8]) -> bool {
    query.split(|byte| matches!(byte, b'&' | b';')).any(|pair| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        path::decode_once(name).eq_ignore_ascii_case(b"_method")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    const ALL: Carriers = Carriers { basic: true, bearer: true, api_key: true };

    fn read<'a>(headers: &[(&'a str, &'a str)]) -> Request<'a> {
        Request::read(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())), ALL)
    }

    #[test]
    fn a_repeated_carrier_is_malformed_even_if_it_repeats_itself() {
        let request = read(&[("x-api-key", "a:b"), ("x-api-key", "a:b")]);
        assert_eq!(request.credentials.digest(), Err(Reason::MalformedCredential));
        let request = read(&[("x-api-key", "a:b"), ("authorization", "Bearer a:b")]);
        assert!(request.credentials.digest().is_ok());
    }

    #[test]
    fn a_carrier_that_is_switched_off_grants_nothing() {
        let off = Carriers { basic: false, bearer: true, api_key: false };
        let headers = [(b"authorization".as_slice(), b"Basic YTpi".as_slice())];
        assert_eq!(Request::read(headers, off).credentials.digest(), Err(Reason::MalformedCredential));
        let headers = [(b"x-api-key".as_slice(), b"a:b".as_slice())];
        assert_eq!(Request::read(headers, off).credentials.digest(), Err(Reason::NoCredential));
    }

    #[test]
    fn writes_are_recognized_in_every_disguise() {
        assert!(!read(&[(":method", "GET"), (":path", "/a?b=c&method=DELETE")]).writes);
        assert!(!read(&[(":method", "OPTIONS"), (":path", "/")]).writes);
        for headers in [
            &[(":method", "POST"), (":path", "/")][..],
            &[(":method", "get"), (":path", "/")],
            &[(":method", "GET"), (":path", "/?x&_method=DELETE")],
            &[(":method", "GET"), (":path", "/?%5fMethod=x")],
            &[(":method", "GET"), (":path", "/"), ("upgrade", "websocket")],
            &[(":method", "GET"), (":path", "/"), ("x-http-method-override", "DELETE")],
            &[(":method", "CONNECT"), (":path", "/"), (":protocol", "websocket")],
            &[(":method", "CONNECT")],
        ] {
            assert!(read(headers).writes, "{headers:?}");
        }
    }

    #[test]
    fn identity_and_credential_headers_are_known_in_both_spellings() {
        for name in ["x-keygate-key", "x_keygate_key", "x-keygate_account", "X-Keygate-anything"] {
            assert!(is_identity_header(name.as_bytes()), "{name}");
        }
        assert!(!is_identity_header(b"x-keygat"));
        for name in ["authorization", "x-api-key", "x_api_key", "X-Api_Key"] {
            assert!(is_credential_header(name.as_bytes()), "{name}");
        }
        assert!(!is_credential_header(b"x-api-keys"));
    }
}
