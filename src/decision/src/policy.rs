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
