//! The whole policy of one filter, and the order in which a request is answered. It holds no table: whoever has one looks the
//! credential up between [`Policy::rule_on`] and [`Demand::decide`].

use std::sync::Arc;

use crate::carrier::Carriers;
use crate::decide::Permit;
use crate::environment::EnvironmentId;
use crate::grant::Access;
use crate::identity::IdentityHeader;
use crate::locator::{JsonField, Locator};
use crate::path::{self, Ambiguity, Flaw, LiberalPath};
use crate::reason::Reason;
use crate::request::{self, Header, Reading, Request};
use crate::route::{Matched, Rule, TargetKind};
use crate::ruling::{Check, Demand, Ruling, Screening};
use crate::target::{Place, Target};

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
    /// By this header the upstream is told the environment under its own name for it, without the prefix. It is a place, too: what a
    /// client says there agrees.
    pub environment_header: Option<String>,
    /// By these the upstream is told who makes a request.
    pub identity_headers: Vec<IdentityHeader>,
    /// In order; the first that matches decides.
    pub rules: Vec<Rule>,
}

/// What the rules say of a path.
pub(crate) enum Routed<'p, 'r> {
    /// It could be read as another one.
    Ambiguous(Ambiguity),
    /// This rule decides.
    By(Candidate<'p, 'r>),
    /// This rule would decide, but a stricter one, by its index, claims another spelling of the path: none decides.
    Overruled(Candidate<'p, 'r>, usize),
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
                Routed::Overruled(candidate, stricter) if candidate.index == index => Some((index, stricter)),
                _ => None,
            }
        })
    }

    /// Reads a request for what this policy wants to know.
    pub fn read<'a>(&self, headers: impl IntoIterator<Item = Header<'a>>) -> Request<'a> {
        Request::read(headers, Reading { carriers: &self.carriers, locators: &self.locators, json: self.json })
    }

    /// Whether a trailer must not reach the upstream, which may take it for a header: it claims or carries what only a header may, or says
    /// what was judged before it came. No rule keeps a credential there, for none was judged.
    pub fn removes_trailer(&self, name: &[u8]) -> bool {
        request::is_forbidden_header(name)
            || request::overrides_method_by_header(name)
            || self.carriers.strips_header(name, false)
            || name == b"cookie"
            || self.locators.iter().any(|locator| locator.is_header(name))
    }

    /// Says to the upstream who makes a request, one header at a time: ids in printable ASCII.
    ///
    /// # Errors
    /// The first that `set` gives.
    pub fn introduce<E>(&self, permit: &Permit, mut set: impl FnMut(&str, &str) -> Result<(), E>) -> Result<(), E> {
        self.identity_headers.iter().try_for_each(|header| header.write(permit, &mut set))?;
        let environment = permit.environment().map(|environment| environment.as_str());
        match (&self.environment_header, environment.and_then(|environment| environment.strip_prefix(&self.environment_prefix))) {
            (Some(header), Some(own)) => set(header, own),
            _ => Ok(()),
        }
    }

    /// Screens a request: what the rules say of it, and its credential's digest.
    pub fn screen(&self, request: &Request<'_>) -> Screening {
        match self.rule_on(request) {
            Ruling::Refuse(reason) => Screening::Refuse(reason),
            Ruling::Pass { keep_credentials } => Screening::Pass { keep_credentials },
            Ruling::Check(demand) => Screening::Check(Check::new(request.credentials.digest(), demand)),
        }
    }

    /// Says what the rules say of a request. An ambiguous path or query comes before everything else, then public rules.
    pub fn rule_on(&self, request: &Request<'_>) -> Ruling {
        let (target, keep_credentials, shadow) = match self.route(request) {
            Routed::Ambiguous(_) => return Ruling::Refuse(Reason::AmbiguousPath),
            Routed::By(Candidate { rule, .. }) if rule.kind == TargetKind::Public => {
                return Ruling::Pass { keep_credentials: rule.keep_credentials };
            }
            Routed::By(Candidate { index, rule, matched }) => {
                let shadow = self.shadows(rule) && self.shadows_spellings(index, request);
                (self.target(rule, matched, request), rule.keep_credentials, shadow)
            }
            Routed::Overruled(..) | Routed::Nowhere => (Err(Reason::NoRule), false, self.shadows_undecided(request)),
        };
        Ruling::Check(Arc::new(Demand::new(target, keep_credentials, shadow)))
    }

    /// Whether anything is only reported.
    pub fn has_shadow(&self) -> bool {
        self.shadow || self.rules.iter().any(|rule| rule.shadow == Some(true))
    }

    /// Whether what this rule refuses is only reported. Administration is in shadow only if its rule says so itself.
    pub fn shadows(&self, rule: &Rule) -> bool {
        rule.shadow.unwrap_or(self.shadow && rule.kind != TargetKind::Admin)
    }

    /// Whether all rules before this one that claim another spelling of a request's path, for its method, are in shadow. Those that let
    /// everybody pass guard nothing, and those of this very spelling had their turn, unless another method is meant.
    fn shadows_spellings(&self, index: usize, request: &Request<'_>) -> bool {
        let Some(path) = request.path else { return false };
        let liberal = LiberalPath::of(path);
        let guards = |rule: &Rule| {
            rule.kind != TargetKind::Public
                && rule.may_cover_method(request)
                && (request.overrides_method || rule.template.matches(path).is_none())
                && rule.template.matches_liberally(&liberal).is_some()
        };
        self.rules.iter().take(index).filter(|rule| guards(rule)).all(|rule| self.shadows(rule))
    }

    /// Whether a request that no rule decides is only reported. Not if a rule that is not in shadow itself claims another spelling of
    /// its path, whatever the method: an upstream might take it for that. Nor without a path, which no rule could claim.
    fn shadows_undecided(&self, request: &Request<'_>) -> bool {
        let Some(path) = request.path.filter(|_| self.has_shadow()) else { return false };
        let liberal = LiberalPath::of(path);
        let mut claimants = self.rules.iter().filter(|rule| rule.template.matches_liberally(&liberal).is_some()).peekable();
        if claimants.peek().is_none() { self.shadow } else { claimants.all(|rule| self.shadows(rule)) }
    }

    pub(crate) fn route<'r>(&self, request: &Request<'r>) -> Routed<'_, 'r> {
        let Some(path) = request.path else { return Routed::Nowhere };
        if request.ambiguous_query {
            return Routed::Ambiguous(Ambiguity { segment: 0, flaw: Flaw::Query });
        }
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
            Some((index, _)) => Routed::Overruled(candidate, index),
            None => Routed::By(candidate),
        }
    }

    fn target(&self, rule: &Rule, matched: Matched<'_>, request: &Request<'_>) -> Result<Target, Reason> {
        let environment = self.environment(matched.environment, request)?;
        let place = match (rule.kind, environment) {
            (TargetKind::Account, environment) => Place::Account(environment),
            (kind @ (TargetKind::Own | TargetKind::Within), named) => {
                Place::Own { named, prefix: self.environment_prefix.clone(), any_account: kind == TargetKind::Own }
            }
            (TargetKind::Admin, _) => Place::Admin,
            (TargetKind::Environment, Some(environment)) => Place::Environment(environment),
            (TargetKind::Environment, None) | (TargetKind::Public, _) => return Err(Reason::NoRule),
        };
        let writes = request.writes || rule.always_write;
        if writes && request.may_be_forged {
            return Err(Reason::ForgedByBrowser);
        }
        Ok(Target::new(place, if writes { Access::Write } else { Access::Read }))
    }

    /// The one environment that a request names, wherever it does; what cannot be read agrees with nothing.
    pub(crate) fn environment(&self, in_path: Option<&str>, request: &Request<'_>) -> Result<Option<EnvironmentId>, Reason> {
        let elsewhere = request.environments.named.iter().map(|named| named.as_deref().ok_or(Reason::EnvironmentsDisagree));
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
    use TargetKind::{Account, Admin, Environment, Own, Public, Within};
    kind == other || matches!((kind, other), (_, Public) | (Admin, _) | (Account | Environment | Within, Own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locator::Places;
    use crate::route::Template;

    fn rule(path: &str, kind: TargetKind, shadow: Option<bool>) -> Rule {
        Rule {
            template: Template::parse(path).unwrap(),
            methods: None,
            kind,
            places: Places::ALL,
            always_write: false,
            keep_credentials: false,
            shadow,
        }
    }

    fn policy(shadow: bool) -> Policy {
        Policy {
            carriers: Carriers::standard(),
            locators: Vec::new(),
            json: |_, _| None,
            shadow,
            environment_prefix: String::new(),
            environment_header: None,
            identity_headers: IdentityHeader::ALL.to_vec(),
            rules: vec![
                rule("/v1/settings/**", TargetKind::Admin, None),
                rule("/v1/licences/**", TargetKind::Admin, Some(true)),
                rule("/v1/projects/{environment}/**", TargetKind::Environment, None),
                rule("/v2/projects/{environment}/**", TargetKind::Environment, Some(false)),
                rule("/v1/*", TargetKind::Account, None),
            ],
        }
    }

    #[test]
    fn a_trailer_says_nothing_that_would_have_been_judged() {
        let mut policy = policy(false);
        policy.locators = vec![Locator::parse("header:x-project").unwrap()];
        for name in
            ["x-keygate-key", "x_api_key", "x-project", "x_project", "x-http-method-override", "x-rewrite-url", "authorization"]
        {
            assert!(policy.removes_trailer(name.as_bytes()), "{name}");
        }
        assert!(policy.removes_trailer(b"cookie"));
        assert!(!policy.removes_trailer(b"host"));
        policy.locators = vec![Locator::parse("host:0").unwrap()];
        assert!(policy.removes_trailer(b"host") && policy.removes_trailer(b"x-forwarded-host"));
        assert!(!policy.removes_trailer(b"grpc-status"));
    }

    #[test]
    fn shadow_covers_no_spelling_of_a_rule_that_is_not_in_it() {
        let in_shadow = |shadow: bool, path: Option<&str>| {
            let path = path.map(|path| (b":path".as_slice(), path.as_bytes()));
            let policy = policy(shadow);
            let request = policy.read([(b":method".as_slice(), b"GET".as_slice())].into_iter().chain(path));
            match policy.screen(&request) {
                Screening::Check(check) => check.is_shadowed(),
                other => panic!("{other:?}"),
            }
        };
        for (path, whole, by_rule) in [
            ("/v1/settings/x", false, false),
            ("/v1/Settings/x", false, false),
            ("/V1/setting/x", false, false),
            ("/v1/setting", false, false),
            ("/v1/licences/x", true, true),
            ("/v1/LICENCE/x", true, true),
            ("/v1/projects/1a5/x", true, false),
            ("/v1/Project/1a5/x", true, false),
            ("/v2/projects/1a5/x", false, false),
            ("/v2/Projects/1a5/x", false, false),
            ("/elsewhere", true, false),
        ] {
            assert_eq!((in_shadow(true, Some(path)), in_shadow(false, Some(path))), (whole, by_rule), "{path}");
        }
        assert!(!in_shadow(true, None), "a tunnel to anywhere");
    }

    /// Over HTTP/2 Envoy takes any method, and some upstreams know theirs in any letter case.
    #[test]
    fn a_method_in_another_letter_case_evades_no_rule() {
        let mut policy = policy(false);
        let writes = ["PUT", "DELETE"].map(str::to_owned).to_vec();
        let guarded = Rule { methods: Some(writes), ..rule("/v1/settings/**", TargetKind::Admin, None) };
        policy.rules = vec![guarded, rule("/v1/**", TargetKind::Account, None)];
        for (method, place) in [("GET", Ok("account")), ("PUT", Ok("admin")), ("put", Err(())), ("Get", Err(()))] {
            let request = policy.read([(b":method".as_slice(), method.as_bytes()), (b":path", b"/v1/settings/x")]);
            let decided = match policy.route(&request) {
                Routed::By(candidate) => Ok(candidate.rule.kind.as_str()),
                _ => Err(()),
            };
            assert_eq!(decided, place, "{method}");
        }
    }

    #[test]
    fn shadow_covers_no_spelling_that_another_rule_decides() {
        let payments = rule("/v1/payments/**", TargetKind::Account, Some(false));
        for (methods, path, shadowed) in [
            (None, "/v1/payments/7", false),
            (None, "/v1/Payments/7", false),
            (None, "/v1/payment/7", false),
            (None, "/v1/other/7", true),
            (Some("PUT"), "/v1/Payments/7", true),
            (Some("PUT"), "/v1/payments/7", true),
            (Some("PUT"), "/v1/payments/7?_method=put", false),
            (None, "/v1/statuses", true),
        ] {
            let mut policy = policy(true);
            let methods = methods.map(|method: &str| vec![method.to_owned()]);
            let everybody = rule("/v1/status", TargetKind::Public, None);
            policy.rules = vec![everybody, Rule { methods, ..payments.clone() }, rule("/v1/**", TargetKind::Account, None)];
            let request = policy.read([(b":method".as_slice(), b"GET".as_slice()), (b":path", path.as_bytes())]);
            let Screening::Check(check) = policy.screen(&request) else { panic!("{path}") };
            assert_eq!(check.is_shadowed(), shadowed, "{path}");
        }
    }
}
