//! An explanation on paper: one JSON object, or text for people. Values of credentials are in neither, and the query's are taken out of the
//! path.

use keygate_decision::credential::Outline;
use keygate_decision::explain::{Fit, NamedIn, Presented, Route, RuleTrace, WriteSign};
use keygate_decision::path::{self, Ambiguity, Flaw};
use keygate_decision::query;
use keygate_decision::{Explanation, Header, Reason};
use keygate_wire::FilterConfig;
use serde_json::{Value, json};

use super::super::output::{self, Column, View};
use super::check;
use super::grant::Key;
use super::upstream::Upstream;
use super::verdict::{Verdict, why};

const RULES: View = &[
    Column::new("#", "index"),
    Column::or("METHODS", "methods", "all"),
    Column::new("PATH", "path"),
    Column::new("TARGET", "target"),
    Column::new("MATCHES", "match"),
    Column::new("ENVIRONMENT", "environment"),
    Column::or("", "role", ""),
];

/// All that there is to say of one request.
pub(super) struct Report<'a> {
    pub(super) config: &'a FilterConfig,
    pub(super) headers: &'a [Header<'a>],
    pub(super) explanation: &'a Explanation,
    pub(super) verdict: &'a Verdict,
    pub(super) key: Option<&'a Key>,
}

