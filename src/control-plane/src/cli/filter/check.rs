//! `keygate filter check`: what a configuration comes to, and what in it may not be meant. A configuration that cannot be used never gets
//! here.

use keygate_decision::request::Header;
use keygate_decision::{Carrier, IdentityHeader, Places, ReadinessPath, UnixSeconds, explain::Route};
use keygate_wire::{FilterConfig, Source};
use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::output::{self, Column, OutputFormat, View};

const CONFIGURATION: View = &[
    Column::new("PROXY", "proxy"),
    Column::new("TABLE", "table"),
    Column::new("CONTROL PLANE'S CLUSTER", "controlPlaneCluster"),
    Column::new("JOIN TOKEN", "token"),
    Column::new("STALENESS LIMIT (S)", "stalenessLimitSeconds"),
    Column::time("USAGE REPORT (S)", "usageSeconds"),
    Column::new("EMBEDDED KEYS", "embeddedKeys"),
    Column::new("OF THEM EXPIRED", "embeddedExpired"),
    Column::new("EXPORTED AT REVISION", "embeddedRevision"),
    Column::new("READINESS PATH", "readinessPath"),
    Column::new("PRESET", "preset"),
    Column::new("ENVIRONMENT PREFIX", "environmentPrefix"),
    Column::new("ENVIRONMENT HEADER", "environmentHeader"),
    Column::new("IDENTITY HEADERS", "identityHeaders"),
    Column::new("CARRIERS", "carriers"),
    Column::new("STRIPPED AS WELL", "strip"),
    Column::new("ENVIRONMENT PLACES", "environmentPlaces"),
    Column::new("SHADOW", "shadow"),
];

const RULES: View = &[
    Column::new("#", "index"),
    Column::new("FROM", "from"),
    Column::or("METHODS", "methods", "all"),
    Column::new("PATH", "path"),
    Column::new("TARGET", "target"),
    Column::new("ACCESS", "access"),
    Column::new("CREDENTIALS KEPT", "keepCredentials"),
    Column::new("SHADOW", "shadow"),
    Column::new("ENVIRONMENT IN", "environmentPlaces"),
];

/// The methods that Envoy takes over HTTP/1.
const METHODS: &str = "ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY OPTIONS \
                       PATCH POST PROPFIND PROPPATCH PURGE PUT REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK \
                       UNSUBSCRIBE";

/// Shows a configuration.
pub(super) fn run(config: &FilterConfig, now: UnixSeconds, output: OutputFormat) -> Result<(), Failure> {
    let report = report(config, now);
    Ok(output::print_report(&report, || text(&report), output)?)
}

/// The configuration with all that it leaves to defaults and to its preset.
pub(super) fn report(config: &FilterConfig, now: UnixSeconds) -> Value {
    let policy = &config.policy;
    let mut report = json!({
        "table": config.table,
        "readinessPath": config.readiness.as_ref().map(ReadinessPath::as_str),
        "preset": config.preset,
        "environmentPrefix": Some(&policy.environment_prefix).filter(|prefix| !prefix.is_empty()),
        "environmentHeader": policy.environment_header,
        "identityHeaders": words(&policy.identity_headers),
        "carriers": words(&policy.carriers.used),
        "strip": words(&policy.carriers.stripped),
        "environmentPlaces": words(&policy.locators),
        "shadow": policy.shadow,
        "rules": (0..policy.rules.len()).filter_map(|index| rule(config, index)).collect::<Vec<_>>(),
        "warnings": warnings(config),
    });
    if let (Some(report), Value::Object(source)) = (report.as_object_mut(), source(config, now)) {
        report.extend(source);
    }
    report
}

/// What only the one or the other source of the table has.
fn source(config: &FilterConfig, now: UnixSeconds) -> Value {
    match &config.source {
        Source::ControlPlane(from) => json!({
            "proxy": from.proxy,
            "controlPlaneCluster": from.cluster,
            // Whether there is one; which one is nobody's business.
            "token": from.token.is_some(),
            "stalenessLimitSeconds": from.staleness_limit_seconds,
            "usageSeconds": from.usage_seconds,
        }),
        Source::Embedded { table, revision } => json!({
            "embeddedKeys": table.len(),
            "embeddedExpired": table.expired(now),
            "embeddedRevision": revision,
        }),
    }
}

