//! Where in a request a credential may come. Owns how the carriers are named, found and taken out again; what a value means is
//! [`crate::credential`]'s affair. What is not taken out stays byte for byte as it was.

use std::borrow::Cow;
use std::fmt;

use crate::credential;
use crate::path;
use crate::query::{self, split_pair};
use crate::request;

/// Headers that are taken for a credential even if no carrier says so.
pub(crate) const KNOWN_HEADERS: [&str; 2] = ["authorization", "x-api-key"];

/// One place that may carry a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// `Authorization: Basic`.
    Basic,
    /// `Authorization: Basic` of this user, in any letter case: the password is a token, and behind the name may stand `=` and an
    /// environment, which [`crate::Locator::Basic`] reads.
    BasicToken(String),
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization` that is a token alone, without a scheme.
    Bare,
    /// A header of its own; the name in lower case.
    Header(String),
    /// All headers whose names begin so, in lower case; they are only ever taken out.
    Headers(String),
    /// A cookie; the name in lower case, and found in any letter case.
    Cookie(String),
    /// A query parameter; the name in lower case, and found in any letter case.
    Query(String),
}

/// The text names no carrier; the message says what does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidCarrier;

impl fmt::Display for InvalidCarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a carrier is basic, basic:USER, bearer, bare, header:NAME, cookie:NAME or query:NAME; Authorization is one of the first four, \
             and no header of HTTP's or Keygate's own is one",
        )
    }
}

impl std::error::Error for InvalidCarrier {}

impl fmt::Display for Carrier {
    /// As [`Carrier::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic => f.write_str("basic"),
            Self::BasicToken(user) => write!(f, "basic:{user}"),
            Self::Bearer => f.write_str("bearer"),
            Self::Bare => f.write_str("bare"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Headers(start) => write!(f, "header:{start}*"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
        }
    }
}

impl Carrier {
    /// Parses `basic`, `basic:USER`, `bearer`, `bare`, `header:NAME`, `cookie:NAME` or `query:NAME`.
    ///
    /// # Errors
    /// [`InvalidCarrier`] for anything else, and for headers that mean something already.
    pub fn parse(text: &str) -> Result<Self, InvalidCarrier> {
        match text.split_once(':') {
            None if text == "basic" => Ok(Self::Basic),
            None if text == "bearer" => Ok(Self::Bearer),
            None if text == "bare" => Ok(Self::Bare),
            Some((kind, name)) if is_token(name) => match (kind, name.to_ascii_lowercase()) {
                ("header", name) if !request::is_reserved(name.as_bytes()) => Ok(Self::Header(name)),
                ("basic", user) => Ok(Self::BasicToken(user)),
                ("cookie", name) => Ok(Self::Cookie(name)),
                ("query", name) => Ok(Self::Query(name)),
                _ => Err(InvalidCarrier),
            },
            _ => Err(InvalidCarrier),
        }
    }

    /// Parses what is only taken out: as [`Self::parse`], or `header:NAME-*` for all headers that begin so.
    ///
    /// # Errors
    /// [`InvalidCarrier`] for anything else.
    pub fn parse_stripped(text: &str) -> Result<Self, InvalidCarrier> {
        let start = text.strip_prefix("header:").and_then(|name| name.strip_suffix('*'));
        match start {
            Some(start) if is_token(start) && start.len() > 1 && start.ends_with('-') => {
                Ok(Self::Headers(start.to_ascii_lowercase()))
            }
            _ => Self::parse(text),
        }
    }
}

/// The carriers of one filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carriers {
    /// Those that grant what their credential grants.
    pub used: Vec<Carrier>,
    /// Those that grant nothing, but that the upstream would honour: taken out as well.
    pub stripped: Vec<Carrier>,
}

impl Carriers {
    /// Basic, Bearer and `X-API-Key`.
    pub fn standard() -> Self {
        Self { used: vec![Carrier::Basic, Carrier::Bearer, Carrier::Header("x-api-key".to_owned())], stripped: Vec::new() }
    }

    /// What `WWW-Authenticate` asks for: what a client can answer with. Basic's words are Rancher 1.6's, so that its clients prompt as
    /// they always did.
    pub fn challenge(&self) -> Option<&'static str> {
        if self.uses(&Carrier::Basic) {
            Some(r#"Basic realm="Enter API access key and secret key as username and password""#)
        } else {
            self.uses(&Carrier::Bearer).then_some("Bearer")
        }
    }

    /// Whether a credential in this carrier counts.
    pub fn uses(&self, carrier: &Carrier) -> bool {
        self.used.contains(carrier)
    }

