//! A rule of the filter's configuration: how it is written, and what of it can be used. How rules go together is the configuration's affair.

use keygate_decision::{Locator, Places, Rule, TargetKind, Template};
use serde::Deserialize;

use crate::config::{InvalidConfig, invalid};

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleText {
    path: String,
    target: TargetName,
    methods: Option<Vec<String>>,
    environment_places: Option<Vec<String>>,
    #[serde(default)]
    access: AccessName,
    #[serde(default)]
    keep_credentials: bool,
    shadow: Option<bool>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TargetName {
    Public,
    Account,
    Admin,
    Environment,
    Own,
    Within,
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

impl RuleText {
    /// Checks the rule of this index, the configuration's own or its preset's; requests may name environments in these places beside the
    /// path.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the first field that cannot be used.
    pub(crate) fn parse(self, index: usize, is_own: bool, locators: &[Locator]) -> Result<Rule, InvalidConfig> {
        let field = |name: &str| format!("rules[{index}].{name}");
        let template = Template::parse(&self.path).map_err(|error| invalid(field("path"), error.to_string()))?;
        let kind = match self.target {
            TargetName::Public => TargetKind::Public,
            TargetName::Account => TargetKind::Account,
            TargetName::Admin => TargetKind::Admin,
            TargetName::Environment => TargetKind::Environment,
            TargetName::Own => TargetKind::Own,
            TargetName::Within => TargetKind::Within,
        };
        match (kind == TargetKind::Environment, template.has_environment()) {
            (true, false) if locators.is_empty() => {
                return Err(invalid(
                    field("path"),
                    "must name {environment}, because the target is environment and environment_places is empty",
                ));
            }
            (false, true) => return Err(invalid(field("target"), "must be environment, because the path names {environment}")),
            _ => {}
        }
        let is_method = |method: &String| !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
        if self.methods.as_ref().is_some_and(|methods| methods.is_empty() || !methods.iter().all(is_method)) {
            return Err(invalid(field("methods"), "must list upper-case methods, or be left out for all"));
        }
        let mut places = self.environment_places.as_ref().map_or(Places::ALL, |_| Places::default());
        let mut are_known = kind == TargetKind::Environment && !template.has_environment();
        for text in self.environment_places.iter().flatten() {
            match Locator::parse(text).ok().and_then(|own| locators.iter().position(|locator| *locator == own)) {
                Some(index) => places = places.with(index),
                None => are_known = false,
            }
        }
        if self.environment_places.is_some() && is_own && (!are_known || places == Places::default()) {
            let why = "must be some of those of all rules, where the target is environment and the path names none";
            return Err(invalid(field("environment_places"), why));
        }
        Ok(Rule {
            template,
            methods: self.methods,
            kind,
            places,
            always_write: self.access == AccessName::Write,
            keep_credentials: self.keep_credentials,
            shadow: self.shadow,
        })
    }
}
