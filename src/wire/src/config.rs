//! The filter's configuration: JSON in the plugin's `configuration`. Owns its spelling, its defaults and its limits. Unknown fields
//! are refused, because a misspelt rule that is silently ignored is a hole.

use std::fmt;

use keygate_decision::{
    Carrier, Carriers, EnvironmentId, IdentityHeader, Locator, Places, Policy, ReadinessPath, Rule, TargetKind,
};
use serde::Deserialize;

use crate::embedded::EntryTexts;
use crate::json::{self, Object};
use crate::preset;
use crate::rule::RuleText;
use crate::source::{self, ControlPlaneText, Source, SourceText};
use crate::token;

/// A configuration that may be used.
#[derive(Clone, Debug)]
pub struct FilterConfig {
    /// Which table; filters with the same table and `vm_id` share it, unless it is embedded. It also names the statistics.
    pub table: String,
    /// Where the table comes from.
    pub source: Source,
    /// Where the filter says itself whether it is ready.
    pub readiness: Option<ReadinessPath>,
    /// The preset that it builds on.
    pub preset: Option<String>,
    /// How many of the policy's rules are its own; the preset's come behind them.
    pub own_rules: usize,
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

const MAX_RULES: usize = 1000;
const DEFAULT_CARRIERS: [&str; 3] = ["basic", "bearer", "header:x-api-key"];

/// A preset is one, too: taken where the configuration itself says nothing. Its lists of what its upstream honours are added to the
/// configuration's, its rules stand behind those.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    proxy: Option<String>,
    #[serde(default = "default_table")]
    table: String,
    control_plane: Option<Object<ControlPlaneText>>,
    staleness_limit_seconds: Option<u64>,
    embedded_table: Option<EntryTexts>,
    embedded_revision: Option<u64>,
    readiness_path: Option<String>,
    #[serde(default)]
    environment_prefix: String,
    environment_header: Option<String>,
    identity_headers: Option<Vec<String>>,
    #[serde(default)]
    shadow: bool,
    preset: Option<String>,
    carriers: Option<Vec<String>>,
    strip: Option<Vec<String>>,
    environment_places: Option<Vec<String>>,
    #[serde(default)]
    rules: Vec<Object<RuleText>>,
}

fn default_table() -> String {
    "default".to_owned()
}

impl FilterConfig {
    /// Parses a configuration.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the first field that cannot be used.
    pub fn parse(json: &[u8]) -> Result<Self, InvalidConfig> {
        let mut document = Document::read(json)?;
        require_name("table", &document.table)?;
        let readiness = document.readiness_path.as_deref().map(ReadinessPath::parse).transpose();
        Ok(Self {
            source: source::parse(SourceText {
                proxy: document.proxy.take(),
                control_plane: document.control_plane.take().map(|text| text.0),
                staleness_limit_seconds: document.staleness_limit_seconds,
                embedded_table: document.embedded_table.take(),
                embedded_revision: document.embedded_revision,
            })?,
            readiness: readiness.map_err(|error| invalid("readiness_path", error.to_string()))?,
            table: document.table.clone(),
            preset: document.preset.clone(),
            own_rules: document.rules.len(),
            policy: parse_policy(document)?,
        })
    }
}

impl Document {
    fn read(json: &[u8]) -> Result<Self, InvalidConfig> {
        let mut json = serde_json::Deserializer::from_slice(json);
        let Object(document) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let field = error.path().to_string();
            let field = if field == "." { "" } else { field.as_str() };
            invalid(field, format!("the configuration is not usable JSON: {}", error.inner()))
        })?;
        // What stands behind it was meant, too.
        json.end().map_err(|error| invalid("", format!("the configuration is not usable JSON: {error}")))?;
        Ok(document)
    }

    fn of_preset(name: &str) -> Result<Self, InvalidConfig> {
        let text = preset::find(name)
            .ok_or_else(|| invalid("preset", format!("there is no preset {name:?}, only {}", preset::NAMES.join(", "))))?;
        Self::read(text.as_bytes()).map_err(|error| invalid("preset", format!("{name} is broken: {error}")))
    }
}

