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
    strip.extend(preset.strip.unwrap_or_default());
    strip.extend(honoured);
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
mod tests;
