//! The key to decide as: its grant as the control plane shows it, read back into what the filter's table would hold. What cannot be read
//! is a failure, never a smaller or a larger grant.

use keygate_decision::{Access, AccountId, EnvironmentId, EnvironmentRef, Grant, Holder, KeyId, Reach};
use keygate_wire::EmbeddedTable;
use serde::Deserialize;
use serde_json::Value;

use super::super::client::{Call, Client, Reference};
use super::super::failure::Failure;
use crate::clock::second_of;

/// A key, and its grant if it has one.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) grant: Option<Grant>,
}

/// Looks a key's grant up in a table that the configuration carries. A key that is not in it has none.
pub(super) fn embedded(table: &EmbeddedTable, id: &Reference) -> Key {
    let grant = id.as_str().parse().ok().and_then(|number| table.grant_of(KeyId(number)));
    Key { id: id.to_string(), grant: grant.cloned() }
}

/// Asks the control plane for a key's grant. An inactive key has none.
pub(super) async fn fetch(client: &Client, id: &Reference) -> Result<Key, Failure> {
    let grant = match client.send(&Call::get(&["keys", id.as_str(), "grant"])).await {
        Ok(reply) => Some(read(reply.body).ok_or_else(|| {
            let message = format!("the grant of key {id} cannot be read: is the control plane newer than this command?");
            Failure::NoAnswer(message)
        })?),
        Err(Failure::Refused { code, .. }) if code == "no_grant" => None,
        Err(failure) => return Err(failure),
    };
    Ok(Key { id: id.to_string(), grant })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct View {
    key: String,
    account: Option<String>,
    environment: Option<String>,
    limited: bool,
    reach: ReachView,
    expires: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ReachView {
    All(All),
    Only(Vec<Reached>),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum All {
    All,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reached {
    environment: String,
    access: AccessName,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AccessName {
    Read,
    Write,
}

/// Reads a grant; `None` for anything but one.
pub(super) fn read(body: Value) -> Option<Grant> {
    let view: View = serde_json::from_value(body).ok()?;
    let holder = match (view.account, view.environment) {
        (None, Some(environment)) => Holder::Environment(EnvironmentId::parse(&environment).ok()?),
        (Some(account), None) => Holder::Account {
            account: AccountId(account.parse().ok()?),
            limited: view.limited,
            reach: match view.reach {
                ReachView::All(All::All) => Reach::All,
                ReachView::Only(reached) => Reach::only(reached.iter().map(Reached::entry).collect::<Option<Vec<_>>>()?),
            },
        },
        _ => return None,
    };
    let expires_at = match view.expires {
        None => None,
        Some(time) => Some(second_of(humantime::parse_rfc3339(&time).ok()?)),
    };
    Some(Grant { key: KeyId(view.key.parse().ok()?), holder, expires_at })
}

impl Reached {
    fn entry(&self) -> Option<(EnvironmentRef, Access)> {
        let access = match self.access {
            AccessName::Read => Access::Read,
            AccessName::Write => Access::Write,
        };
        Some((EnvironmentId::parse(&self.environment).ok()?.reference(), access))
    }
}

#[cfg(test)]
mod tests {
    use keygate_decision::UnixSeconds;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_grant_is_read_as_it_was_shown() {
        let id = |text: &str| EnvironmentId::parse(text).unwrap();
        let reach = json!([{"environment": "1a5", "access": "write"}, {"environment": "1a6", "access": "read"}]);
        let shown = json!({"key": "7", "account": "3", "limited": false, "reach": reach, "expires": "2027-01-15T08:00:00Z"});
        let only = Reach::only([(id("1a5").reference(), Access::Write), (id("1a6").reference(), Access::Read)]);
        let holder = Holder::Account { account: AccountId(3), limited: false, reach: only };
        assert_eq!(read(shown), Some(Grant { key: KeyId(7), holder, expires_at: Some(UnixSeconds(1_800_000_000)) }));
        let shown = json!({"key": "7", "account": "3", "limited": true, "reach": "all", "expires": null});
        let holder = Holder::Account { account: AccountId(3), limited: true, reach: Reach::All };
        assert_eq!(read(shown), Some(Grant { key: KeyId(7), holder, expires_at: None }));
        let reach = json!([{"environment": "1a5", "access": "write"}]);
        let shown = json!({"key": "7", "environment": "1a5", "limited": false, "reach": reach, "expires": null});
        assert_eq!(read(shown.clone()), Some(Grant { key: KeyId(7), holder: Holder::Environment(id("1a5")), expires_at: None }));
        for (field, value) in [
            ("key", json!(7)),
            ("account", json!("3")),
            ("reach", json!("some")),
            ("reach", json!(null)),
            ("expires", json!("soon")),
            ("purpose", json!("login")),
        ] {
            let mut other = shown.clone();
            other[field] = value;
            assert_eq!(read(other), None, "{field}");
        }
    }
}