    /// Whether an `Authorization` value is of a user whose password is a token: by which carrier, and what that token is, as `read`
    /// gives it.
    pub(crate) fn token_of_basic<'c, T>(&'c self, value: &[u8], read: fn(&[u8]) -> T) -> Option<(&'c Carrier, T)> {
        self.used.iter().find_map(|carrier| match carrier {
            Carrier::BasicToken(user) => Some((carrier, credential::token_of_basic(value, user, read)?)),
            _ => None,
        })
    }

    /// Hands over every value that a header (`:path` included) presents in a carrier in use, without the word `bearer` where that
    /// may stand. `Authorization` is not among them.
    pub fn each_value<'c, 'v>(&'c self, name: &[u8], value: &'v [u8], mut hand_over: impl FnMut(&'c Carrier, Cow<'v, [u8]>)) {
        for carrier in &self.used {
            match carrier {
                Carrier::Header(own) if own.as_bytes() == name => hand_over(carrier, value.into()),
                Carrier::Cookie(own) if name == b"cookie" => {
                    let same = cookies(value).filter(|(name, _)| is_same_word(name, own));
                    same.for_each(|(_, value)| hand_over(carrier, credential::without_bearer(value).into()));
                }
                Carrier::Query(own) if name == b":path" => {
                    let same = query::parameters(query::split(value).1).filter(|(name, _)| is_same_word(name, own));
                    same.for_each(|(_, value)| {
                        hand_over(carrier, credential::without_bearer(&query::decode(value)).to_vec().into())
                    });
                }
                _ => {}
            }
        }
    }

    /// The carriers to take out: all, or those that were never judged where a rule keeps the others.
    fn to_strip(&self, keep: bool) -> impl Iterator<Item = &Carrier> {
        let used: &[Carrier] = if keep { &[] } else { &self.used };
        used.iter().chain(&self.stripped)
    }

    /// Whether a header carries nothing but a credential and must go, in any spelling that an upstream might fold together. That is so
    /// for `Authorization` and `X-API-Key` even if no carrier says so. With `keep`, only what was never judged goes.
    pub fn strips_header(&self, name: &[u8], keep: bool) -> bool {
        let is_listed = self.used.iter().chain(&self.stripped).any(|carrier| match carrier {
            Carrier::Header(own) => is_spelled(name, own.as_bytes()),
            Carrier::Headers(start) => begins_as(name, start.as_bytes()),
            Carrier::Basic | Carrier::BasicToken(_) | Carrier::Bearer | Carrier::Bare => false,
            Carrier::Cookie(_) | Carrier::Query(_) => false,
        });
        let is_known = || KNOWN_HEADERS.iter().any(|own| is_spelled(name, own.as_bytes()));
        (is_listed || is_known()) && !(keep && self.judges_header(name))
    }

    fn judges_header(&self, name: &[u8]) -> bool {
        self.used.iter().any(|carrier| match carrier {
            Carrier::Basic | Carrier::BasicToken(_) | Carrier::Bearer | Carrier::Bare => name == b"authorization",
            Carrier::Header(own) => name == own.as_bytes(),
            Carrier::Headers(_) | Carrier::Cookie(_) | Carrier::Query(_) => false,
        })
    }

    /// A `Cookie` header's value without the cookies that must go; `None` if there are none in it. Empty if nothing is left.
    pub fn strip_cookie(&self, value: &[u8], keep: bool) -> Option<Vec<u8>> {
        if !self.to_strip(keep).any(|carrier| matches!(carrier, Carrier::Cookie(_))) {
            return None;
        }
        let goes =
            |name: &[u8]| self.to_strip(keep).any(|carrier| matches!(carrier, Carrier::Cookie(own) if is_same_word(name, own)));
        let left = without(value, COOKIE_SEPARATORS, |part| goes(unquoted(split_pair(part).0)));
        left.map(|left| left.trim_ascii().to_vec())
    }

    /// A `:path` without the query parameters that must go; `None` if there are none in it.
    pub fn strip_query(&self, raw_path: &[u8], keep: bool) -> Option<Vec<u8>> {
        if !self.to_strip(keep).any(|carrier| matches!(carrier, Carrier::Query(_))) {
            return None;
        }
        let (path, query) = query::split(raw_path);
        let goes =
            |name: &[u8]| self.to_strip(keep).any(|carrier| matches!(carrier, Carrier::Query(own) if is_same_word(name, own)));
        let left = without(query, query::SEPARATORS, |part| goes(&query::name(part)))?;
        let question_mark: &[u8] = if left.is_empty() { b"" } else { b"?" };
        Some([path, question_mark, &left].concat())
    }
}

