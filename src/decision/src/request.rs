//! What a request says of itself, read in one pass over its header map. Owns which headers carry a credential, which claim an
//! identity, and which make a request a write. It never changes a request.

use crate::browser::Browser;
use crate::carrier::{self, Carrier, Carriers, is_same_word, is_spelled};
use crate::credentials::{Credentials, Unread};
use crate::identity;
use crate::locator::{JsonField, Locator};
use crate::named::NamedEnvironments;
use crate::query;

/// One header as it came: the name in lower case, the value raw. Pseudo-headers (`:path`) are among them.
pub type Header<'a> = (&'a [u8], &'a [u8]);

/// Headers by which some upstreams take another method.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];
/// Headers by which some upstreams take another path.
const PATH_OVERRIDES: [&str; 3] = ["x-original-url", "x-original-uri", "x-rewrite-url"];

/// Headers that mean something to Envoy or to HTTP, or a credential that has names of its own.
const RESERVED: [&str; 12] = [
    "host",
    "authorization",
    "cookie",
    "connection",
    "proxy-connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "transfer-encoding",
    "content-length",
    "expect",
];

/// The other headers that are read, or looked at when a request is forwarded, by one spelling each.
const OTHERS: [&str; 11] = [
    ":method",
    ":path",
    ":protocol",
    "upgrade",
    "connection",
    "cookie",
    "user-agent",
    "x-api-csrf",
    "x-api-no-challenge",
    "sec-fetch-mode",
    "sec-fetch-site",
];

/// The names of all headers that are read under every policy.
pub(crate) fn watched_names() -> impl Iterator<Item = &'static [u8]> {
    METHOD_OVERRIDES.iter().chain(&OTHERS).map(|name| name.as_bytes())
}

/// The names of all headers that are removed under every policy, unless it keeps credentials.
pub(crate) fn removed_names() -> impl Iterator<Item = &'static [u8]> {
    PATH_OVERRIDES.iter().chain(&carrier::KNOWN_HEADERS).map(|name| name.as_bytes())
}

/// What the names of more such headers begin with.
pub(crate) fn removed_starts() -> impl Iterator<Item = &'static [u8]> {
    [identity::PREFIX.as_bytes()].into_iter()
}

/// The parts of a request that matter here.
#[derive(Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The path without its query; `None` where there is none, as in a plain CONNECT.
    pub path: Option<&'a [u8]>,
    /// Its query may say something else to an upstream: see [`query::is_ambiguous`].
    pub ambiguous_query: bool,
    /// It asks the upstream to take another method than [`Self::method`], or some upstream takes another one of itself.
    pub overrides_method: bool,
    /// It writes by its method, by asking for an upgrade, or by overriding its method.
    pub writes: bool,
    /// The answer to a missing credential may carry a challenge; clients that upgrade or opt out must not get one.
    pub wants_challenge: bool,
    /// Its credentials.
    pub credentials: Credentials<'a>,
    /// A browser sends it with a credential that it may have added by itself, and without the proof that its own page sends it
    /// (`X-API-CSRF` equal to the cookie `CSRF`): it must not write. That is nothing but a cookie, or `Authorization` where a stranger's
    /// page cannot have set it: a browser that was once asked for a name and a password keeps them.
    pub may_be_forged: bool,
    /// The environments that it names besides its path.
    pub environments: NamedEnvironments,
}

/// What a request is read for.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'p> {
    /// Where credentials may come.
    pub carriers: &'p Carriers,
    /// Where environments may be named.
    pub locators: &'p [Locator],
    /// Reads JSON.
    pub json: JsonField,
}

impl<'p> Reading<'p> {
    /// A reading for those who ask for nothing but the credential.
    pub fn for_credentials(carriers: &'p Carriers) -> Self {
        Self { carriers, locators: &[], json: |_, _| None }
    }
}

