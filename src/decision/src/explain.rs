//! Why a request is answered as it is: rule by rule, place by place, carrier by carrier. For people, never on the path of a request.
//! It decides nothing: every answer in it comes from the function that decides with it. It holds no secret.

use std::slice;

use crate::carrier::Carrier;
use crate::credential::{self, Outline, Scheme};
use crate::environment::EnvironmentId;
use crate::locator::Locator;
use crate::named::NamedEnvironments;
use crate::path::{Ambiguity, LiberalPath};
use crate::policy::{Candidate, Policy, Routed};
use crate::query;
use crate::reason::Reason;
use crate::request::{Header, Request};
use crate::route::Rule;
use crate::ruling::Screening;

/// What a policy makes of one request.
#[derive(Debug)]
pub struct Explanation {
    /// What each rule, in order, says of its path.
    pub rules: Vec<RuleTrace>,
    /// What follows from them.
    pub route: Route,
    /// Where the request names an environment; `None` for what is there but cannot be read.
    pub named: Vec<(NamedIn, Option<String>)>,
    /// The environment that these agree on, as keys know it; [`Reason::EnvironmentsDisagree`] or, for what can be no environment's id,
    /// [`Reason::OutOfScope`].
    pub environment: Result<Option<EnvironmentId>, Reason>,
    /// What makes it a write; a read if nothing does.
    pub writes: Vec<WriteSign>,
    /// A browser may have been led to send it: it must not write.
    pub may_be_forged: bool,
    /// What its carriers present.
    pub presented: Vec<Presented>,
    /// What can be said without looking its credential up.
    pub screening: Screening,
}

/// One rule and one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleTrace {
    /// Whether the rule is about it.
    pub fit: Fit,
    /// It is stricter than the first rule that matches, and keeps it from deciding.
    pub overrules: bool,
}

/// How a rule matches a request. The environments are those that stand in the path for the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Path and method match.
    Exact(Option<String>),
    /// The path matches, but the rule is about other methods.
    OtherMethod,
    /// The path matches only as its most liberal reader might see it: decoded, in any letter case, singular or plural.
    Folded(Option<String>),
    /// Not at all.
    None,
}

/// What the rules together say of a path. Rules go by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// It could be read as another one: refused before any rule.
    Ambiguous(Ambiguity),
    /// This rule decides.
    By(usize),
    /// The first would decide, but the second overrules it: none decides.
    Overruled(usize, usize),
    /// No rule matches.
    Nowhere,
}

/// Where a request names an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedIn {
    /// In its path, by the first rule that matches.
    Path,
    /// In one of the policy's other places.
    Place(Locator),
}

/// Something that makes a request a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteSign {
    /// Its method.
    Method,
    /// A query parameter that overrides its method.
    Parameter,
    /// This header: an upgrade, or one that overrides its method.
    Header(String),
    /// The rule that decides says so.
    Rule,
}

/// One value in one carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The carrier; `None` for an `Authorization` of a scheme that is not in use.
    pub carrier: Option<Carrier>,
    /// The credential; `None` for a value that has no canonical string, or that does not count.
    pub credential: Option<Outline>,
}