/// One rule, by its index.
pub(super) fn rule(config: &FilterConfig, index: usize) -> Option<Value> {
    let rule = config.policy.rules.get(index)?;
    let named = |index: usize| rule.places.meet(Places::default().with(index));
    let places = config.policy.locators.iter().enumerate().filter(|(index, _)| named(*index));
    let places: Vec<String> = places.map(|(_, place)| place.to_string()).collect();
    Some(json!({
        "index": index,
        "from": if index < config.own_rules { "own" } else { "preset" },
        "methods": rule.methods,
        "path": rule.template.to_string(),
        "target": rule.kind.as_str(),
        "access": if rule.always_write { "write" } else { "method" },
        "keepCredentials": rule.keep_credentials,
        "shadow": config.policy.shadows(rule),
        "environmentPlaces": Some(places).filter(|_| rule.places != Places::ALL),
    }))
}

pub(super) fn text(report: &Value) -> String {
    let list = |field: &str| report.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let warnings = list("warnings").iter().filter_map(Value::as_str);
    let warnings: String = warnings.map(|warning| format!("warning: {warning}\n")).collect();
    let gap = if warnings.is_empty() { "" } else { "\n" };
    format!("{}\n{}{gap}{warnings}", output::fields(CONFIGURATION, report), output::table(RULES, list("rules")))
}

fn words<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// What can be used, but may not be meant.
fn warnings(config: &FilterConfig) -> Vec<String> {
    let policy = &config.policy;
    let mut warnings = Vec::new();
    if policy.shadow {
        warnings.push(
            "shadow is on: what would be refused with 401 or 403 passes all the same, except where a rule says otherwise and in \
             administration"
                .to_owned(),
        );
    }
    for (index, rule) in policy.rules.iter().enumerate() {
        if rule.shadow == Some(true) {
            warnings.push(format!("rules[{index}].shadow: what would be refused with 401 or 403 passes all the same"));
        }
        if let Some(earlier) = policy.rules.iter().take(index).position(|earlier| earlier.hides(rule)) {
            warnings.push(format!("rules[{index}].path: never decides, because rules[{earlier}] takes all that it matches"));
        }
        let is_known = |method: &&String| METHODS.split(' ').any(|known| known == *method);
        for method in rule.methods.iter().flatten().filter(|method| !is_known(method)) {
            warnings.push(format!(
                "rules[{index}].methods: {method} is no method that Envoy takes over HTTP/1; leave methods out for all of them"
            ));
        }
        if rule.template.to_string() == "/**" {
            let target = rule.kind.as_str();
            warnings.push(format!("rules[{index}].path: takes every path that no rule before it knows, for {target}"));
        }
    }
    for carrier in policy.carriers.used.iter().filter(|carrier| matches!(carrier, Carrier::Query(_))) {
        warnings.push(format!("carriers: {carrier} puts credentials into URLs, and so into logs and histories"));
    }
    if !policy.identity_headers.contains(&IdentityHeader::Key) {
        let key = IdentityHeader::Key;
        warnings.push(format!(
            "identity_headers: without {key} an access log such as envoy/edge.yaml's does not say whose key passed"
        ));
    }
    if let Source::Embedded { table, .. } = &config.source
        && table.is_empty()
    {
        warnings.push("embedded_table: holds no key, so nothing passes but what a public rule lets through".to_owned());
    }
    warnings.extend(hidden_by_readiness(config));
    warnings
}

/// A rule for the very path at which the filter answers itself.
fn hidden_by_readiness(config: &FilterConfig) -> Option<String> {
    let path = config.readiness.as_ref()?.as_str();
    let request: [Header<'_>; 2] = [(b":method", b"GET"), (b":path", path.as_bytes())];
    let Route::By(index) = config.policy.explain(&request).route else { return None };
    Some(format!("readiness_path: GET and HEAD of {path} no longer reach what rules[{index}] lets through"))
}