impl Report<'_> {
    pub(super) fn json(&self) -> Value {
        let Explanation { named, environment, writes, presented, .. } = self.explanation;
        let named = named.iter().map(|(place, name)| json!({"place": place_word(place), "name": name}));
        json!({
            "request": {"method": self.header(b":method"), "path": self.path(), "as": self.key.map(|key| &key.id)},
            "rules": self.rules(),
            "path": self.path_json(),
            "environments": {
                "named": named.collect::<Vec<_>>(),
                "environment": environment.as_ref().ok().and_then(Option::as_ref).map(ToString::to_string),
                "problem": environment.as_ref().err().map(|reason| reason.code()),
            },
            "access": {
                "access": if writes.is_empty() { "read" } else { "write" },
                "because": writes.iter().map(|sign| self.sign_word(sign)).collect::<Vec<_>>(),
                "mayBeForged": self.explanation.may_be_forged,
            },
            "credentials": presented.iter().map(presented_json).collect::<Vec<_>>(),
            "verdict": self.verdict.json(),
        })
    }

    /// The same for people; with the rules that do not match, or only their number.
    pub(super) fn text(&self, all_rules: bool) -> String {
        let rules = self.rules();
        let is_shown = |rule: &&Value| all_rules || rule.get("match").is_none_or(|fit| fit != "no");
        let shown: Vec<&Value> = rules.iter().filter(is_shown).collect();
        let hidden = match rules.len() - shown.len() {
            0 => String::new(),
            1 => "1 rule does not match; --all lists it\n".to_owned(),
            number => format!("{number} rules do not match; --all lists them\n"),
        };
        let facts = [
            ("path", self.path_words()),
            ("environment", self.environment_words()),
            ("access", self.access_words()),
            ("credential", self.credential_words()),
        ];
        let rows = facts.into_iter().map(|(title, words)| vec![title.to_owned(), words]).chain(self.verdict_rows());
        let line = output::printable(&format!("{} {}", self.header(b":method"), self.path().unwrap_or_default()));
        format!("{line}\n\n{}{hidden}\n{}", output::table(RULES, shown), output::align(rows.collect()))
    }

    fn rules(&self) -> Vec<Value> {
        let traces = self.explanation.rules.iter().enumerate();
        let views = traces.filter_map(|(index, trace)| {
            let mut view = check::rule(self.config, index)?;
            let (fit, environment) = fit_words(&trace.fit);
            if let Some(fields) = view.as_object_mut() {
                fields.insert("match".to_owned(), fit.into());
                fields.insert("environment".to_owned(), environment.into());
                fields.insert("role".to_owned(), self.role(index, trace).into());
            }
            Some(view)
        });
        views.collect()
    }

    fn role(&self, index: usize, trace: &RuleTrace) -> Option<&'static str> {
        match self.explanation.route {
            Route::By(deciding) if deciding == index => Some("decides"),
            Route::Overruled(first, _) if first == index => Some("is overruled"),
            _ if trace.overrules => Some("overrules"),
            _ => None,
        }
    }

    fn path_json(&self) -> Value {
        match self.explanation.route {
            Route::Ambiguous(Ambiguity { flaw: Flaw::Query, .. }) => {
                json!({"ambiguous": true, "why": flaw_words(Flaw::Query)})
            }
            Route::Ambiguous(Ambiguity { segment, flaw }) => {
                json!({"ambiguous": true, "segment": segment + 1, "text": self.segment(segment), "why": flaw_words(flaw)})
            }
            _ => json!({"ambiguous": false}),
        }
    }

    fn path_words(&self) -> String {
        match self.explanation.route {
            Route::Ambiguous(Ambiguity { flaw: flaw @ (Flaw::NoSlash | Flaw::Query), .. }) => {
                format!("ambiguous: {}", flaw_words(flaw))
            }
            Route::Ambiguous(Ambiguity { segment, flaw }) => {
                format!("ambiguous: segment {}, \"{}\", {}", segment + 1, self.segment(segment), flaw_words(flaw))
            }
            _ if self.path().is_none() => "none".to_owned(),
            _ => "read as the same by every upstream, as far as it decides".to_owned(),
        }
    }

    fn environment_words(&self) -> String {
        let named = self.explanation.named.iter().map(|(place, name)| match name {
            Some(name) => format!("{name} in {}", place_word(place)),
            None => format!("unreadable in {}", place_word(place)),
        });
        let named = named.collect::<Vec<_>>().join(", ");
        output::printable(&match &self.explanation.environment {
            Ok(None) => "none is named".to_owned(),
            Ok(Some(_)) if self.explanation.named.len() == 1 && self.config.policy.environment_prefix.is_empty() => named,
            Ok(Some(id)) => format!("{named}: {id}"),
            Err(Reason::EnvironmentsDisagree) => format!("{named}: they do not agree"),
            Err(_) => format!("{named}: that is no environment's id"),
        })
    }

    fn access_words(&self) -> String {
        let Explanation { writes, may_be_forged, .. } = self.explanation;
        if writes.is_empty() {
            return format!("read, because of the method {}", output::printable(&self.header(b":method")));
        }
        let signs: Vec<String> = writes.iter().map(|sign| output::printable(&self.sign_word(sign))).collect();
        let forged = if *may_be_forged { "; a browser may have been led to send it" } else { "" };
        format!("write, because of {}{forged}", signs.join(", "))
    }

    fn credential_words(&self) -> String {
        let presented: Vec<String> = self.explanation.presented.iter().map(presented_words).collect();
        match (self.key, presented.as_slice()) {
            (None, []) => "none".to_owned(),
            (None, _) => presented.join("; "),
            (Some(key), _) => format!("that of key {}, by --as", key.id),
        }
    }

    fn verdict_rows(&self) -> Vec<Vec<String>> {
        let refused = |reason: &Reason| format!("{} {}: {}", reason.status(), reason.code(), why(*reason));
        let row = |title: &str, text: String| vec![title.to_owned(), text];
        let (rows, upstream) = match self.verdict {
            Verdict::Readiness => {
                let text =
                    "the filter answers itself: 200 if its table is there and not stale, else 503, with or without a credential";
                (vec![row("verdict", text.to_owned())], None)
            }
            Verdict::Public(upstream) => {
                let text = "passes, with or without a credential: its rule is public";
                (vec![row("verdict", text.to_owned())], Some(upstream))
            }
            Verdict::Passes(upstream) => (vec![row("verdict", "passes".to_owned())], Some(upstream)),
            Verdict::Shadowed(reason, upstream) => {
                (vec![row("verdict", format!("passes in shadow; without it, {}", refused(reason)))], Some(upstream))
            }
            Verdict::Refused(reason, needs) => {
                let mut rows = vec![row("verdict", refused(reason)), row("body", reason.body().to_owned())];
                rows.extend(needs.as_ref().map(|needs| row("passes for", needs.clone())));
                (rows, None)
            }
            Verdict::Depends { needs, in_shadow, upstream } => {
                let otherwise = match in_shadow {
                    false => "for any other key 403, for an unknown or expired one 401",
                    true => "in shadow: with any other, it passes without an identity",
                };
                (vec![row("verdict", format!("passes for {needs}")), row("", otherwise.to_owned())], Some(upstream))
            }
        };
        rows.into_iter().chain(upstream.into_iter().flat_map(upstream_rows)).collect()
    }

    fn header(&self, name: &[u8]) -> String {
        let value = self.headers.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
        String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
    }

    /// The path and its query without credentials.
    fn path(&self) -> Option<String> {
        let (_, raw) = self.headers.iter().find(|(name, _)| *name == b":path")?;
        let shown = self.config.policy.carriers.strip_query(raw, false).unwrap_or_else(|| raw.to_vec());
        Some(String::from_utf8_lossy(&shown).into_owned())
    }

    fn segment(&self, index: usize) -> String {
        let raw = self.headers.iter().find(|(name, _)| *name == b":path").map(|(_, raw)| *raw);
        let (path, _) = query::split(raw.unwrap_or_default());
        let segment = path::segments(path).and_then(|mut segments| segments.nth(index));
        segment.unwrap_or(path).escape_ascii().to_string()
    }

    fn sign_word(&self, sign: &WriteSign) -> String {
        match sign {
            WriteSign::Method => format!("the method {}", self.header(b":method")),
            WriteSign::Parameter => "_method in the query".to_owned(),
            WriteSign::Header(name) => format!("the header {name}"),
            WriteSign::Rule => "the rule that decides".to_owned(),
        }
    }
}

