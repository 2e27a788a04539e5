//! Where a filter's table comes from: a control plane that pushes it, or the configuration itself. Owns those of the configuration's
//! fields that only one of the two heeds.

use serde::Deserialize;

use crate::config::{InvalidConfig, invalid, require_name};
use crate::embedded::{EmbeddedTable, EntryTexts};
use crate::sync::MAX_CLUSTER_LEN;
use crate::token::JoinToken;

/// One hour: how long an edge may go on with what it last heard.
pub const DEFAULT_STALENESS_LIMIT_SECONDS: u64 = 3600;
const STALENESS_LIMIT_SECONDS: std::ops::RangeInclusive<u64> = 5..=30 * 24 * 3600;
/// One minute: how often a worker tells which keys have passed.
pub const DEFAULT_USAGE_SECONDS: u32 = 60;
const USAGE_SECONDS: std::ops::RangeInclusive<u32> = 1..=24 * 3600;

/// Where a filter's table comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// It is pushed.
    ControlPlane(ControlPlane),
    /// It stands in the configuration.
    Embedded {
        /// The table.
        table: EmbeddedTable,
        /// The control plane's revision that it was exported at, for statistics; 0 if nobody said.
        revision: u64,
    },
}

/// The control plane that pushes a filter's table.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    /// This Envoy's name there; one process each.
    pub proxy: String,
    /// Its Envoy cluster.
    pub cluster: String,
    /// By which this Envoy proves its name there, if not by a client certificate.
    pub token: Option<JoinToken>,
    /// Without a word from it for so long, everything but public rules answers 503.
    pub staleness_limit_seconds: u64,
    /// Each worker tells it no more often than once in so many seconds which keys have passed; `None`: never.
    pub usage_seconds: Option<u32>,
}

/// The fields that say where the table comes from, as they stand in a configuration.
pub(crate) struct SourceText {
    pub(crate) proxy: Option<String>,
    pub(crate) control_plane: Option<ControlPlaneText>,
    pub(crate) staleness_limit_seconds: Option<u64>,
    pub(crate) embedded_table: Option<EntryTexts>,
    pub(crate) embedded_revision: Option<u64>,
}

/// `control_plane` as it stands in a configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ControlPlaneText {
    cluster: String,
    token: Option<String>,
    usage_seconds: Option<u32>,
}

