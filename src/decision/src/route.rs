//! From a path to what it asks for: path templates and the rules that use them. Owns matching, exact and folded; it never decides
//! whether anyone may go there.

use std::fmt;

use crate::environment::EnvironmentId;
use crate::locator::Places;
use crate::path::{self, LiberalPath};
use crate::request::Request;

/// What a rule says about the paths it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// Anyone, without a credential.
    Public,
    /// Any unlimited key of an account.
    Account,
    /// Keys that reach everything.
    Admin,
    /// Keys that reach the environment named by the path.
    Environment,
    /// As [`Self::Account`], and an environment key, which then means its own environment.
    Own,
    /// As [`Self::Environment`] where the request names one; else an environment key, which means its own, and keys that reach everything.
    Within,
}

impl TargetKind {
    /// Its word, as configurations write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Account => "account",
            Self::Admin => "admin",
            Self::Environment => "environment",
            Self::Own => "own",
            Self::Within => "within",
        }
    }
}

/// One line of the policy. The first rule that matches decides.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The paths it is about.
    pub template: Template,
    /// The methods it is about, upper-case; `None` for all.
    pub methods: Option<Vec<String>>,
    /// What it says about them.
    pub kind: TargetKind,
    /// Where the environment must be named by which it decides, if its path names none.
    pub places: Places,
    /// Its requests write, whatever their method (an exec that is a GET, say).
    pub always_write: bool,
    /// Credentials travel on to the upstream instead of being stripped.
    pub keep_credentials: bool,
    /// What it refuses is only reported; `None` leaves that to the policy.
    pub shadow: Option<bool>,
}

impl Rule {
    /// Whether the other rule, standing behind this one, never decides: this one matches all that it matches.
    pub fn hides(&self, other: &Self) -> bool {
        let all_methods = match (&self.methods, &other.methods) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => others.iter().all(|method| own.contains(method)),
        };
        // About an environment beside the path it decides only requests that name one.
        let always_decides = self.kind != TargetKind::Environment || self.template.has_environment();
        always_decides && all_methods && self.template.covers(&other.template)
    }

    /// Whether the rule decides requests like this one, its path aside: with its method, and if the rule is about an environment that
    /// stands elsewhere than in the path, with one named in one of its places so that every upstream reads it.
    pub fn decides(&self, request: &Request<'_>) -> bool {
        let names_environment = self.kind != TargetKind::Environment
            || self.template.has_environment()
            || self.places.meet(request.environments.plainly);
        names_environment && self.decides_method(request)
    }

    /// Whether the rule decides requests with this request's method. HEAD counts as GET. One that overrides its method has none that
    /// could be relied on.
    pub fn decides_method(&self, request: &Request<'_>) -> bool {
        self.methods.is_none() || (!request.overrides_method && self.may_cover_method(request))
    }

    /// Whether some upstream may think that the rule is about this request's method.
    pub fn may_cover_method(&self, request: &Request<'_>) -> bool {
        let is_meant = |method: &[u8]| method == request.method || (method == b"GET" && request.method == b"HEAD");
        self.methods.as_ref().is_none_or(|methods| request.overrides_method || methods.iter().any(|m| is_meant(m.as_bytes())))
    }
}

/// A path template such as `/v1/projects/{environment}/**`.
///
/// Segments are literal text, `*` (any one segment), `{environment}`, `{environment}:*` (the part before the first `:`, also
/// written `%3A`), and a last `**` (any rest, also none).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    open_ended: bool,
    /// Which part names the environment.
    environment: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal { exact: Vec<u8>, folded: Vec<u8> },
    Any,
    Environment,
    EnvironmentBeforeColon,
}

impl fmt::Display for Template {
    /// As [`Template::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Literal { exact, .. } => write!(f, "/{}", String::from_utf8_lossy(exact))?,
                Part::Any => f.write_str("/*")?,
                Part::Environment => f.write_str("/{environment}")?,
                Part::EnvironmentBeforeColon => f.write_str("/{environment}:*")?,
            }
        }
        if self.open_ended { f.write_str("/**") } else { Ok(()) }
    }
}

/// The template cannot be used; the message says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTemplate(&'static str);

impl fmt::Display for InvalidTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidTemplate {}

