//! How things look: absolute links and action URLs, times, identifiers. It decides nothing.

use keygate_decision::UnixSeconds;
use serde_json::{Map, Value, json};

use super::request::Kind;
use super::resource::{self, Resource};
use crate::clock::rfc3339;
use crate::dialect::{Site, uuid_of};

/// What every URL of an answer begins with, as the client reached us.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// Such as `http://host/v1`.
    version: String,
    /// The environment whose things are shown.
    scope: Option<String>,
}

impl Base {
    /// Reads which version a path is of.
    pub(super) fn of(site: &Site, path: &str) -> Self {
        let version = path.split('/').find(|segment| !segment.is_empty()).unwrap_or("v1");
        Self { version: format!("{site}/{version}"), scope: None }
    }

    /// The same for what is in an environment.
    pub(super) fn scoped(self, environment: &str) -> Self {
        Self { scope: Some(environment.to_owned()), ..self }
    }

    /// The same for what is in none.
    pub(super) fn unscoped(&self) -> Self {
        Self { version: self.version.clone(), scope: None }
    }

    /// The URL of a path: a type, which is in lower case there, and an id, which is as it is.
    pub(super) fn url(&self, segments: &[&str]) -> String {
        let scope = self.scope.as_ref().map(|scope| format!("/projects/{scope}")).unwrap_or_default();
        let part = |(place, part): (usize, &&str)| if place == 0 { part.to_ascii_lowercase() } else { (*part).to_owned() };
        let path: String = segments.iter().enumerate().map(part).map(|part| format!("/{part}")).collect();
        format!("{}{scope}{path}", self.version)
    }
}

/// What the version itself shows: where everything is that somebody sees.
pub(super) fn root<'r>(base: &Base, seen: impl Iterator<Item = &'r Resource>) -> Value {
    let mut links = Map::from_iter([("self".to_owned(), Value::from(base.url(&[])))]);
    links.extend(seen.map(|resource| (resource.plural.to_owned(), base.url(&[resource.plural]).into())));
    json!({"id": base.version.rsplit('/').next(), "type": "apiVersion", "links": links, "actions": {}})
}

/// A thing with its links and with the URLs of the actions that its state allows.
pub(super) fn resource(base: &Base, kind: Kind, id: &str, fields: Value, links: &[&str], actions: &[&str]) -> Value {
    let resource = resource::of(kind);
    let own = base.url(&[resource.plural, id]);
    let mut all_links = Map::from_iter([("self".to_owned(), Value::from(own.clone()))]);
    all_links.extend(links.iter().map(|link| ((*link).to_owned(), format!("{own}/{}", link.to_ascii_lowercase()).into())));
    let actions: Map<String, Value> =
        actions.iter().map(|action| ((*action).to_owned(), format!("{own}/?action={action}").into())).collect();
    let mut value = json!({
        "id": id, "type": resource.id, "baseType": resource.base, "links": all_links, "actions": actions,
        "uuid": uuid_of(&format!("{} {id}", resource.id)), "data": {},
        "transitioning": "no", "transitioningMessage": null, "transitioningProgress": null,
    });
    if let (Some(value), Value::Object(fields)) = (value.as_object_mut(), fields) {
        value.extend(fields);
    }
    value
}

/// The same as an action's answer shows it: on its way to the state that a following read may already find.
pub(super) fn on_its_way(mut resource: Value, state: &str) -> Value {
    if let Some(fields) = resource.as_object_mut() {
        fields.insert("state".to_owned(), state.into());
        fields.insert("transitioning".to_owned(), "yes".into());
    }
    resource
}

/// While one action runs no other is on offer, but that an activation may be taken back.
pub(super) fn over(mut shown: Value) -> Value {
    let passing = shown.get("state").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(actions) = shown.get_mut("actions").and_then(Value::as_object_mut) {
        actions.retain(|name, _| passing == "activating" && name == "deactivate");
    }
    shown
}

/// A time as text and in milliseconds.
pub(super) fn time(second: UnixSeconds) -> (String, u64) {
    (rfc3339(second), second.0.saturating_mul(1000))
}