/// Whether an upstream might take a header's name for this one: in any letter case, and with any sign for any other, which many fold.
pub fn is_spelled(name: &[u8], canonical: &[u8]) -> bool {
    let same = |(byte, expected): (&u8, &u8)| {
        byte.eq_ignore_ascii_case(expected) || !(byte.is_ascii_alphanumeric() || expected.is_ascii_alphanumeric())
    };
    name == canonical || (name.len() == canonical.len() && name.iter().zip(canonical).all(same))
}

/// Whether a header's name begins with this one, to some upstream, as in [`is_spelled`].
pub fn begins_as(name: &[u8], canonical: &[u8]) -> bool {
    name.get(..canonical.len()).is_some_and(|start| is_spelled(start, canonical))
}

/// Whether some reader takes one name for the other: one that knows no letter case, drops the blanks around it, those of Latin-1 among
/// them, or makes `_` of signs that its variables cannot have, as PHP does; or one that reads brackets as lists (`name[]`, `[name]`).
pub fn is_same_word(name: &[u8], own: &str) -> bool {
    let is_blank = |letter: char| letter.is_whitespace() || letter.is_control() || letter == char::REPLACEMENT_CHARACTER;
    let name = String::from_utf8_lossy(name);
    let name = name.trim_matches(is_blank);
    let is_same = |name: &str| {
        let mut own = own.chars();
        let is_next = |letter: char| {
            let same = |own: char| {
                path::fold_letter(letter) == path::fold_letter(own) || (own == '_' && matches!(letter, '.' | ' ' | '['))
            };
            own.next().is_some_and(same)
        };
        name.chars().all(is_next) && own.next().is_none()
    };
    let in_brackets = name.split(['[', ']']).find(|part| !part.is_empty());
    [Some(name), in_brackets].into_iter().flatten().any(is_same)
}

/// `,` separates as well as `;`, because the first cookie specifications said so.
const COOKIE_SEPARATORS: &[u8] = b";,";

/// The cookies of a `Cookie` header: names and values without white space and quotes around them.
pub fn cookies(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    value.split(|byte| COOKIE_SEPARATORS.contains(byte)).map(|pair| {
        let (name, value) = split_pair(pair);
        (unquoted(name), unquoted(value))
    })
}

fn unquoted(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii();
    text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text)
}