fn parse_policy(document: Document) -> Result<Policy, InvalidConfig> {
    let prefix = document.environment_prefix;
    if !prefix.is_empty() && EnvironmentId::parse(&prefix).is_err() {
        return Err(invalid("environment_prefix", "may hold only A-Z a-z 0-9 . _ : -, at most 64, and not dots alone"));
    }
    let preset = document.preset.as_deref().map(Document::of_preset).transpose()?.unwrap_or_default();
    let mut honoured = preset.carriers.unwrap_or_default();
    if honoured.is_empty() && document.carriers.is_none() {
        honoured.extend(DEFAULT_CARRIERS.map(str::to_owned));
    }
    let used = parse_list("carriers", document.carriers.as_ref().unwrap_or(&honoured), Carrier::parse)?;
    refuse_repeats("carriers", used.len(), &|one, other| used.get(one) == used.get(other))?;
    if used.is_empty() {
        return Err(invalid("carriers", "must list at least one, such as basic, bearer or header:x-api-key"));
    }
    // Whatever a configuration lists, its preset's upstream honours all that the preset does.
    let mut strip = document.strip.unwrap_or_default();
    for mut more in [preset.strip.unwrap_or_default(), honoured] {
        strip.append(&mut more);
    }
    let mut stripped = parse_list("strip", &strip, Carrier::parse_stripped)?;
    stripped.retain(|carrier| !used.contains(carrier));
    let (mut places, mut more) = (document.environment_places.unwrap_or_default(), preset.environment_places.unwrap_or_default());
    more.retain(|place| !places.contains(place));
    places.append(&mut more);
    let mut locators = parse_list("environment_places", &places, Locator::parse)?;
    // Who may say by whom a token comes may say where it is for: that must never be overlooked.
    for carrier in &used {
        if let Carrier::BasicToken(user) = carrier {
            let place = Locator::Basic(user.clone());
            if !locators.contains(&place) {
                locators.push(place);
            }
        }
    }
    if locators.len() > Places::MOST {
        return Err(invalid("environment_places", "must hold at most 32, the preset's among them"));
    }
    let environment_header = document.environment_header.or(preset.environment_header).map(|name| name.to_ascii_lowercase());
    if let Some(name) = &environment_header
        && !locators.iter().any(|locator| matches!(locator, Locator::Header(place) if place == name))
    {
        let why =
            format!("must stand in environment_places, too, as header:{name}, or a client could name another environment there");
        return Err(invalid("environment_header", why));
    }
    let identity_headers = parse_identity_headers(document.identity_headers.or(preset.identity_headers))?;
    let mut texts = document.rules;
    let own_rules = texts.len();
    texts.extend(preset.rules);
    if texts.is_empty() || texts.len() > MAX_RULES {
        return Err(invalid("rules", "must hold 1 to 1000 rules; without one nothing passes"));
    }
    let rules = texts.into_iter().enumerate().map(|(index, text)| text.0.parse(index, index < own_rules, &locators));
    let rules: Vec<Rule> = rules.collect::<Result<_, _>>()?;
    let tells_environment = environment_header.is_some() || identity_headers.contains(&IdentityHeader::Environment);
    if !tells_environment && rules.iter().any(|rule| matches!(rule.kind, TargetKind::Own | TargetKind::Within)) {
        let why = "must list x-keygate-environment: where a rule's target is own or within, the upstream itself keeps to the key's environment";
        return Err(invalid("identity_headers", why));
    }
    let policy = Policy {
        carriers: Carriers { used, stripped },
        environment_prefix: prefix,
        environment_header,
        identity_headers,
        rules,
        locators,
        json: json::field,
        shadow: document.shadow,
    };
    if let Some((dead, stricter)) = policy.first_dead() {
        let why =
            format!("can never decide: rules[{stricter}] asks for more and claims the same paths, in this or another spelling");
        return Err(invalid(format!("rules[{dead}].path"), why));
    }
    match policy.first_bypass() {
        Some((weaker, environment)) => Err(invalid(
            format!("rules[{weaker}].path"),
            format!(
                "would decide paths of environments that rules[{environment}] is for: put it behind that rule, or name the segment where the environment stands"
            ),
        )),
        None => Ok(policy),
    }
}

