//! The whole policy of one filter, and the order in which a request is answered. It holds no table: whoever has one looks the
//! digest up between [`Policy::screen`] and [`Check::decide`].

use crate::decide::{Decision, decide};
use crate::digest::Digest;
use crate::environment::EnvironmentId;
use crate::grant::{Access, Grant, UnixSeconds};
use crate::path;
use crate::reason::Reason;
use crate::request::Request;
use crate::route::{Matched, Place, Rule, Target, TargetKind};

/// Which carriers a credential may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carriers {
    /// `Authorization: Basic`.
    pub basic: bool,
    /// `Authorization: Bearer`.
    pub bearer: bool,
    /// `X-API-Key`.
    pub api_key: bool,
}

/// The rules of one filter.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Where credentials are looked for.
    pub carriers: Carriers,
    /// Put before every environment that a request names, so that two upstreams may both call one `4`.
    pub environment_prefix: String,
    /// In order; the first that matches decides.
    pub rules: Vec<Rule>,
}

/// What can be said of a request before its credential is looked up.
#[derive(Debug)]
pub enum Screening {
    /// It is refused whatever its credential.
    Refuse(Reason),
    /// It passes without one.
    Pass {
        /// Credentials travel on.
        keep_credentials: bool,
    },
    /// Its credential decides.
    Check(Check),
}

/// A request that waits for its credential to be looked up.
#[derive(Debug)]
pub struct Check {
    digest: Result<Digest, Reason>,
    target: Option<Target>,
    keep_credentials: bool,
}

impl Policy {
    /// Screens a request. An ambiguous path comes before everything else, then public rules.
    pub fn screen(&self, request: &Request<'_>) -> Screening {
        let decided = match self.route(request) {
            Ok(decided) => decided,
            Err(ambiguous) => return Screening::Refuse(ambiguous),
        };
        let keep_credentials = decided.is_some_and(|(rule, _)| rule.keep_credentials);
        if decided.is_some_and(|(rule, _)| rule.kind == TargetKind::Public) {
            return Screening::Pass { keep_credentials };
        }
        let target = decided.and_then(|(rule, matched)| self.target(rule, matched, request.writes));
        Screening::Check(Check { digest: request.credentials.digest(), target, keep_credentials })
    }

    /// The rule that decides, or none.
    fn route<'r>(&self, request: &Request<'r>) -> Result<Option<(&Rule, Matched<'r>)>, Reason> {
        let Some(path) = request.path else { return Ok(None) };
        let first = self.rules.iter().enumerate().find_map(|(index, rule)| {
            let matched = rule.covers_method(request.method).then(|| rule.template.matches(path)).flatten()?;
            Some((index, rule, matched))
        });
        let deciding_len = match first {
            Some((_, _, matched)) if matched.environment.is_some() => matched.deciding_len,
            _ => path.len(),
        };
        let (deciding, rest) = path.split_at_checked(deciding_len).unwrap_or((path, &[]));
        if !path::is_strict(deciding) || path::may_climb(rest) {
            return Err(Reason::AmbiguousPath);
        }
        Ok(first
            .filter(|(index, rule, matched)| !self.overruled(*index, rule, *matched, request.method, path))
            .map(|(_, rule, matched)| (rule, matched)))
    }

    /// Whether a stricter rule claims this path once its spelling is folded: then the weaker one must not decide it.
    fn overruled(&self, index: usize, rule: &Rule, matched: Matched<'_>, method: &[u8], path: &[u8]) -> bool {
        let liberal = path::liberal_segments(path);
        self.rules.iter().enumerate().filter(|(other_index, _)| *other_index != index).any(|(other_index, other)| {
            let Some(environment) = other.template.matches_liberally(&liberal) else { return false };
            let comes_first = other_index < index;
            if other.kind == TargetKind::Environment {
                let same = matched.environment.is_some_and(|ours| ours.as_bytes().eq_ignore_ascii_case(environment));
                !same && (comes_first || !rule.template.is_exempt_from(&other.template))
            } else {
                comes_first && other.covers_method(method) && strictness(other.kind) > strictness(rule.kind)
            }
        })
    }

    fn target(&self, rule: &Rule, matched: Matched<'_>, writes: bool) -> Option<Target> {
        let place = match rule.kind {
            TargetKind::Public => return None,
            TargetKind::Account => Place::Account,
            TargetKind::Admin => Place::Admin,
            TargetKind::Own => Place::Own,
            TargetKind::Environment => {
                let id = format!("{}{}", self.environment_prefix, matched.environment?);
                Place::Environment(EnvironmentId::parse(&id).ok()?)
            }
        };
        let access = if writes || rule.always_write { Access::Write } else { Access::Read };
        Some(Target { place, access })
    }
}

/// How much a rule asks for, to tell the weaker of two.
fn strictness(kind: TargetKind) -> u8 {
    match kind {
        TargetKind::Public => 0,
        TargetKind::Own => 1,
        TargetKind::Environment | TargetKind::Account => 2,
        TargetKind::Admin => 3,
    }
}

impl Check {
    /// The digest to look up.
    ///
    /// # Errors
    /// The [`Reason`] for which there is none.
    pub fn digest(&self) -> Result<Digest, Reason> {
        self.digest
    }

    /// Judges the request by what the table holds for its digest.
    pub fn decide(&self, grant: Option<&Grant>, now: UnixSeconds) -> Decision {
        match (self.digest, grant) {
            (Err(reason), _) => Decision::Deny(reason),
            (Ok(_), None) => Decision::Deny(Reason::UnknownCredential),
            (Ok(_), Some(grant)) => decide(grant, self.target.as_ref(), now),
        }
    }

