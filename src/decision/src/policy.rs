//! The whole policy of one filter, and the order in which a request is answered. It holds no table: whoever has one looks the
//! digest up between [`Policy::screen`] and [`Check::decide`].

use crate::carrier::Carriers;
use crate::decide::{Decision, decide};
use crate::digest::Digest;
use crate::environment::EnvironmentId;
use crate::grant::{Access, Grant, UnixSeconds};
use crate::locator::{JsonField, Locator};
use crate::path::{self, Ambiguity, LiberalPath};
use crate::reason::Reason;
use crate::request::{Header, Reading, Request};
use crate::route::{Matched, Place, Rule, Target, TargetKind};

/// The rules of one filter.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Where credentials are looked for.
    pub carriers: Carriers,
    /// Where, besides the path, environments are looked for. All that are named must be the same.
    pub locators: Vec<Locator>,
    /// Reads JSON for [`Locator::Json`].
    pub json: JsonField,
    /// What is refused with 401 or 403 is only reported, except by rules that say otherwise and by administration's.
    pub shadow: bool,
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
    target: Result<Target, Reason>,
    keep_credentials: bool,
    shadow: bool,
}

/// What the rules say of a path.
pub(crate) enum Routed<'p, 'r> {
    /// It could be read as another one.
    Ambiguous(Ambiguity),
    /// This rule decides.
    By(Candidate<'p, 'r>),
    /// This rule would decide, but a stricter one, by its index, claims another spelling of the path: none decides.
    Overruled(Candidate<'p, 'r>, usize, &'p Rule),
    /// None is about it.
    Nowhere,
}

/// The first rule that matches a request.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'p, 'r> {
    pub(crate) index: usize,
    pub(crate) rule: &'p Rule,
    pub(crate) matched: Matched<'r>,
}

impl Policy {
    /// The first rule, with the environment rule behind it, that would decide paths of environments itself and asks for less: a policy
    /// that must not be used.
    pub fn first_bypass(&self) -> Option<(usize, usize)> {
        let weaker = |rule: &Rule| !matches!(rule.kind, TargetKind::Environment | TargetKind::Admin);
        let indexed = || self.rules.iter().enumerate();
        indexed().filter(|(_, rule)| weaker(rule)).find_map(|(index, rule)| {
            let environments = indexed().skip(index).filter(|(_, other)| other.template.has_environment());
            let mut bypassed = environments
                .filter(|(_, other)| rule.template.overlaps(&other.template) && !rule.template.is_exempt_from(&other.template));
            bypassed.next().map(|(other_index, _)| (index, other_index))
        })
    }

    /// The first rule that can never decide, with the stricter rule that claims its paths: two that differ only in letter case or in
    /// singular and plural, say.
    pub fn first_dead(&self) -> Option<(usize, usize)> {
        self.rules.iter().enumerate().find_map(|(index, rule)| {
            let method = rule.methods.as_ref().and_then(|methods| methods.first()).map_or("GET", String::as_str);
            let example = rule.template.example();
            let request = self.read([(b":method".as_slice(), method.as_bytes()), (b":path", example.as_bytes())]);
            match self.route(&request) {
                Routed::Overruled(candidate, stricter, _) if candidate.index == index => Some((index, stricter)),
                _ => None,
            }
        })
    }