fn parse_identity_headers(names: Option<Vec<String>>) -> Result<Vec<IdentityHeader>, InvalidConfig> {
    let Some(names) = names else { return Ok(IdentityHeader::ALL.to_vec()) };
    let headers = parse_list("identity_headers", &names, IdentityHeader::parse)?;
    refuse_repeats("identity_headers", headers.len(), &|one, other| headers.get(one) == headers.get(other))?;
    Ok(headers)
}

/// Not generic, so that the module holds it once.
fn refuse_repeats(field: &str, len: usize, is_same: &dyn Fn(usize, usize) -> bool) -> Result<(), InvalidConfig> {
    match (0..len).find(|index| (0..*index).any(|earlier| is_same(earlier, *index))) {
        Some(index) => Err(invalid(format!("{field}[{index}]"), "stands there twice")),
        None => Ok(()),
    }
}

fn parse_list<T, E: fmt::Display>(
    field: &str,
    texts: &[String],
    parse: fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, InvalidConfig> {
    let mut parsed = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        parsed.push(parse(text).map_err(|error| unfit(field, index, text, &error))?);
    }
    Ok(parsed)
}

/// Not generic, so that the module holds it once.
fn unfit(field: &str, index: usize, text: &str, why: &dyn fmt::Display) -> InvalidConfig {
    invalid(format!("{field}[{index}]"), format!("{text:?} will not do: {why}"))
}

/// Checks a name, see [`is_name`].
pub(crate) fn require_name(field: &str, name: &str) -> Result<(), InvalidConfig> {
    if is_name(name) { Ok(()) } else { Err(invalid(field, "must be 1 to 64 characters of A-Z a-z 0-9 . _ -")) }
}

/// Whether a proxy or a table may have this name: 1 to 64 characters of `A-Za-z0-9._-`. Names travel in logs, metrics and shared-data
/// names.
pub fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