/// An exact match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched<'p> {
    /// What stands for `{environment}`, if the template has one.
    pub environment: Option<&'p str>,
    /// How many bytes of the path decide the match: all, or up to the end of the environment.
    pub deciding_len: usize,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// [`InvalidTemplate`] unless it begins with `/`, is free of queries, encodings and dot or empty segments, names
    /// `{environment}` at most once and uses `**` only as its last segment.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        if !path::is_strict(text.as_bytes()) {
            return Err(InvalidTemplate("must begin with / and hold no %, \\, ;, #, space, empty or dot segment"));
        }
        if text.contains('?') {
            return Err(InvalidTemplate("must not hold a query"));
        }
        let mut parts = Vec::new();
        let mut open_ended = false;
        for segment in text.trim_start_matches('/').split('/') {
            if open_ended {
                return Err(InvalidTemplate("** must be the last segment"));
            }
            match segment {
                "**" => open_ended = true,
                "*" => parts.push(Part::Any),
                "{environment}" => parts.push(Part::Environment),
                "{environment}:*" => parts.push(Part::EnvironmentBeforeColon),
                _ if segment.contains(['{', '}', '*']) => {
                    return Err(InvalidTemplate("a segment is text, *, {environment}, {environment}:* or a last **"));
                }
                _ => parts
                    .push(Part::Literal { exact: segment.as_bytes().to_vec(), folded: path::fold_segment(segment.as_bytes()) }),
            }
        }
        if parts.iter().filter(|part| part.is_environment()).count() > 1 {
            return Err(InvalidTemplate("must not name {environment} twice"));
        }
        let environment = parts.iter().position(Part::is_environment);
        Ok(Self { parts, open_ended, environment })
    }

    /// Some path that the template matches, made of words that no rule is likely to spell out.
    pub fn example(&self) -> String {
        const WORD: &str = "kq7zv";
        let segment = |part: &Part| match part {
            Part::Literal { exact, .. } => String::from_utf8_lossy(exact).into_owned(),
            Part::Any | Part::Environment => WORD.to_owned(),
            Part::EnvironmentBeforeColon => format!("{WORD}:{WORD}"),
        };
        let rest = self.open_ended.then(|| WORD.to_owned());
        let segments: Vec<String> = self.parts.iter().map(segment).chain(rest).collect();
        format!("/{}", segments.join("/"))
    }

    /// Whether the template names an environment.
    pub fn has_environment(&self) -> bool {
        self.environment.is_some()
    }

    /// Matches a path, byte for byte.
    pub fn matches<'p>(&self, raw: &'p [u8]) -> Option<Matched<'p>> {
        let mut segments = path::segments(raw)?;
        let mut matched = Matched { environment: None, deciding_len: raw.len() };
        let mut consumed = 0;
        for part in &self.parts {
            let segment = segments.next()?;
            consumed += 1 + segment.len();
            let environment = match part {
                Part::Literal { exact, .. } if exact == segment => continue,
                Part::Any if !segment.is_empty() => continue,
                Part::Literal { .. } | Part::Any => return None,
                Part::Environment => segment,
                Part::EnvironmentBeforeColon => before_colon(segment)?,
            };
            let environment = std::str::from_utf8(environment).ok()?;
            if !EnvironmentId::is_valid(environment) {
                return None;
            }
            matched = Matched { environment: Some(environment), deciding_len: consumed - segment.len() + environment.len() };
        }
        (self.open_ended || segments.next().is_none()).then_some(matched)
    }

    /// Matches a path as its most liberal reader might: `Some` with what stands for the environment, empty if the template has
    /// none.
    pub fn matches_liberally<'p>(&self, liberal: &'p LiberalPath) -> Option<&'p [u8]> {
        let mut environment: &[u8] = &[];
        let mut segments = liberal.segments();
        for part in self.parts.iter().filter(|part| !part.is_empty_literal()) {
            let (segment, folded_segment) = segments.next()?;
            match part {
                Part::Literal { folded, .. } if folded == folded_segment => {}
                Part::Literal { .. } => return None,
                Part::Any => {}
                Part::Environment => environment = segment,
                Part::EnvironmentBeforeColon => environment = before_colon(segment)?,
            }
        }
        (self.open_ended || segments.next().is_none()).then_some(environment)
    }

    /// Whether this template matches some path that the other one matches, too.
    pub fn overlaps(&self, other: &Self) -> bool {
        let common = self.parts.iter().zip(&other.parts).all(|(one, two)| match (one, two) {
            (Part::Literal { exact: one, .. }, Part::Literal { exact: two, .. }) => one == two,
            (Part::Literal { exact, .. }, _) | (_, Part::Literal { exact, .. }) => !exact.is_empty(),
            _ => true,
        });
        let reaches = |longer: usize, open_ended: bool, shorter: usize| longer >= shorter || open_ended;
        common
            && reaches(self.parts.len(), self.open_ended, other.parts.len())
            && reaches(other.parts.len(), other.open_ended, self.parts.len())
    }

    /// Whether this template matches every path that the other one matches. In doubt it does not.
    pub fn covers(&self, other: &Self) -> bool {
        let wider = |(one, two): (&Part, &Part)| match (one, two) {
            (Part::Any, two) => !two.is_empty_literal(),
            (one, two) => one == two,
        };
        let long_enough = other.parts.len() >= self.parts.len();
        let ends_alike = self.open_ended || (!other.open_ended && other.parts.len() == self.parts.len());
        long_enough && ends_alike && self.parts.iter().zip(&other.parts).all(wider)
    }

    /// Whether this template spells out, in plain text, the segment in which the other one sees an environment: then it is a
    /// deliberate exemption from it.
    pub fn is_exempt_from(&self, other: &Self) -> bool {
        let part = other.environment.and_then(|index| self.parts.get(index));
        matches!(part, Some(Part::Literal { .. }))
    }
}