    /// Credentials travel on if the request passes.
    pub fn keep_credentials(&self) -> bool {
        self.keep_credentials
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::grant::{AccountId, Holder, KeyId, Reach};
    use crate::route::Template;

    fn policy() -> Policy {
        let rule = |path: &str, kind: TargetKind| Rule {
            template: Template::parse(path).unwrap(),
            methods: None,
            kind,
            always_write: false,
            keep_credentials: false,
        };
        Policy {
            carriers: Carriers { basic: true, bearer: true, api_key: true },
            environment_prefix: String::new(),
            rules: vec![
                rule("/v1/projects/{environment}/**", TargetKind::Environment),
                rule("/v1/settings/**", TargetKind::Admin),
                // A catch-all as no preset has it: the worst that an operator may write.
                rule("/**", TargetKind::Own),
            ],
        }
    }

    /// What a request with this path may do for a key of `1a5` alone, an environment key or an account's.
    fn passes(path: &str, holder: Holder) -> bool {
        let headers = [(":method", "GET"), (":path", path), ("x-api-key", "any")];
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let policy = policy();
        match policy.screen(&Request::read(headers, policy.carriers)) {
            Screening::Check(check) => {
                let grant = Grant { key: KeyId(1), holder, expires_at: None };
                matches!(check.decide(Some(&grant), UnixSeconds(0)), Decision::Allow(_))
            }
            Screening::Refuse(_) | Screening::Pass { .. } => false,
        }
    }

    fn holders() -> [Holder; 2] {
        let id = EnvironmentId::parse("1a5").unwrap();
        let reach = Reach::only([(id.reference(), Access::Write)]);
        [Holder::Environment(id), Holder::Account { account: AccountId(1), limited: false, reach }]
    }

    /// The paths that upstreams of different habits might take this one for, in lower case.
    fn views(path: &str) -> Vec<String> {
        let mut views = Vec::new();
        let mut decoded = path.as_bytes().to_vec();
        for _ in 0..4 {
            let text = String::from_utf8_lossy(&decoded).to_lowercase();
            for slashed in [text.clone(), text.replace('\\', "/")] {
                let cut: Vec<&str> = slashed.split('/').map(|s| s.split(';').next().unwrap_or_default()).collect();
                for spelled in [slashed.clone(), cut.join("/")] {
                    let merged: Vec<&str> = spelled.split('/').filter(|s| !s.is_empty()).collect();
                    views.push(format!("/{}", merged.join("/")));
                    views.push(resolve(&spelled));
                    views.push(resolve(&format!("/{}", merged.join("/"))));
                }
            }
            decoded = path::decode_once(&decoded);
        }
        views
    }

    fn resolve(path: &str) -> String {
        let mut kept: Vec<&str> = Vec::new();
        for segment in path.split('/').skip(1) {
            match segment {
                "." => {}
                ".." => drop(kept.pop()),
                _ => kept.push(segment),
            }
        }
        format!("/{}", kept.join("/"))
    }

    fn names_forbidden(view: &str) -> bool {
        let segments: Vec<&str> = view.split('/').filter(|s| !s.is_empty()).collect();
        match segments.as_slice() {
            ["v1", "projects", environment, ..] => *environment != "1a5",
            ["v1", "settings", ..] => true,
            _ => false,
        }
    }

    /// Some spelling of a word: as it is, in other letters, encoded once or twice, with a parameter.
    fn spelled(word: &'static str) -> impl Strategy<Value = String> {
        prop_oneof![
            6 => Just(word.to_owned()),
            1 => Just(word.to_uppercase()),
            1 => Just(word.trim_end_matches('s').to_owned()),
            1 => Just(encoded(word, "%")),
            1 => Just(encoded(word, "%25")),
            1 => Just(format!("{word};a=b")),
        ]
    }

    fn encoded(word: &str, percent: &str) -> String {
        let (first, rest) = word.split_at(1);
        format!("{percent}{:02x}{rest}", first.as_bytes()[0])
    }

    /// Something between two words.
    fn separator() -> impl Strategy<Value = &'static str> {
        prop_oneof![
            8 => Just("/"),
            3 => prop::sample::select(vec![
                "//", "%2f", "%252F", "\\", "%5c", "/./", "/../", "/%2e%2e/", "/%252e%252E/", "/..;/", "/..%2f", "%2f..%2f", "/..\\",
                "/x/../", "/x/%2e%2e/../", "/%c0%ae%c0%ae/", ";/", "?/", "#/", "%00/", " /",
            ]),
        ]
    }

    /// Paths around two environments and the administration.
    fn any_path() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec!["v1", "projects", "1a5", "1a6", "settings", "x"]).prop_flat_map(spelled);
        let start = (separator(), spelled("v1"), separator(), prop_oneof![spelled("projects"), spelled("settings")], separator());
        let rest = prop::collection::vec((prop_oneof![spelled("1a5"), spelled("1a6"), word], separator()), 1..6);
        (start, rest).prop_map(|((a, b, c, d, e), rest)| {
            let rest: String = rest.into_iter().map(|(word, separator)| word + separator).collect();
            format!("{a}{b}{c}{d}{e}{rest}")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn no_spelling_crosses_into_another_environment(path in any_path()) {
            let seen = path.split(['?', '#']).next().unwrap_or_default();
            if holders().into_iter().any(|holder| passes(&path, holder)) {
                for view in views(seen) {
                    prop_assert!(!names_forbidden(&view), "{path} passes and may be read as {view}");
                }
            }
        }
    }
}