/// The error about a field. What it quotes may be a secret that stands in the wrong place.
pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> InvalidConfig {
    InvalidConfig { field: token::redact(&field.into()), problem: token::redact(&problem.into()) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::JoinToken;

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
        assert!(matches!(config.source, Source::ControlPlane(from) if from.staleness_limit_seconds == 3600));
        assert_eq!(config.readiness, None);
        assert_eq!(config.policy.rules.len(), 2);
        assert_eq!(config.policy.carriers.used.len(), 3);
    }

    #[test]
    fn what_a_preset_s_upstream_honours_is_never_forgotten_for_what_is_listed_besides() {
        let with = |preset: &str, more: serde_json::Value| {
            let mut config = json!({"proxy": "a", "control_plane": {"cluster": "b"}, "preset": preset});
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            FilterConfig::parse(config.to_string().as_bytes()).unwrap().policy
        };
        let rancher = with("rancher-2", json!({"strip": ["cookie:legacy"], "environment_places": ["header:x-tenant"]}));
        for header in ["impersonate-user", "x-api-cluster-id"] {
            assert!(rancher.carriers.strips_header(header.as_bytes(), false), "{header}");
        }
        assert_eq!(rancher.carriers.strip_query(b"/a?token=x", false).as_deref(), Some(b"/a".as_slice()));
        assert_eq!(rancher.carriers.strip_cookie(b"legacy=x", false).as_deref(), Some(b"".as_slice()));
        let places = |policy: &Policy| policy.locators.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(places(&rancher)[0], "header:x-tenant");
        assert_eq!(places(&rancher)[1..], places(&with("rancher-2", json!({}))));

        // As programs write what nobody has set.
        let unset = with("rancher-2", json!({"strip": null, "environment_places": null, "carriers": null}));
        assert_eq!(unset.locators, with("rancher-2", json!({})).locators);

        let portainer = with("portainer", json!({"carriers": ["header:x-api-key"]}));
        assert_eq!(portainer.carriers.used, [Carrier::Header("x-api-key".to_owned())], "nothing else counts");
        assert_eq!(portainer.carriers.strip_cookie(b"portainer_api_key=x", false).as_deref(), Some(b"".as_slice()));
        assert_eq!(portainer.carriers.strip_query(b"/a?x-api-key=x", false).as_deref(), Some(b"/a".as_slice()));
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
        assert!(problem(|c| c["proxy"] = json!(5)).starts_with("proxy: "));
        assert!(problem(|c| c["control_plane"] = json!("keygate")).starts_with("control_plane: "));
        assert!(problem(|c| c["rules"][1]["target"] = json!(1)).starts_with("rules[1].target: "));
        assert!(problem(|c| c["rulez"] = json!([])).contains("unknown field `rulez`"));
        assert!(problem(|c| c["rules"][0]["publik"] = json!(true)).contains("unknown field `publik`"));
        assert!(problem(|c| c["rules"][0]["target"] = json!("everyone")).contains("unknown variant `everyone`"));
        assert!(problem(|c| c["carriers"] = json!(["basic", "cookies"])).starts_with("carriers[1]: \"cookies\""));
        assert!(problem(|c| c["carriers"] = json!(["header:x-*"])).starts_with("carriers[0]: \"header:x-*\""));
        assert!(problem(|c| c["strip"] = json!(["x"])).starts_with("strip[0]"));
        assert!(problem(|c| c["strip"] = json!(["header:*"])).starts_with("strip[0]"));
        assert!(problem(|c| c["environment_header"] = json!("x-project")).starts_with("environment_header: must stand in"));
        assert!(problem(|c| c["environment_places"] = json!(["path"])).starts_with("environment_places[0]"));
        let many: Vec<String> = (0..33).map(|number| format!("query:a{number}")).collect();
        assert!(problem(|c| c["environment_places"] = json!(many)).starts_with("environment_places: must hold at most 32"));
        let elsewhere = problem(|c| c["rules"][0]["environment_places"] = json!(["query:nowhere"]));
        assert!(elsewhere.starts_with("rules[0].environment_places: must be some of those of all rules"), "{elsewhere}");
        for list in [json!([]), json!(["query:nowhere"]), json!(["query:project", "query:nowhere"])] {
            let found = json!({"proxy": "a", "control_plane": {"cluster": "b"}, "environment_places": ["query:project"],
                "rules": [{"path": "/jobs", "target": "environment", "environment_places": list}]});
            assert!(FilterConfig::parse(found.to_string().as_bytes()).is_err(), "{found}");
        }
        let spelled = json!({"proxy": "a", "control_plane": {"cluster": "b"},
            "environment_places": ["query:project", "query:Project", "header:X-Project"],
            "rules": [{"path": "/jobs", "target": "environment", "environment_places": ["query:Project", "header:x-project"]}]});
        let rule = &FilterConfig::parse(spelled.to_string().as_bytes()).unwrap().policy.rules[0];
        assert_eq!(rule.places, Places::default().with(1).with(2), "as places are spelled");
        assert_eq!(
            problem(|c| c["carriers"] = json!(["header:X-Key", "basic", "header:x-key"])),
            "carriers[2]: stands there twice"
        );
        let unknown = problem(|c| c["identity_headers"] = json!(["x-keygate-key", "x-user"]));
        assert!(unknown.starts_with("identity_headers[1]: \"x-user\" will not do: must be x-keygate-key, x-"), "{unknown}");
        assert_eq!(
            problem(|c| c["identity_headers"] = json!(["x-keygate-key", "X-Keygate-Key"])),
            "identity_headers[1]: stands there twice"
        );
        assert!(problem(|c| c["readiness_path"] = json!("/a/*")).starts_with("readiness_path: must be one plain path"));
        assert!(problem(|c| c["environment_places"] = json!(["query:a:b"])).starts_with("environment_places[0]"));
        assert!(problem(|c| c["preset"] = json!("nomad")).starts_with("preset: there is no preset"));
        assert!(FilterConfig::parse(b"").is_err());
        let twice = format!("{}{}", good(), good());
        assert!(FilterConfig::parse(twice.as_bytes()).unwrap_err().problem.contains("trailing characters"));
        assert!(FilterConfig::parse(&[0xFF]).is_err());
    }

    #[test]
    fn the_upstream_is_told_as_much_as_is_wanted_and_needed() {
        let told = |change: fn(&mut Value)| {
            let mut value = good();
            change(&mut value);
            FilterConfig::parse(value.to_string().as_bytes()).map(|config| config.policy.identity_headers)
        };
        assert_eq!(told(|_| ()), Ok(IdentityHeader::ALL.to_vec()));
        assert_eq!(told(|c| c["identity_headers"] = json!([])), Ok(vec![]));
        assert_eq!(told(|c| c["identity_headers"] = json!(["X-Keygate-Account"])), Ok(vec![IdentityHeader::Account]));
        // An upstream that keeps to an environment must be told it.
        let own = |c: &mut Value| {
            c["rules"][0] = json!({"path": "/own", "target": "own"});
            c["identity_headers"] = json!(["x-keygate-key"]);
        };
        assert_eq!(told(own).map_err(|error| error.field), Err("identity_headers".to_owned()));
        let preset = FilterConfig::parse(
            json!({
                "proxy": "edge-1",
                "control_plane": {"cluster": "keygate"},
                "preset": "rancher-1.6",
                "identity_headers": [],
            })
            .to_string()
            .as_bytes(),
        );
        assert!(preset.is_ok(), "{preset:?}, and X-API-Project-Id tells it");
    }

    #[test]
    fn a_token_is_taken_by_its_form_and_never_repeated() {
        let token = format!("kgj_{}", "aB3".repeat(13) + "z");
        let mut value = good();
        value["control_plane"]["token"] = json!(token);
        let config = FilterConfig::parse(value.to_string().as_bytes()).unwrap();
        let Source::ControlPlane(from) = &config.source else { panic!("{config:?}") };
        assert_eq!(from.token.as_ref().map(JoinToken::expose), Some(token.as_str()));
        assert!(!format!("{config:?}").contains(&token));
        let short = token[..40].to_owned();
        assert!(problem(|c| c["control_plane"]["token"] = json!(short)).starts_with("control_plane.token: must be a join token"));
        for problem in [
            problem(|c| c["control_plane"]["token"] = json!(short)),
            problem(|c| c["control_plane"] = json!(token)),
            problem(|c| c["control_plane"]["token"] = json!([token])),
            problem(|c| c["staleness_limit_seconds"] = json!(token)),
            problem(|c| c["carriers"] = json!([token])),
            problem(|c| c["preset"] = json!(token)),
        ] {
            assert!(!problem.contains(&short) && !problem.contains("aB3"), "{problem}");
        }
    }

    #[test]
    fn a_rule_that_would_take_environments_paths_for_itself_is_refused() {
        let before = |path: &str, target: &str| {
            let mut config = good();
            config["rules"].as_array_mut().unwrap().insert(0, json!({"path": path, "target": target}));
            FilterConfig::parse(config.to_string().as_bytes()).map(|_| ()).map_err(|error| error.field)
        };
        for path in ["/**", "/v1/**", "/v1/projects/**", "/v1/projects/*", "/*/*/*", "/v1/*/**", "/v1/projects/*/x/**"] {
            assert_eq!(before(path, "account"), Err("rules[0].path".to_owned()), "{path}");
            assert_eq!(before(path, "public"), Err("rules[0].path".to_owned()), "{path}");
        }
        for path in ["/v1/projects", "/v1/*", "/v2/**", "/v1/projects/config", "/v1/projects/config/**", "/v1/accounts/*"] {
            assert_eq!(before(path, "account"), Ok(()), "{path}");
        }
        assert_eq!(before("/v1/**", "admin"), Ok(()));
    }

    #[test]
    fn a_rule_that_can_never_decide_is_refused() {
        let mut config = good();
        config["rules"] = json!([{"path": "/v1/secret/**", "target": "admin"}, {"path": "/v1/secrets/**", "target": "account"}]);
        let error = FilterConfig::parse(config.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.field, "rules[1].path");
    }
}