    /// Reads a request for what this policy wants to know.
    pub fn read<'a>(&self, headers: impl IntoIterator<Item = Header<'a>>) -> Request<'a> {
        Request::read(headers, Reading { carriers: &self.carriers, locators: &self.locators, json: self.json })
    }

    /// Screens a request. An ambiguous path comes before everything else, then public rules.
    pub fn screen(&self, request: &Request<'_>) -> Screening {
        let (target, keep_credentials, shadow) = match self.route(request) {
            Routed::Ambiguous(_) => return Screening::Refuse(Reason::AmbiguousPath),
            Routed::By(Candidate { rule, .. }) if rule.kind == TargetKind::Public => {
                return Screening::Pass { keep_credentials: rule.keep_credentials };
            }
            Routed::By(Candidate { rule, matched, .. }) => {
                (self.target(rule, matched, request), rule.keep_credentials, self.shadows(rule))
            }
            Routed::Overruled(_, _, stricter) => (Err(Reason::NoRule), false, self.shadows(stricter)),
            Routed::Nowhere => (Err(Reason::NoRule), false, self.shadow),
        };
        Screening::Check(Check { digest: request.credentials.digest(), target, keep_credentials, shadow })
    }

    /// Whether anything is only reported.
    pub fn has_shadow(&self) -> bool {
        self.shadow || self.rules.iter().any(|rule| rule.shadow == Some(true))
    }

    /// Whether what this rule refuses is only reported. Administration is in shadow only if its rule says so itself.
    pub fn shadows(&self, rule: &Rule) -> bool {
        rule.shadow.unwrap_or(self.shadow && rule.kind != TargetKind::Admin)
    }

    pub(crate) fn route<'r>(&self, request: &Request<'r>) -> Routed<'_, 'r> {
        let Some(path) = request.path else { return Routed::Nowhere };
        let first = self.rules.iter().enumerate().find_map(|(index, rule)| {
            let matched = rule.template.matches(path).filter(|_| rule.decides(request))?;
            Some(Candidate { index, rule, matched })
        });
        let deciding_len = match first {
            Some(Candidate { matched, .. }) if matched.environment.is_some() => matched.deciding_len,
            _ => path.len(),
        };
        if let Some(ambiguity) = path::ambiguity(path, deciding_len) {
            return Routed::Ambiguous(ambiguity);
        }
        let Some(candidate) = first else { return Routed::Nowhere };
        let liberal = LiberalPath::of(path);
        let overrules = |index: usize, rule: &Rule| candidate.is_overruled_by(index, rule, request, &liberal);
        match self.rules.iter().enumerate().find(|(index, rule)| overrules(*index, rule)) {
            Some((index, stricter)) => Routed::Overruled(candidate, index, stricter),
            None => Routed::By(candidate),
        }
    }

    fn target(&self, rule: &Rule, matched: Matched<'_>, request: &Request<'_>) -> Result<Target, Reason> {
        let environment = self.environment(matched.environment, request)?;
        let place = match (rule.kind, environment) {
            (TargetKind::Account, environment) => Place::Account(environment),
            (TargetKind::Own, named) => Place::Own { named, prefix: self.environment_prefix.clone() },
            (TargetKind::Admin, _) => Place::Admin,
            (TargetKind::Environment, Some(environment)) => Place::Environment(environment),
            (TargetKind::Environment, None) | (TargetKind::Public, _) => return Err(Reason::NoRule),
        };
        let writes = request.writes || rule.always_write;
        if writes && request.may_be_forged {
            return Err(Reason::ForgedByBrowser);
        }
        Ok(Target { place, access: if writes { Access::Write } else { Access::Read } })
    }

    /// The one environment that a request names, wherever it does; what cannot be read agrees with nothing.
    pub(crate) fn environment(&self, in_path: Option<&str>, request: &Request<'_>) -> Result<Option<EnvironmentId>, Reason> {
        let elsewhere = request.environments.0.iter().map(|named| named.as_deref().ok_or(Reason::EnvironmentsDisagree));
        let mut agreed: Option<&str> = None;
        for named in in_path.map(Ok).into_iter().chain(elsewhere) {
            let named = named?;
            if agreed.is_some_and(|agreed| agreed != named) {
                return Err(Reason::EnvironmentsDisagree);
            }
            agreed = Some(named);
        }
        let id = |named: &str| match self.environment_prefix.as_str() {
            "" => EnvironmentId::parse(named),
            prefix => EnvironmentId::parse(&format!("{prefix}{named}")),
        };
        agreed.map(id).transpose().map_err(|_| Reason::OutOfScope)
    }
}

impl Candidate<'_, '_> {
    /// Whether another rule is stricter and claims this path once its spelling is folded, so that this one must not decide it.
    pub(crate) fn is_overruled_by(&self, index: usize, other: &Rule, request: &Request<'_>, liberal: &LiberalPath) -> bool {
        if index == self.index {
            return false;
        }
        let comes_first = index < self.index;
        // Who may do everything may do this, too.
        let guards_environments = self.rule.kind != TargetKind::Admin
            && other.kind == TargetKind::Environment
            && other.template.has_environment()
            && (comes_first || !self.rule.template.is_exempt_from(&other.template));
        let asks_otherwise = comes_first
            && (!asks_at_least(self.rule.kind, other.kind) || (other.always_write && !self.rule.always_write))
            && other.may_cover_method(request);
        // Last, because it takes longest and most rules have nothing to say by now.
        if !guards_environments && !asks_otherwise {
            return false;
        }
        let is_ours =
            |environment: &[u8]| self.matched.environment.is_some_and(|ours| ours.as_bytes().eq_ignore_ascii_case(environment));
        other.template.matches_liberally(liberal).is_some_and(|environment| asks_otherwise || !is_ours(environment))
    }
}

/// Whether whoever passes a rule of the first kind would pass one of the second, too. Environments are not compared here. An order, but
/// no ranking: an environment key passes what is its environment's and never what is an account's, for others it is the other way
/// round.
fn asks_at_least(kind: TargetKind, other: TargetKind) -> bool {
    use TargetKind::{Account, Admin, Environment, Own, Public};
    kind == other || matches!((kind, other), (_, Public) | (Admin, _) | (Account | Environment, Own))
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
            (Ok(_), Some(grant)) => decide(grant, self.target(), now),
        }
    }

    /// What the request asks for.
    ///
    /// # Errors
    /// The [`Reason`] for which no key gets it.
    pub fn target(&self) -> Result<&Target, Reason> {
        self.target.as_ref().map_err(|reason| *reason)
    }

    /// A refusal with 401 or 403 is only to be reported.
    pub fn is_shadowed(&self) -> bool {
        self.shadow
    }

    /// Credentials travel on if the request passes.
    pub fn keep_credentials(&self) -> bool {
        self.keep_credentials
    }
}