/// The text without the parts that are to go, each kept part with the separator that stood before it; `None` if none goes.
fn without(text: &[u8], separators: &[u8], goes: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut kept: Option<Vec<u8>> = None;
    let mut changed = false;
    let mut end = 0_usize;
    for part in text.split(|byte| separators.contains(byte)) {
        let separator_before = end.checked_sub(1).and_then(|before| text.get(before));
        end += part.len() + 1;
        if goes(part) {
            changed = true;
        } else {
            match &mut kept {
                None => kept = Some(part.to_vec()),
                Some(kept) => kept.extend(separator_before.into_iter().chain(part)),
            }
        }
    }
    changed.then(|| kept.unwrap_or_default())
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carriers(used: &[&str], stripped: &[&str]) -> Carriers {
        let parse = |texts: &[&str]| texts.iter().map(|text| Carrier::parse(text).unwrap()).collect();
        Carriers { used: parse(used), stripped: parse(stripped) }
    }

    #[test]
    fn carriers_have_names() {
        assert_eq!(Carrier::parse("header:X-Auth"), Ok(Carrier::Header("x-auth".to_owned())));
        for text in ["basic", "basic:x-api-bearer", "bearer", "bare", "header:x-auth", "cookie:token", "query:key"] {
            assert_eq!(Carrier::parse(text).map(|carrier| carrier.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "",
            "basics",
            "basic:",
            "basic:a=b",
            "bearer:x",
            "bare:x",
            "header:",
            "header:authorization",
            "header:cookie",
            "header:Content-Length",
            "header:x-keygate-key",
            "header:a b",
            "cookie",
            "body:x",
            ":x",
        ] {
            assert_eq!(Carrier::parse(text), Err(InvalidCarrier), "{text}");
        }
    }

    #[test]
    fn headers_can_be_taken_out_by_how_they_begin() {
        let start = Carrier::parse_stripped("header:Impersonate-*");
        assert_eq!(start.as_ref().map(ToString::to_string).as_deref(), Ok("header:impersonate-*"));
        assert_eq!(Carrier::parse_stripped("cookie:a"), Carrier::parse("cookie:a"));
        for text in ["header:*", "header:-*", "header:a*", "header:a-**", "cookie:a-*", "query:a-*", "header:a b-*"] {
            assert_eq!(Carrier::parse_stripped(text), Err(InvalidCarrier), "{text}");
        }
        // What only begins so says nothing of who calls.
        assert_eq!(Carrier::parse("header:impersonate-*"), Err(InvalidCarrier));
        let carriers = Carriers { used: vec![Carrier::Basic], stripped: vec![start.unwrap()] };
        for name in ["impersonate-user", "Impersonate-Extra-Scopes", "impersonate_extra_x", "impersonate-"] {
            assert!(carriers.strips_header(name.as_bytes(), false) && carriers.strips_header(name.as_bytes(), true), "{name}");
        }
        assert!(!carriers.strips_header(b"impersonate", false));
        assert!(!carriers.strips_header(b"x-impersonate-user", false));
    }

    #[test]
    fn a_name_is_one_in_every_spelling_that_somebody_folds() {
        for (name, own) in [("x_own", "x-own"), ("X-Own", "x_own"), ("x.own", "x_own"), ("x-own", "x.own"), ("x own", "x-own")] {
            assert!(is_spelled(name.as_bytes(), own.as_bytes()), "{name}");
            assert!(carriers(&[], &[&format!("header:{own}")]).strips_header(name.as_bytes(), false), "{name}");
        }
        assert!(!is_spelled(b"xaown", b"x-own") && !is_spelled(b"x-own", b"xaown") && !is_spelled(b"x-own-", b"x-own"));
    }

    #[test]
    fn only_the_carriers_are_taken_out() {
        let carriers = carriers(&["cookie:token", "query:x-api-key"], &["cookie:R_SESS", "query:token"]);
        let cookie = |value: &str| carriers.strip_cookie(value.as_bytes(), false).map(|left| String::from_utf8(left).unwrap());
        assert_eq!(cookie("a=1; b=2"), None);
        assert_eq!(cookie("a=1; token=x; b=2").as_deref(), Some("a=1; b=2"));
        assert_eq!(cookie("TOKEN=x;a=1").as_deref(), Some("a=1"));
        assert_eq!(cookie("to\u{212A}en=x; R_SE\u{17F}S=y; a=1").as_deref(), Some("a=1"));
        assert_eq!(cookie("a=1; r_sess=x").as_deref(), Some("a=1"));
        assert_eq!(cookie("a=1; \u{A0}token\u{85}=x").as_deref(), Some("a=1"));
        assert_eq!(carriers.strip_cookie(b"a=1; \xA0token=x", false).as_deref(), Some(b"a=1".as_slice()));
        assert_eq!(cookie("token=x").as_deref(), Some(""));
        assert_eq!(cookie("a=1, token=x").as_deref(), Some("a=1"));
        assert_eq!(cookie("a=1; \"Token\"=x; b=\"2\"").as_deref(), Some("a=1; b=\"2\""));
        let query = |path: &str| carriers.strip_query(path.as_bytes(), false).map(|left| String::from_utf8(left).unwrap());
        assert_eq!(query("/a?b=1&c"), None);
        assert_eq!(query("/a?b=%20+1&X-Api-Key=x&c&&d=").as_deref(), Some("/a?b=%20+1&c&&d="));
        assert_eq!(query("/a?x%2dapi%2Dkey=x").as_deref(), Some("/a"));
        assert_eq!(query("/a?token=1;b=2").as_deref(), Some("/a?b=2"));
        assert_eq!(query("/a?x-api-%E2%84%AAey=1&to%e2%84%aaen=2&b").as_deref(), Some("/a?b"));
        assert_eq!(query("/a?x-api-%E2%84%ABey=1"), None);
        assert_eq!(query("/a?b=1&token").as_deref(), Some("/a?b=1"));
        assert_eq!(query("/a?b?token=1").as_deref(), Some("/a?b"));
        assert_eq!(query("/a?&token=1&").as_deref(), Some("/a?&"));
    }

    #[test]
    fn what_was_never_judged_is_not_kept() {
        let carriers = carriers(&["basic", "cookie:token"], &["cookie:R_SESS"]);
        for name in ["authorization", "x-api-key", "x_api_key"] {
            assert!(carriers.strips_header(name.as_bytes(), false), "{name}");
        }
        assert!(!carriers.strips_header(b"authorization", true));
        assert!(carriers.strips_header(b"x-api-key", true));
        assert_eq!(carriers.strip_cookie(b"token=1; R_SESS=2", true).as_deref(), Some(b"token=1".as_slice()));
    }
}