impl Part {
    fn is_environment(&self) -> bool {
        matches!(self, Self::Environment | Self::EnvironmentBeforeColon)
    }

    fn is_empty_literal(&self) -> bool {
        matches!(self, Self::Literal { exact, .. } if exact.is_empty())
    }
}

/// The part before the first `:` or `%3A`; `None` if there is neither.
fn before_colon(segment: &[u8]) -> Option<&[u8]> {
    let plain = segment.iter().position(|byte| *byte == b':');
    let encoded = segment.windows(3).position(|window| window.eq_ignore_ascii_case(b"%3a"));
    let end = match (plain, encoded) {
        (Some(plain), Some(encoded)) => plain.min(encoded),
        (plain, encoded) => plain.or(encoded)?,
    };
    segment.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(template: &str, path: &str) -> Option<Option<String>> {
        let template = Template::parse(template).unwrap();
        template.matches(path.as_bytes()).map(|matched| matched.environment.map(str::to_owned))
    }

    fn found(text: &str) -> Option<Option<String>> {
        Some(Some(text.to_owned()))
    }

    #[test]
    fn templates_take_what_they_say_and_nothing_else() {
        assert_eq!(environment("/", "/"), Some(None));
        assert_eq!(environment("/a", "/a/"), None);
        assert_eq!(environment("/a/**", "/a"), Some(None));
        assert_eq!(environment("/a/**", "/a/b//c"), Some(None));
        assert_eq!(environment("/a/**", "/ab"), None);
        assert_eq!(environment("/a/*/c", "/a/b/c"), Some(None));
        assert_eq!(environment("/a/*/c", "/a//c"), None);
        assert_eq!(environment("/p/{environment}/**", "/p/1a5/x"), found("1a5"));
        assert_eq!(environment("/p/{environment}/**", "/p/"), None);
        assert_eq!(environment("/p/{environment}/**", "/p/../x"), None);
        assert_eq!(environment("/p/{environment}", "/p/c-a:p-b"), found("c-a:p-b"));
        assert_eq!(environment("/p/{environment}:*/**", "/p/c-a:p-b/x"), found("c-a"));
        assert_eq!(environment("/p/{environment}:*", "/p/c-a%3Ap-b"), found("c-a"));
        assert_eq!(environment("/p/{environment}:*", "/p/c-a"), None);
        assert_eq!(environment("/p/{environment}", "/p/1a5%2f"), None);
    }

    #[test]
    fn the_deciding_part_ends_with_the_environment() {
        let template = Template::parse("/p/{environment}:*/**").unwrap();
        assert_eq!(template.matches(b"/p/c-a:p-b/x%20y").map(|m| m.deciding_len), Some("/p/c-a".len()));
        let template = Template::parse("/p/**").unwrap();
        assert_eq!(template.matches(b"/p/x").map(|m| m.deciding_len), Some("/p/x".len()));
    }

    #[test]
    fn a_wider_template_covers_a_narrower_one() {
        let covers = |one: &str, two: &str| Template::parse(one).unwrap().covers(&Template::parse(two).unwrap());
        for (wide, narrow) in
            [("/**", "/"), ("/**", "/a/{environment}/**"), ("/a/**", "/a"), ("/a/*", "/a/{environment}"), ("/a/*/**", "/a/b/**")]
        {
            assert!(covers(wide, narrow), "{wide} {narrow}");
        }
        for (one, two) in [("/a/*", "/a/**"), ("/a/*", "/a/"), ("/a/{environment}", "/a/*"), ("/a/b/**", "/a/**"), ("/a", "/b")] {
            assert!(!covers(one, two), "{one} {two}");
        }
    }

    #[test]
    fn a_template_is_written_as_it_was_read() {
        for text in ["/", "/**", "/a/", "/a/*/b", "/p/{environment}:*/**", "/p/{environment}/x"] {
            assert_eq!(Template::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn unusable_templates_are_refused() {
        for text in
            ["", "a", "/a//b", "/../a", "/a%20", "/a?b", "/a/**/b", "/a/b*", "/{env}", "/{environment}/{environment}", "/a;b"]
        {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