impl Policy {
    /// Explains a request by its header map, which is read as [`Policy::read`] does.
    pub fn explain(&self, headers: &[Header<'_>]) -> Explanation {
        let request = self.read(headers.iter().copied());
        let (route, candidate) = match self.route(&request) {
            Routed::Ambiguous(ambiguity) => (Route::Ambiguous(ambiguity), None),
            Routed::By(candidate) => (Route::By(candidate.index), Some(candidate)),
            Routed::Overruled(candidate, by) => (Route::Overruled(candidate.index, by), Some(candidate)),
            Routed::Nowhere => (Route::Nowhere, None),
        };
        let in_path = candidate.and_then(|candidate| candidate.matched.environment);
        let named = in_path.map(|name| (NamedIn::Path, Some(name.to_owned())));
        Explanation {
            rules: trace(&self.rules, candidate, &request),
            route,
            named: named.into_iter().chain(self.named_elsewhere(headers)).collect(),
            environment: self.environment(in_path, &request),
            writes: self.write_signs(headers, candidate),
            may_be_forged: request.may_be_forged,
            presented: headers.iter().flat_map(|header| self.presented(*header)).collect(),
            screening: self.screen(&request),
        }
    }

    /// Reads place by place what [`Policy::read`] reads in one pass.
    fn named_elsewhere(&self, headers: &[Header<'_>]) -> Vec<(NamedIn, Option<String>)> {
        let mut all = Vec::new();
        for (name, value) in headers {
            for locator in &self.locators {
                let mut named = NamedEnvironments::default();
                named.read_header(slice::from_ref(locator), name, value);
                if *name == b":path" {
                    named.read_query(slice::from_ref(locator), self.json, query::split(value).1);
                }
                all.extend(named.named.into_iter().map(|name| (NamedIn::Place(locator.clone()), name)));
            }
        }
        all
    }

    /// A header makes a request a write if it makes a write of one that would else only read.
    fn write_signs(&self, headers: &[Header<'_>], candidate: Option<Candidate<'_, '_>>) -> Vec<WriteSign> {
        const READ: Header<'static> = (b":method", b"GET");
        let methods = || headers.iter().filter(|(name, _)| *name == READ.0);
        let mut signs = Vec::new();
        if self.read(methods().copied()).writes {
            signs.push(WriteSign::Method);
        }
        for header in headers.iter().filter(|(name, _)| *name != READ.0) {
            if self.read([READ, *header]).writes {
                signs.push(match header.0 {
                    b":path" => WriteSign::Parameter,
                    name => WriteSign::Header(String::from_utf8_lossy(name).into_owned()),
                });
            }
        }
        signs.extend(candidate.filter(|candidate| candidate.rule.always_write).map(|_| WriteSign::Rule));
        signs
    }

    fn presented(&self, (name, value): Header<'_>) -> Vec<Presented> {
        let mut all = Vec::new();
        if name == b"authorization" {
            let token = self.carriers.token_of_basic(value, credential::outline_of_opaque);
            let (carrier, credential) = match token {
                Some((carrier, token)) => (Some(carrier.clone()), token),
                None => match credential::outline_of_authorization(value) {
                    Some((Scheme::Basic, credential)) => (Some(Carrier::Basic), credential),
                    Some((Scheme::Bearer, credential)) => (Some(Carrier::Bearer), credential),
                    Some((Scheme::None, credential)) => (Some(Carrier::Bare), credential),
                    None => (None, None),
                },
            };
            let carrier = carrier.filter(|carrier| self.carriers.uses(carrier));
            let credential = credential.filter(|_| carrier.is_some());
            all.push(Presented { carrier, credential });
        }
        self.carriers.each_value(name, value, |carrier, value| {
            all.push(Presented { carrier: Some(carrier.clone()), credential: credential::outline_of_opaque(&value) });
        });
        all
    }
}

fn trace(rules: &[Rule], candidate: Option<Candidate<'_, '_>>, request: &Request<'_>) -> Vec<RuleTrace> {
    let path = request.path.unwrap_or_default();
    let liberal = LiberalPath::of(path);
    let trace = |(index, rule): (usize, &Rule)| RuleTrace {
        fit: match (rule.template.matches(path), rule.template.matches_liberally(&liberal)) {
            _ if request.path.is_none() => Fit::None,
            (Some(_), _) if !rule.decides_method(request) => Fit::OtherMethod,
            (Some(matched), _) => Fit::Exact(matched.environment.map(str::to_owned)),
            (None, Some(environment)) => {
                Fit::Folded(rule.template.has_environment().then(|| environment.escape_ascii().to_string()))
            }
            (None, None) => Fit::None,
        },
        overrules: candidate.is_some_and(|first| first.is_overruled_by(index, rule, request, &liberal)),
    };
    rules.iter().enumerate().map(trace).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::carrier::Carriers;
    use crate::identity::IdentityHeader;
    use crate::route::{TargetKind, Template};

    fn policy() -> Policy {
        let rule = |path: &str, kind: TargetKind| Rule {
            template: Template::parse(path).unwrap(),
            methods: None,
            kind,
            places: crate::Places::ALL,
            always_write: path.ends_with("exec"),
            keep_credentials: false,
            shadow: None,
        };
        let carriers =
            ["basic", "basic:by", "header:x-api-key", "cookie:token", "query:key"].map(|text| Carrier::parse(text).unwrap());
        Policy {
            carriers: Carriers { used: carriers.to_vec(), stripped: Vec::new() },
            locators: ["header:x-project", "query:project", "basic:by", "opaque:x-owner"]
                .map(|text| Locator::parse(text).unwrap())
                .to_vec(),
            json: |_, _| None,
            shadow: false,
            environment_prefix: String::new(),
            environment_header: None,
            identity_headers: IdentityHeader::ALL.to_vec(),
            rules: vec![
                Rule { methods: Some(vec!["POST".to_owned()]), ..rule("/login", TargetKind::Public) },
                rule("/v1/settings/**", TargetKind::Admin),
                rule("/v1/projects/{environment}/exec", TargetKind::Environment),
                rule("/v1/projects/{environment}/**", TargetKind::Environment),
                rule("/v1/*", TargetKind::Account),
                rule("/**", TargetKind::Own),
            ],
        }
    }

    fn explain(method: &str, path: &str, headers: &[(&str, &str)]) -> Explanation {
        let all = [(":method", method), (":path", path)].into_iter().chain(headers.iter().copied());
        let all: Vec<Header<'_>> = all.map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        policy().explain(&all)
    }

    fn fits(explanation: &Explanation) -> Vec<&Fit> {
        explanation.rules.iter().map(|rule| &rule.fit).collect()
    }

    #[test]
    fn each_rule_says_how_it_matches() {
        let found = explain("GET", "/v1/projects/1a5/exec", &[]);
        let exact = Fit::Exact(Some("1a5".to_owned()));
        assert_eq!(fits(&found), [&Fit::None, &Fit::None, &exact, &exact, &Fit::None, &Fit::Exact(None)]);
        assert_eq!((found.route, found.writes), (Route::By(2), vec![WriteSign::Rule]));
        assert_eq!(fits(&explain("GET", "/login", &[]))[0], &Fit::OtherMethod);
    }

    #[test]
    fn a_folded_match_overrules() {
        let found = explain("GET", "/v1/Setting", &[]);
        assert_eq!(found.route, Route::Overruled(4, 1));
        assert_eq!(found.rules[1], RuleTrace { fit: Fit::Folded(None), overrules: true });
        assert!(found.rules.iter().filter(|rule| rule.overrules).count() == 1);
        let found = explain("GET", "/V1/Projects/1a6/x", &[]);
        assert_eq!(found.route, Route::Overruled(5, 3));
        assert_eq!(found.rules[3].fit, Fit::Folded(Some("1a6".to_owned())));
    }

    #[test]
    fn places_signs_and_carriers_are_named() {
        let headers = [
            ("x-project", "1a6"),
            ("authorization", "Bearer hush"),
            ("x-api-key", "0123456789ABCDEF0123:abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQ"),
            ("cookie", "token=hush hush"),
            ("upgrade", "websocket"),
        ];
        let found = explain("GET", "/v1/projects/1a5/x?project=1a5&key=bearer+hush", &headers);
        let place = |text: &str| NamedIn::Place(Locator::parse(text).unwrap());
        let name = |name: &str| Some(name.to_owned());
        let expected =
            [(NamedIn::Path, name("1a5")), (place("query:project"), name("1a5")), (place("header:x-project"), name("1a6"))];
        assert_eq!(found.named, expected);
        assert_eq!(found.environment, Err(Reason::EnvironmentsDisagree));
        assert_eq!(found.writes, [WriteSign::Header("upgrade".to_owned())]);
        let told: Vec<String> = found.presented.iter().map(|it| format!("{:?}", it.credential)).collect();
        let key = r#"Some(Key(AccessKey("0123456789ABCDEF0123")))"#;
        assert_eq!(told, ["Some(Opaque(4))", "None", key, "None"]);
        assert_eq!(found.presented[1].carrier, None);
        assert!(!format!("{found:?}").contains("hush"));
    }

    /// A request around the policy's rules, with anything that any of its readers looks at.
    fn any_request() -> impl Strategy<Value = (String, String, Vec<(String, String)>)> {
        let segment = "(v1|V1|projects|project|Settings|settings|login|1a5|1A5|1a6|exec|x|%2e%2e|\\.\\.|a%2fb|;|)";
        let path = prop::collection::vec(segment, 1..6).prop_map(|segments| format!("/{}", segments.join("/")));
        let query = "(\\?(project=(1a5|1a6)|key=(a|b)|_method=x|&){0,4})?";
        let header = prop_oneof![
            ("x-project", "(1a5|1a6)"),
            ("x-api-key", "(a|b|a b)"),
            // a:b, by:a, by=1a5:a, BY=1a6:a and by:
            ("authorization", "(Basic YTpi|Bearer a|x|Basic Ynk6YQ==|Basic Ynk9MWE1OmE=|Basic Qlk9MWE2OmE=|Basic Ynk6)"),
            ("x-owner", "(a|)"),
            ("cookie", "(token=a|CSRF=x|token=b; CSRF=x)"),
            ("upgrade", "h2c"),
            ("x-http-method-override", "PUT"),
            ("user-agent", "Mozilla"),
            ("x-api-csrf", "x"),
        ];
        let header = header.prop_map(|(name, value)| (name.to_owned(), value));
        ("(GET|POST|HEAD|get)", (path, query), prop::collection::vec(header, 0..4))
            .prop_map(|(method, (path, query), headers)| (method, path + &query, headers))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn what_is_explained_is_what_is_decided((method, path, headers) in any_request()) {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let found = explain(&method, &path, &headers);
            let all = [(":method", method.as_str()), (":path", path.as_str())].into_iter().chain(headers);
            let policy = policy();
            let request = policy.read(all.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
            prop_assert_eq!(format!("{:?}", found.screening), format!("{:?}", policy.screen(&request)));

            let first = found.rules.iter().position(|rule| matches!(rule.fit, Fit::Exact(_)));
            let overruling = found.rules.iter().position(|rule| rule.overrules);
            match found.route {
                Route::Ambiguous(_) => prop_assert!(matches!(found.screening, Screening::Refuse(Reason::AmbiguousPath))),
                Route::By(index) => prop_assert_eq!((first, overruling), (Some(index), None)),
                Route::Overruled(index, by) => prop_assert_eq!((first, overruling), (Some(index), Some(by))),
                Route::Nowhere => prop_assert_eq!(first, None),
            }
            let by_rule = found.writes.contains(&WriteSign::Rule);
            prop_assert_eq!(found.writes.len() > usize::from(by_rule), request.writes);
            let mut elsewhere: Vec<_> = found.named.iter().filter(|(place, _)| *place != NamedIn::Path).map(|(_, name)| name).collect();
            let mut named: Vec<_> = request.environments.named.iter().collect();
            elsewhere.sort();
            named.sort();
            prop_assert_eq!(elsewhere, named);
            if let Screening::Check(check) = &found.screening {
                match check.digest() {
                    Ok(_) => prop_assert!(found.presented.iter().all(|it| it.credential.is_some())),
                    Err(Reason::NoCredential) => prop_assert!(found.presented.is_empty()),
                    Err(_) => prop_assert!(!found.presented.is_empty()),
                }
            }
        }
    }
}
