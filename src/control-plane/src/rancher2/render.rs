//! How things look: absolute links and action URLs, times, identifiers. It decides nothing.

use keygate_decision::UnixSeconds;
use serde_json::{Map, Value, json};

use super::request::Kind;
use super::resource::{self, Verb};
use crate::clock::rfc3339;
use crate::dialect::{Site, uuid_of};

/// What every URL of an answer begins with, as the client reached us.
#[derive(Clone, Debug)]
pub(super) struct Base {
    site: Site,
    /// `v3` or `v3-public`.
    version: &'static str,
}

const API: &str = "v3";
const PUBLIC: &str = "v3-public";

impl Base {
    /// Reads which version a path is of.
    pub(super) fn of(site: Site, path: &str) -> Self {
        let is_public = path.split('/').find(|segment| !segment.is_empty()) == Some(PUBLIC);
        Self { site, version: if is_public { PUBLIC } else { API } }
    }

    /// Whether this is the part of the API that needs no credential.
    pub(super) fn is_public(&self) -> bool {
        self.version == PUBLIC
    }

    /// Where clients reach everything.
    pub(super) fn site(&self) -> &Site {
        &self.site
    }

    /// The version itself: its path.
    pub(super) fn version_path(&self) -> String {
        format!("/{}", self.version)
    }

    /// The same in the part of the API that needs a credential.
    pub(super) fn of_api(&self) -> Self {
        Self { version: API, ..self.clone() }
    }

    /// The URL of a path.
    pub(super) fn url(&self, segments: &[&str]) -> String {
        let path: String = segments.iter().map(|segment| format!("/{}", encode(segment))).collect();
        format!("{}/{}{path}", self.site, self.version)
    }
}

/// A segment of a path: ids are plain, but those of old tokens may hold anything that can be seen.
fn encode(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@!$'()*,;".contains(&byte);
    let encoded = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    segment.bytes().map(encoded).collect()
}

/// A thing with its links and with the URLs of the actions of its kind.
pub(super) fn resource(base: &Base, kind: Kind, id: &str, created: Option<UnixSeconds>, fields: Value) -> Value {
    let resource = resource::of(kind);
    let own = base.url(&[resource.plural, id]);
    let mut links = Map::from_iter([("self".to_owned(), Value::from(own.clone()))]);
    let mut actions = Map::new();
    for operation in resource.operations {
        match operation.verb {
            Verb::Update => drop(links.insert("update".to_owned(), own.clone().into())),
            Verb::Remove => drop(links.insert("remove".to_owned(), own.clone().into())),
            Verb::Act(action) => drop(actions.insert(action.to_owned(), format!("{own}?action={action}").into())),
            Verb::List | Verb::Create | Verb::Show | Verb::ActOnAll(_) => {}
        }
    }
    let mut value = json!({
        "id": id, "type": resource.id, "baseType": resource.base, "links": links, "actions": actions,
        "uuid": uuid_of(&format!("{} {id}", resource.id)), "creatorId": null, "labels": {}, "annotations": {},
        "created": created.map(rfc3339), "createdTS": created.map(|created| created.0.saturating_mul(1000)),
    });
    if let (Some(value), Value::Object(fields)) = (value.as_object_mut(), fields) {
        value.extend(fields);
    }
    value
}
