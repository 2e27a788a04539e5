//! The filter's configuration: JSON in the plugin's `configuration`. Owns its spelling, its defaults and its limits. Unknown fields
//! are refused, because a misspelt rule that is silently ignored is a hole.

use std::fmt;

use keygate_decision::{Carriers, EnvironmentId, Policy, Rule, TargetKind, Template};
use serde::Deserialize;

use crate::sync::MAX_CLUSTER_LEN;

/// A configuration that may be used.
#[derive(Clone, Debug)]
pub struct FilterConfig {
    /// This Envoy's name at the control plane; one process each.
    pub proxy: String,
    /// Which table; filters with the same table and `vm_id` share it.
    pub table: String,
    /// The Envoy cluster of the control plane.
    pub control_plane_cluster: String,
    /// Without a word from the control plane for so long, everything but public rules answers 503.
    pub staleness_limit_seconds: u64,
    /// The rules.
    pub policy: Policy,
}

/// The configuration cannot be used: where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig {
    /// The path of the field, such as `rules[2].path`; empty if it is the document itself.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.problem),
            field => write!(f, "{field}: {}", self.problem),
        }
    }
}

impl std::error::Error for InvalidConfig {}

/// One hour: how long an edge may go on with what it last heard.
pub const DEFAULT_STALENESS_LIMIT_SECONDS: u64 = 3600;
const STALENESS_LIMIT_SECONDS: std::ops::RangeInclusive<u64> = 5..=30 * 24 * 3600;
const MAX_RULES: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    proxy: String,
    #[serde(default = "default_table")]
    table: String,
    control_plane: ControlPlane,
    #[serde(default = "default_staleness_limit")]
    staleness_limit_seconds: u64,
    #[serde(default)]
    environment_prefix: String,
    #[serde(default = "default_carriers")]
    carriers: Vec<CarrierName>,
    rules: Vec<RuleText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ControlPlane {
    cluster: String,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
enum CarrierName {
    #[serde(rename = "basic")]
    Basic,
    #[serde(rename = "bearer")]
    Bearer,
    #[serde(rename = "x-api-key")]
    ApiKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    path: String,
    target: TargetName,
    methods: Option<Vec<String>>,
    #[serde(default)]
    access: AccessName,
    #[serde(default)]
    keep_credentials: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TargetName {
    Public,
    Account,
    Admin,
    Environment,
    Own,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum AccessName {
    /// Read or write by the request's method.
    #[default]
    Method,
    /// Always write.
    Write,
}

fn default_table() -> String {
    "default".to_owned()
}

fn default_staleness_limit() -> u64 {
    DEFAULT_STALENESS_LIMIT_SECONDS
}

fn default_carriers() -> Vec<CarrierName> {
    vec![CarrierName::Basic, CarrierName::Bearer, CarrierName::ApiKey]
}

impl FilterConfig {
    /// Parses a configuration.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the first field that cannot be used.
    pub fn parse(json: &[u8]) -> Result<Self, InvalidConfig> {
        let document: Document = serde_json::from_slice(json)
            .map_err(|error| invalid("", format!("the configuration is not usable JSON: {error}")))?;
        require_name("proxy", &document.proxy)?;
        require_name("table", &document.table)?;
        if !(1..=MAX_CLUSTER_LEN).contains(&document.control_plane.cluster.len()) {
            return Err(invalid("control_plane.cluster", "must name an Envoy cluster, in at most 100 bytes"));
        }
        if !STALENESS_LIMIT_SECONDS.contains(&document.staleness_limit_seconds) {
            return Err(invalid("staleness_limit_seconds", "must be 5 to 2592000 (30 days)"));
        }
        let prefix = document.environment_prefix;
        if !prefix.is_empty() && EnvironmentId::parse(&prefix).is_err() {
            return Err(invalid("environment_prefix", "may hold only A-Z a-z 0-9 . _ : -, at most 64, and not dots alone"));
        }
        if document.carriers.is_empty() {
            return Err(invalid("carriers", "must list at least one of basic, bearer, x-api-key"));
        }
        if document.rules.is_empty() || document.rules.len() > MAX_RULES {
            return Err(invalid("rules", "must hold 1 to 1000 rules; without one nothing passes"));
        }
        let rules = document.rules.into_iter().enumerate().map(|(index, text)| parse_rule(index, text));
        let carriers = Carriers {
            basic: document.carriers.contains(&CarrierName::Basic),
            bearer: document.carriers.contains(&CarrierName::Bearer),
            api_key: document.carriers.contains(&CarrierName::ApiKey),
        };
        Ok(Self {
            proxy: document.proxy,
            table: document.table,
            control_plane_cluster: document.control_plane.cluster,
            staleness_limit_seconds: document.staleness_limit_seconds,
            policy: Policy { carriers, environment_prefix: prefix, rules: rules.collect::<Result<_, _>>()? },
        })
    }
}

fn parse_rule(index: usize, text: RuleText) -> Result<Rule, InvalidConfig> {
    let field = |name: &str| format!("rules[{index}].{name}");
    let template = Template::parse(&text.path).map_err(|error| invalid(field("path"), error.to_string()))?;
    let kind = match text.target {
        TargetName::Public => TargetKind::Public,
        TargetName::Account => TargetKind::Account,
        TargetName::Admin => TargetKind::Admin,
        TargetName::Environment => TargetKind::Environment,
        TargetName::Own => TargetKind::Own,
    };
    match (kind == TargetKind::Environment, template.has_environment()) {
        (true, false) => return Err(invalid(field("path"), "must name {environment}, because the target is environment")),
        (false, true) => return Err(invalid(field("target"), "must be environment, because the path names {environment}")),
        _ => {}
    }
    let is_method = |method: &String| !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
    if text.methods.as_ref().is_some_and(|methods| methods.is_empty() || !methods.iter().all(is_method)) {
        return Err(invalid(field("methods"), "must list upper-case methods, or be left out for all"));
    }
    Ok(Rule {
        template,
        methods: text.methods,
        kind,
        always_write: text.access == AccessName::Write,
        keep_credentials: text.keep_credentials,
    })
}

/// Names travel in logs, metrics and shared-data names.
fn require_name(field: &str, name: &str) -> Result<(), InvalidConfig> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(invalid(field, "must be 1 to 64 characters of A-Z a-z 0-9 . _ -"))
    }
}

fn invalid(field: impl Into<String>, problem: impl Into<String>) -> InvalidConfig {
    InvalidConfig { field: field.into(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn good() -> Value {
        json!({
            "proxy": "edge-1",
            "control_plane": {"cluster": "keygate"},
            "rules": [
                {"path": "/healthz", "target": "public"},
                {"path": "/v1/projects/{environment}/**", "target": "environment"},
            ],
        })
    }

    fn problem(change: impl FnOnce(&mut Value)) -> String {
        let mut value = good();
        change(&mut value);
        FilterConfig::parse(value.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_small_configuration_gets_its_defaults() {
        let config = FilterConfig::parse(good().to_string().as_bytes()).unwrap();
        assert_eq!(config.table, "default");
        assert_eq!(config.staleness_limit_seconds, 3600);
        assert_eq!(config.policy.rules.len(), 2);
        assert!(config.policy.carriers.basic && config.policy.carriers.bearer && config.policy.carriers.api_key);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(problem(|c| c["rules"][1]["path"] = json!("projects")).starts_with("rules[1].path: must begin with /"));
        assert!(problem(|c| c["rules"][1]["target"] = json!("account")).starts_with("rules[1].target: must be environment"));
        assert!(problem(|c| c["rules"][0]["target"] = json!("environment")).starts_with("rules[0].path: must name"));
        assert!(problem(|c| c["rules"][0]["methods"] = json!(["get"])).starts_with("rules[0].methods"));
        assert!(problem(|c| c["rules"] = json!([])).starts_with("rules"));
        assert!(problem(|c| c["proxy"] = json!("a b")).starts_with("proxy"));
        assert!(problem(|c| c["staleness_limit_seconds"] = json!(0)).starts_with("staleness_limit_seconds"));
        assert!(problem(|c| c["rulez"] = json!([])).contains("unknown field `rulez`"));
        assert!(problem(|c| c["rules"][0]["publik"] = json!(true)).contains("unknown field `publik`"));
        assert!(problem(|c| c["rules"][0]["target"] = json!("everyone")).contains("unknown variant `everyone`"));
        assert!(FilterConfig::parse(b"").is_err());
        assert!(FilterConfig::parse(&[0xFF]).is_err());
    }
}
