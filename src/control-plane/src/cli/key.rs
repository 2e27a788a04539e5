//! `keygate key`: what its commands ask of the API. Never sends anything itself, and never holds a secret.

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::action::{Action, Outcome};
use super::client::{Call, Reference};
use super::output::{Column, View};
use super::wait::WaitArgs;

const KEY: View = &[
    Column::new("ID", "id"),
    Column::new("ACCESS KEY", "accessKey"),
    Column::new("NAME", "name"),
    Column::new("ACCOUNT", "account"),
    Column::new("ENVIRONMENT", "environment"),
    Column::new("LIMITED TO", "limitedTo"),
    Column::new("STATE", "state"),
    Column::new("CREATED", "created"),
    Column::time("EXPIRES", "expires"),
    Column::time("LAST USED", "lastUsed"),
    Column::new("CLASS", "class"),
    Column::new("DESCRIPTION", "description"),
];

/// A key at its creation, the only time that its secret is there.
pub(super) const NEW_KEY: View = &[
    Column::new("ID", "id"),
    Column::new("ACCESS KEY", "accessKey"),
    Column::new("SECRET KEY", "secretKey"),
    Column::new("TOKEN", "token"),
    Column::new("NAME", "name"),
    Column::new("DESCRIPTION", "description"),
    Column::new("ACCOUNT", "account"),
    Column::new("ENVIRONMENT", "environment"),
    Column::new("ENDPOINT", "endpoint"),
    Column::new("STATE", "state"),
    Column::new("CREATED", "created"),
    Column::time("EXPIRES", "expires"),
];

/// The commands of `keygate key`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and show its secret, this once
    Create {
        #[command(flatten)]
        owner: Owner,
        /// A name for people
        #[arg(long)]
        name: String,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// How long it lives, such as 90d or 12h; without it, the key never expires
        #[arg(long, value_name = "DURATION", value_parser = parse_ttl, allow_hyphen_values = true)]
        ttl: Option<u64>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// List the keys that you see
    List {
        #[command(flatten)]
        filter: Filter,
        /// Only keys and tokens that never expire
        #[arg(long)]
        never_expires: bool,
    },
    /// Show one key, without its secret
    Show {
        /// Its id
        id: Reference,
    },
    /// Change the name or the description; access key and secret never change
    Edit {
        /// Its id
        id: Reference,
        #[command(flatten)]
        changes: Changes,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Withdraw a key until it is activated again
    Deactivate {
        /// Its id
        id: Reference,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Let a deactivated key pass again
    Activate {
        /// Its id
        id: Reference,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Remove a key, which must be inactive
    Delete {
        /// Its id
        id: Reference,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

/// Whose key it will be: exactly one of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Owner {
    /// Make it a key of this account (name or id)
    #[arg(long)]
    account: Option<String>,
    /// Make it a key of this environment (id)
    #[arg(long)]
    environment: Option<String>,
}

/// Whose keys to list: one of the two, or neither for all.
#[derive(Debug, Args)]
#[group(required = false, multiple = false)]
pub(crate) struct Filter {
    /// Only keys of this account
    #[arg(long)]
    account: Option<Reference>,
    /// Only keys of this environment
    #[arg(long)]
    environment: Option<Reference>,
}

/// What to change of a key: one of the two, or both.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Changes {
    /// The new name
    #[arg(long)]
    name: Option<String>,
    /// The new description
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

impl From<KeyCommand> for Action {
    fn from(command: KeyCommand) -> Self {
        let verb = |id: &Reference, verb| Call::post(&["keys", id.as_str(), verb], None);
        match command {
            KeyCommand::Create { owner, name, description, ttl, wait } => {
                let body = object([
                    ("account", owner.account.map(Value::from)),
                    ("environment", owner.environment.map(Value::from)),
                    ("name", Some(name.into())),
                    ("description", description.map(Value::from)),
                    ("ttlSeconds", ttl.map(Value::from)),
                ]);
                Self::Change(Call::post(&["keys"], Some(body)), Outcome::NewKey, wait)
            }
            KeyCommand::List { filter, never_expires } => {
                let call = Call::get(&["keys"]).with_query("account", filter.account);
                let call = call.with_query("neverExpires", never_expires.then_some(true));
                Self::List(call.with_query("environment", filter.environment), KEY)
            }
            KeyCommand::Show { id } => Self::Show(Call::get(&["keys", id.as_str()]), KEY),
            KeyCommand::Edit { id, changes, wait } => {
                let body =
                    object([("name", changes.name.map(Value::from)), ("description", changes.description.map(Value::from))]);
                Self::Change(Call::patch(&["keys", id.as_str()], body), Outcome::Object(KEY), wait)
            }
            KeyCommand::Deactivate { id, wait } => Self::Change(verb(&id, "deactivate"), Outcome::Object(KEY), wait),
            KeyCommand::Activate { id, wait } => Self::Change(verb(&id, "activate"), Outcome::Object(KEY), wait),
            KeyCommand::Delete { id, wait } => {
                let outcome = Outcome::Gone(format!("key {id} deleted"));
                Self::Change(Call::delete(&["keys", id.as_str()]), outcome, wait)
            }
        }
    }
}

/// The fields that have a value; the API tells an absent field from an empty one.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let present = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect::<Map<_, _>>())
}

/// Whole seconds, at least one: less would be a key that is dead from the start.
fn parse_ttl(text: &str) -> Result<u64, String> {
    let duration = humantime::parse_duration(text).map_err(|error| format!("{error}; write 90d, 12h or 1h 30m"))?;
    match duration.as_secs() {
        0 => Err("a key lives for at least a second".to_owned()),
        seconds => Ok(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_a_duration_with_a_unit_of_at_least_a_second() {
        assert_eq!(parse_ttl("90d"), Ok(90 * 24 * 3600));
        assert_eq!(parse_ttl("1h 30m"), Ok(5400));
        for text in ["", "90", "0s", "500ms", "-1d", "soon"] {
            assert!(parse_ttl(text).is_err(), "{text}");
        }
    }
}