/// Parses: exactly one source, and nothing that only the other one would heed.
///
/// # Errors
/// [`InvalidConfig`] names the field.
pub(crate) fn parse(text: SourceText) -> Result<Source, InvalidConfig> {
    let meaningless = |field: &str, set: bool| match set {
        true => Err(invalid(field, "has no meaning with embedded_table: leave it out")),
        false => Ok(()),
    };
    match (text.control_plane, text.embedded_table) {
        (Some(_), Some(_)) => Err(invalid("embedded_table", "stands beside control_plane: keep exactly one of the two")),
        (None, None) => Err(invalid("control_plane", "is missing: give it, or an embedded_table instead")),
        (None, Some(entries)) => {
            meaningless("proxy", text.proxy.is_some())?;
            meaningless("staleness_limit_seconds", text.staleness_limit_seconds.is_some())?;
            let table =
                EmbeddedTable::parse(entries).map_err(|(place, problem)| invalid(format!("embedded_table{place}"), problem))?;
            Ok(Source::Embedded { table, revision: text.embedded_revision.unwrap_or(0) })
        }
        (Some(control_plane), None) => {
            if text.embedded_revision.is_some() {
                return Err(invalid("embedded_revision", "has no meaning without embedded_table: leave it out"));
            }
            let proxy = text.proxy.ok_or_else(|| invalid("proxy", "is missing: give this Envoy a name"))?;
            require_name("proxy", &proxy)?;
            if !(1..=MAX_CLUSTER_LEN).contains(&control_plane.cluster.len()) {
                return Err(invalid("control_plane.cluster", "must name an Envoy cluster, in at most 100 bytes"));
            }
            let token = control_plane.token.as_deref().map(|text| {
                // What was given instead may be a secret, too: it is not repeated.
                let wrong = "must be a join token as `keygate proxy token create` shows it: kgj_ and 40 letters and digits";
                JoinToken::parse(text).ok_or_else(|| invalid("control_plane.token", wrong))
            });
            let token = token.transpose()?;
            let staleness_limit_seconds = text.staleness_limit_seconds.unwrap_or(DEFAULT_STALENESS_LIMIT_SECONDS);
            if !STALENESS_LIMIT_SECONDS.contains(&staleness_limit_seconds) {
                return Err(invalid("staleness_limit_seconds", "must be 5 to 2592000 (30 days)"));
            }
            let usage_seconds = match control_plane.usage_seconds.unwrap_or(DEFAULT_USAGE_SECONDS) {
                0 => None,
                seconds if USAGE_SECONDS.contains(&seconds) => Some(seconds),
                _ => {
                    return Err(invalid("control_plane.usage_seconds", "must be 1 to 86400 (a day), or 0 for no reports of use"));
                }
            };
            let cluster = control_plane.cluster;
            Ok(Source::ControlPlane(ControlPlane { proxy, cluster, token, staleness_limit_seconds, usage_seconds }))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::FilterConfig;

    fn good() -> Value {
        let rules = [json!({"path": "/**", "target": "account"})];
        json!({"proxy": "edge-1", "control_plane": {"cluster": "keygate"}, "rules": rules})
    }

    fn problem(change: impl FnOnce(&mut Value)) -> String {
        let mut value = good();
        change(&mut value);
        FilterConfig::parse(value.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn use_is_reported_once_a_minute_unless_the_configuration_says_otherwise() {
        let reported = |seconds: Value| {
            let mut config = good();
            config["control_plane"]["usage_seconds"] = seconds;
            match FilterConfig::parse(config.to_string().as_bytes()).map(|config| config.source) {
                Ok(Source::ControlPlane(from)) => Ok(from.usage_seconds),
                Ok(embedded) => panic!("{embedded:?}"),
                Err(error) => Err(error.field),
            }
        };
        for (seconds, every) in [(Value::Null, Some(60)), (json!(0), None), (json!(1), Some(1)), (json!(86_400), Some(86_400))] {
            assert_eq!(reported(seconds), Ok(every));
        }
        assert_eq!(reported(json!(86_401)), Err("control_plane.usage_seconds".to_owned()));
        for wrong in [json!(-1), json!("60"), json!(1.5)] {
            assert!(reported(wrong).is_err());
        }
    }

    #[test]
    fn a_table_comes_from_one_place_and_what_the_other_would_heed_is_refused() {
        let embed = |config: &mut Value| {
            let fields = config.as_object_mut().unwrap();
            for field in ["proxy", "control_plane"] {
                fields.remove(field);
            }
            fields.insert("embedded_table".to_owned(), json!({}));
        };
        let mut config = good();
        embed(&mut config);
        config["embedded_revision"] = json!(7);
        let source = FilterConfig::parse(config.to_string().as_bytes()).unwrap().source;
        assert!(matches!(source, Source::Embedded { revision: 7, .. }));
        let embedded = |field: &str, value: Value| {
            problem(|config| {
                embed(config);
                config[field] = value;
            })
        };
        assert_eq!(embedded("proxy", json!("edge-1")), "proxy: has no meaning with embedded_table: leave it out");
        assert!(embedded("staleness_limit_seconds", json!(60)).starts_with("staleness_limit_seconds: has no meaning"));
        let both = embedded("control_plane", json!({"cluster": "keygate"}));
        assert!(both.contains("embedded_table") && both.contains("control_plane"), "{both}");
        let neither = problem(|config| drop(config.as_object_mut().unwrap().remove("control_plane")));
        assert!(neither.contains("embedded_table") && neither.contains("control_plane"), "{neither}");
        assert!(problem(|config| drop(config.as_object_mut().unwrap().remove("proxy"))).starts_with("proxy: is missing"));
        assert!(problem(|config| config["embedded_revision"] = json!(7)).starts_with("embedded_revision: has no meaning"));
        let digest = "ab".repeat(32);
        assert!(embedded("embedded_table", json!({&digest: "%"})).starts_with(&format!("embedded_table.{digest}: ")));
        let secret = embedded("embedded_table", json!({"0123456789ABCDEF0123:secret": "%"}));
        assert!(secret.starts_with("embedded_table[0]: ") && !secret.contains("secret"), "{secret}");
        assert!(embedded("embedded_table", json!([])).starts_with("embedded_table: "));
    }
}