fn upstream_rows(upstream: &Upstream) -> Vec<Vec<String>> {
    let set = upstream.set.iter().map(|(name, value)| format!("gets {name}: {value}"));
    let taken_out = upstream.taken_out().into_iter().map(|what| format!("does not get {what}"));
    let all = set.chain(taken_out).enumerate();
    all.map(|(index, text)| vec![if index == 0 { "upstream" } else { "" }.to_owned(), text]).collect()
}

fn fit_words(fit: &Fit) -> (&'static str, Option<&str>) {
    match fit {
        Fit::Exact(environment) => ("exactly", environment.as_deref()),
        Fit::OtherMethod => ("other methods", None),
        Fit::Folded(environment) => ("only folded", environment.as_deref()),
        Fit::None => ("no", None),
    }
}

fn flaw_words(flaw: Flaw) -> String {
    match flaw {
        Flaw::NoSlash => "the path does not begin with /".to_owned(),
        Flaw::Empty => "is empty".to_owned(),
        Flaw::Dots => "is a dot segment".to_owned(),
        Flaw::Byte(byte) => format!("holds {}, which upstreams read in different ways", byte.escape_ascii()),
        Flaw::Climbs => "decodes to something that climbs".to_owned(),
        Flaw::Query => {
            "the query has an escape that is none, which upstreams read in different ways; write %25 for a percent sign"
                .to_owned()
        }
    }
}

fn place_word(place: &NamedIn) -> String {
    match place {
        NamedIn::Path => "path".to_owned(),
        NamedIn::Place(locator) => locator.to_string(),
    }
}

fn presented_words(Presented { carrier, credential }: &Presented) -> String {
    let Some(carrier) = carrier else { return "authorization: of a scheme that is not in use".to_owned() };
    match credential {
        Some(Outline::Key(access)) => format!("{carrier}: a credential of access key {}", access.as_str()),
        Some(Outline::Opaque(len)) => format!("{carrier}: an opaque credential of {len} bytes"),
        None => format!("{carrier}: malformed"),
    }
}

fn presented_json(Presented { carrier, credential }: &Presented) -> Value {
    let (access_key, bytes) = match credential {
        Some(Outline::Key(access)) => (Some(access.as_str()), None),
        Some(Outline::Opaque(len)) => (None, Some(*len)),
        None => (None, None),
    };
    json!({
        "carrier": carrier.as_ref().map(ToString::to_string),
        "accessKey": access_key,
        "bytes": bytes,
        "malformed": credential.is_none(),
    })
}