impl<'a> Request<'a> {
    /// Reads a header map.
    pub fn read(headers: impl IntoIterator<Item = Header<'a>>, reading: Reading<'_>) -> Self {
        let mut request = Self {
            method: b"",
            path: None,
            ambiguous_query: false,
            overrides_method: false,
            writes: false,
            wants_challenge: true,
            credentials: Credentials::default(),
            may_be_forged: false,
            environments: NamedEnvironments::default(),
        };
        let mut upgrades = false;
        let mut authorizations = 0;
        let mut own_carriers = Occurrences::default();
        let mut browser = Browser::default();
        let uses = |carrier| reading.carriers.uses(carrier);
        let reads_cookies = reading.carriers.used.iter().any(|carrier| matches!(carrier, Carrier::Cookie(_)));
        for (name, value) in headers {
            match name {
                b":method" => request.method = value,
                b":path" => {
                    let (path, query) = query::split(value);
                    request.path = Some(path);
                    request.ambiguous_query |= query::is_ambiguous(query);
                    request.overrides_method |= overrides_method(query);
                    request.environments.read_query(reading.locators, reading.json, query);
                }
                b":protocol" | b"upgrade" => upgrades = true,
                b"x-api-no-challenge" if value.eq_ignore_ascii_case(b"true") => request.wants_challenge = false,
                // One that is blank is none to any upstream: clients send it that have nothing to say.
                b"authorization" if value.trim_ascii().is_empty() => {}
                b"authorization" => {
                    authorizations += 1;
                    let token = reading.carriers.token_of_basic(value, |token| Unread::Opaque(token.to_vec().into()));
                    request.credentials.add(Some(token.map_or_else(
                        || Unread::Authorization {
                            value,
                            basic: uses(&Carrier::Basic),
                            bearer: uses(&Carrier::Bearer),
                            bare: uses(&Carrier::Bare),
                        },
                        |(_, token)| token,
                    )));
                }
                b"cookie" if reads_cookies => browser.read_cookies(value),
                b"user-agent" if reads_cookies => browser.read_agent(value),
                b"x-api-csrf" => browser.proof = Some(value),
                _ => {
                    request.overrides_method |= overrides_method_by_header(name);
                    browser.read_fetch(name, value);
                }
            }
            own_carriers.read(reading.carriers, name, value, &mut request.credentials);
            request.environments.read_header(reading.locators, name, value);
        }
        // The same carrier twice is refused even if both say the same: which one an upstream reads is its own affair.
        if authorizations > 1 {
            request.credentials.add(None);
        }
        request.may_be_forged = match authorizations {
            0 => own_carriers.are_cookies() && browser.is_one,
            _ => browser.is_led(),
        } && !browser.has_proof();
        // Some upstreams know methods in any letter case.
        request.overrides_method |= request.method.iter().any(u8::is_ascii_lowercase);
        request.writes |= upgrades || request.overrides_method || !matches!(request.method, b"GET" | b"HEAD" | b"OPTIONS");
        request.wants_challenge &= !upgrades;
        request
    }
}

/// The carriers other than `Authorization` that presented something.
#[derive(Default)]
struct Occurrences<'c> {
    /// Nearly always the only one.
    first: Option<&'c Carrier>,
    others: Vec<&'c Carrier>,
}

impl<'c> Occurrences<'c> {
    fn read<'a>(&mut self, carriers: &'c Carriers, name: &[u8], value: &'a [u8], credentials: &mut Credentials<'a>) {
        carriers.each_value(name, value, |carrier, value| {
            let is_repeated = self.seen().any(|earlier| earlier == carrier);
            credentials.add((!is_repeated).then_some(Unread::Opaque(value)));
            match self.first {
                None => self.first = Some(carrier),
                // A request may repeat one as often as its size allows.
                Some(_) if is_repeated => {}
                Some(_) => self.others.push(carrier),
            }
        });
    }

    fn seen(&self) -> impl Iterator<Item = &'c Carrier> {
        self.first.into_iter().chain(self.others.iter().copied())
    }

    /// Cookies, and nothing else.
    fn are_cookies(&self) -> bool {
        self.first.is_some() && self.seen().all(|carrier| matches!(carrier, Carrier::Cookie(_)))
    }
}

/// Whether this header must never reach the upstream as it came: because the filter tells the upstream by it who calls, or because an
/// upstream might take another path from it than the one that was judged. In any spelling.
pub fn is_forbidden_header(name: &[u8]) -> bool {
    carrier::begins_as(name, identity::PREFIX.as_bytes()) || PATH_OVERRIDES.iter().any(|own| is_spelled(name, own.as_bytes()))
}

/// Whether a header means something to Envoy, to HTTP or to the filter, so that no configuration may give it another meaning. In any
/// spelling.
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    RESERVED.iter().any(|own| is_spelled(name, own.as_bytes())) || is_forbidden_header(name)
}

