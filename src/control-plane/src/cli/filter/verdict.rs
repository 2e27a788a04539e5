//! The verdict on a request: as [`keygate_decision`] decides, or, where a key decides that nobody named, what that key must be.

use keygate_decision::{Access, Decision, Explanation, Header, Place, ReadinessPath, Reason, Screening, Target, UnixSeconds};
use keygate_wire::FilterConfig;
use serde_json::{Value, json};

use super::grant::Key;
use super::upstream::Upstream;

/// What becomes of a request.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// The filter answers it itself: it asks for readiness.
    Readiness,
    /// It passes, whoever sends it: its rule is public.
    Public(Upstream),
    /// It passes.
    Passes(Upstream),
    /// It would be refused, but that is only reported.
    Shadowed(Reason, Upstream),
    /// It is refused; with what it would need to pass, if anything helps.
    Refused(Reason, Option<String>),
    /// It passes with a key such as described; with any other it is refused or, in shadow, passes without an identity.
    Depends { needs: String, in_shadow: bool, upstream: Upstream },
}

impl Verdict {
    /// Judges a request, as this key if there is one.
    pub(super) fn find(
        config: &FilterConfig,
        headers: &[Header<'_>],
        explanation: &Explanation,
        key: Option<&Key>,
        now: UnixSeconds,
    ) -> Self {
        let policy = &config.policy;
        let asked = |path: &ReadinessPath| path.is_asked_by(&policy.read(headers.iter().copied()));
        if config.readiness.as_ref().is_some_and(asked) {
            return Self::Readiness;
        }
        let forwarded = |keep, permit| Upstream::forwarded(policy, headers, keep, permit);
        let check = match &explanation.screening {
            Screening::Refuse(reason) => return Self::Refused(*reason, None),
            Screening::Pass { keep_credentials } => return Self::Public(forwarded(*keep_credentials, None)),
            Screening::Check(check) => check,
        };
        let decision = match (key, check.digest(), check.target()) {
            (Some(key), ..) => check.decide(key.grant.as_ref(), now),
            (None, Ok(_), Ok(target)) => {
                let upstream = forwarded(check.keep_credentials(), None);
                return Self::Depends { needs: wanted(target), in_shadow: check.is_shadowed(), upstream };
            }
            (None, Ok(_), Err(whatever_the_key)) => Decision::Deny(whatever_the_key),
            (None, Err(_), _) => check.decide(None, now),
        };
        match decision {
            Decision::Allow(permit) => Self::Passes(forwarded(check.keep_credentials(), Some(&permit))),
            Decision::Deny(reason) if check.is_shadowed() && matches!(reason.status(), 401 | 403) => {
                Self::Shadowed(reason, Upstream::shadowed(headers, reason))
            }
            Decision::Deny(Reason::ConflictingCredentials) => Self::Refused(Reason::ConflictingCredentials, None),
            Decision::Deny(reason) => Self::Refused(reason, check.target().ok().map(wanted)),
        }
    }

    pub(super) fn json(&self) -> Value {
        let refusal = |outcome: &str, reason: &Reason| json!({"outcome": outcome, "status": reason.status(), "reason": reason.code(), "why": why(*reason), "body": reason.body()});
        let (mut value, needs, upstream) = match self {
            Self::Readiness => (json!({"outcome": "readiness"}), None, None),
            Self::Public(upstream) => (json!({"outcome": "passes", "public": true}), None, Some(upstream)),
            Self::Passes(upstream) => (json!({"outcome": "passes", "public": false}), None, Some(upstream)),
            Self::Shadowed(reason, upstream) => (refusal("shadowed", reason), None, Some(upstream)),
            Self::Refused(reason, needs) => (refusal("refused", reason), needs.as_ref(), None),
            Self::Depends { needs, in_shadow, upstream } => {
                (json!({"outcome": "depends", "inShadow": in_shadow}), Some(needs), Some(upstream))
            }
        };
        if let Some(fields) = value.as_object_mut() {
            fields.extend(needs.map(|needs| ("passesFor".to_owned(), needs.as_str().into())));
            fields.extend(upstream.map(|upstream| ("upstream".to_owned(), upstream.json())));
        }
        value
    }
}

/// Which keys reach a target; says what [`keygate_decision::decide`] does.
fn wanted(target: &Target) -> String {
    let access = match target.access() {
        Access::Read => "read",
        Access::Write => "write",
    };
    match target.place() {
        Place::Environment(id) | Place::Own { named: Some(id), .. } => {
            format!("a key of environment {id}, or of an account that may {access} there")
        }
        Place::Own { named: None, prefix, any_account: true } if prefix.is_empty() => "any key that is not limited".to_owned(),
        Place::Own { named: None, prefix, any_account } => {
            let accounts = if *any_account { "any account's key that is not limited" } else { "an admin's key" };
            let named = if prefix.is_empty() { String::new() } else { format!(" whose id begins with {prefix}") };
            format!("{accounts}, or a key of an environment{named}")
        }
        Place::Account(Some(id)) => format!("a key of an account that may {access} in environment {id}"),
        Place::Account(None) => "any account's key that is not limited".to_owned(),
        Place::Admin => "an admin's key".to_owned(),
    }
}

/// A reason in words.
pub(super) fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::Misconfigured => "the filter's configuration cannot be used",
        Reason::AmbiguousPath => "an upstream could read the path or query as another one",
        Reason::NoTable => "no table has been received yet",
        Reason::StaleTable => "the control plane has not been heard for too long",
        Reason::ConflictingCredentials => "the request carries two different credentials",
        Reason::NoCredential => "the request carries no credential",
        Reason::MalformedCredential => "a credential is malformed, doubled, over-long or of a scheme that is not in use",
        Reason::UnknownCredential => "the key is not in the table: unknown or inactive, or its account is",
        Reason::Expired => "the key has expired",
        Reason::NoRule => "no rule decides the request",
        Reason::EnvironmentsDisagree => "the request names different environments, or one that cannot be read",
        Reason::ForgedByBrowser => "a browser writes with a cookie alone, and without X-API-CSRF equal to the cookie CSRF",
        Reason::OutOfScope => "the key does not reach there",
        Reason::ReadOnly => "the key only reads there",
    }
}