/// Whether some upstream takes another method from a header of this name.
pub fn overrides_method_by_header(name: &[u8]) -> bool {
    METHOD_OVERRIDES.iter().any(|own| is_spelled(name, own.as_bytes()))
}

/// Rancher's APIs take `?_method=` instead of the method, and `?action=remove` for a DELETE.
fn overrides_method(query: &[u8]) -> bool {
    !query.is_empty()
        && query::parameters(query).any(|(name, value)| {
            let removes = || query::decode(value).eq_ignore_ascii_case(b"remove");
            is_same_word(&name, "_method") || (is_same_word(&name, "action") && removes())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    fn carriers(used: &[&str]) -> Carriers {
        Carriers { used: used.iter().map(|text| Carrier::parse(text).unwrap()).collect(), stripped: Vec::new() }
    }

    fn read_with<'a>(used: &[&str], headers: &[(&'a str, &'a str)]) -> Request<'a> {
        let reading = Reading { carriers: &carriers(used), locators: &[], json: |_, _| None };
        Request::read(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())), reading)
    }

    fn read<'a>(headers: &[(&'a str, &'a str)]) -> Request<'a> {
        read_with(&["basic", "bearer", "header:x-api-key", "cookie:token", "query:x-api-key"], headers)
    }

    #[test]
    fn a_repeated_carrier_is_malformed_even_if_it_repeats_itself() {
        for headers in [
            &[("x-api-key", "a:b"), ("x-api-key", "a:b")][..],
            &[("authorization", "Bearer a:b"), ("authorization", "Bearer a:b")],
            &[("cookie", "token=a:b; TOKEN=a:b")],
            &[("cookie", "token=a:b"), ("cookie", "x=y; token=a:b")],
            &[(":path", "/?x-api-key=a:b&X-API-Key=a:b")],
            &[(":path", "/?x-api-key=a:b;x%2dapi-key=a:b")],
            &[(":path", "/?x-api-key=")],
            &[("cookie", "token"), ("x-api-key", "a:b")],
        ] {
            assert_eq!(read(headers).credentials.digest(), Err(Reason::MalformedCredential), "{headers:?}");
        }
        let all = [
            (":path", "/?X-Api-Key=a%3Ab"),
            ("x-api-key", "a:b"),
            ("authorization", "Bearer a:b"),
            ("cookie", "x=1; Token=bearer a:b"),
        ];
        assert_eq!(read(&all).credentials.digest(), Ok(crate::Digest::of("a:b")));
        let differing = [(":path", "/?x-api-key=a:b"), ("cookie", "token=a:c")];
        assert_eq!(read(&differing).credentials.digest(), Err(Reason::ConflictingCredentials));
    }

    #[test]
    fn what_is_noted_of_carriers_is_no_longer_than_they_are_many() {
        let (carriers, mut occurrences, mut credentials) =
            (carriers(&["query:a", "cookie:b", "cookie:c"]), Occurrences::default(), Credentials::default());
        let (path, cookies) = (format!("/?{}", "a&".repeat(1000)), "b;c;".repeat(1000));
        occurrences.read(&carriers, b":path", path.as_bytes(), &mut credentials);
        occurrences.read(&carriers, b"cookie", cookies.as_bytes(), &mut credentials);
        assert_eq!(occurrences.seen().count(), 3);
        assert_eq!(credentials.digest(), Err(Reason::MalformedCredential));
    }

    #[test]
    fn a_blank_header_is_no_credential() {
        for blank in ["", " ", "\t "] {
            let request = read(&[("authorization", blank), ("cookie", "token=a:b")]);
            assert_eq!(request.credentials.digest(), Ok(crate::Digest::of("a:b")));
            assert!(!request.may_be_forged);
            let browser = read(&[("authorization", blank), ("cookie", "token=a:b"), ("user-agent", "Mozilla/5.0")]);
            assert!(browser.may_be_forged, "a cookie alone is what a browser sends unasked");
            let alone = read(&[("authorization", blank)]);
            assert_eq!(alone.credentials.digest(), Err(Reason::NoCredential));
        }
    }

    #[test]
    fn a_carrier_that_is_switched_off_grants_nothing() {
        let request = read_with(&["bearer"], &[("authorization", "Basic YTpi")]);
        assert_eq!(request.credentials.digest(), Err(Reason::MalformedCredential));
        let request = read_with(&["bearer"], &[("x-api-key", "a:b"), ("cookie", "token=a:b"), (":path", "/?x-api-key=a:b")]);
        assert_eq!(request.credentials.digest(), Err(Reason::NoCredential));
    }

    #[test]
    fn a_browser_proves_that_its_own_page_writes() {
        let cookie = ("cookie", "token=a:b; CSRF=xyz");
        let browser = ("user-agent", "Mozilla/5.0");
        assert!(read(&[cookie, browser]).may_be_forged);
        assert!(read(&[cookie, browser, ("x-api-csrf", "abc")]).may_be_forged);
        assert!(read(&[("cookie", "token=a:b; CSRF="), browser, ("x-api-csrf", "")]).may_be_forged);
        assert!(!read(&[cookie, browser, ("x-api-csrf", "xyz")]).may_be_forged);
        assert!(!read(&[cookie, ("user-agent", "curl/8")]).may_be_forged);
        assert!(!read(&[cookie, browser, ("authorization", "Bearer a:b")]).may_be_forged);
        let (stored, form) = (("authorization", "Basic YTpi"), ("sec-fetch-mode", "navigate"));
        for (site, mode, forged) in [
            ("cross-site", "navigate", true),
            ("same-site", "no-cors", true),
            ("cross-site", "websocket", true),
            ("cross-site", "cors", false),
            ("same-origin", "navigate", false),
            ("none", "navigate", false),
        ] {
            let request = read(&[stored, browser, ("sec-fetch-site", site), ("sec-fetch-mode", mode)]);
            assert_eq!(request.may_be_forged, forged, "{site} {mode}");
        }
        let strangers = ("sec-fetch-site", "cross-site");
        assert!(!read(&[stored, form, strangers, cookie, ("x-api-csrf", "xyz")]).may_be_forged);
        assert!(!read(&[("x-api-key", "a:b"), form, strangers]).may_be_forged, "no browser adds that by itself");
        assert!(!read(&[browser, ("x-api-key", "a:b")]).may_be_forged);
    }

    #[test]
    fn writes_are_recognized_in_every_disguise() {
        assert!(!read(&[(":method", "GET"), (":path", "/a?b=c&method=DELETE")]).writes);
        assert!(!read(&[(":method", "OPTIONS"), (":path", "/")]).writes);
        for headers in [
            &[(":method", "POST"), (":path", "/")][..],
            &[(":method", "get"), (":path", "/")],
            &[(":method", "GeT"), (":path", "/")],
            &[(":method", "GET"), (":path", "/?_method[]=x")],
            &[(":method", "GET"), (":path", "/?x&_method=DELETE")],
            &[(":method", "GET"), (":path", "/?%5fMethod=x")],
            &[(":method", "GET"), (":path", "/?a&Action=re%6dove")],
            &[(":method", "GET"), (":path", "/?act%C4%B1on=remove")],
            &[(":method", "GET"), (":path", "/"), ("upgrade", "websocket")],
            &[(":method", "GET"), (":path", "/"), ("x-http-method-override", "DELETE")],
            &[(":method", "GET"), (":path", "/"), ("x_http_method-override", "DELETE")],
            &[(":method", "GET"), (":path", "/"), ("x.http.method", "DELETE")],
            &[(":method", "CONNECT"), (":path", "/"), (":protocol", "websocket")],
            &[(":method", "CONNECT")],
        ] {
            assert!(read(headers).writes, "{headers:?}");
        }
    }

    #[test]
    fn identity_and_credential_headers_are_known_in_both_spellings() {
        let carriers = carriers(&["header:x-own-key"]);
        for name in
            ["x-keygate-key", "x_keygate_key", "x-keygate_account", "X-Keygate-anything", "x.keygate.key", "x-rewrite_url"]
        {
            assert!(is_forbidden_header(name.as_bytes()), "{name}");
        }
        assert!(!is_forbidden_header(b"x-keygat"));
        for name in ["authorization", "x-api-key", "x_api_key", "X-Api_Key", "x_own-key"] {
            assert!(carriers.strips_header(name.as_bytes(), false), "{name}");
        }
        assert!(!carriers.strips_header(b"x-api-keys", false));
    }
}
