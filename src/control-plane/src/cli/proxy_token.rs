//! `keygate proxy token`: what its commands ask of the API. Never sends anything itself, and never holds a token.

use clap::Subcommand;
use serde_json::{Map, Value};

use super::action::{Action, Outcome};
use super::client::{Call, Reference};
use super::output::{Column, View};
use super::wait::WaitArgs;

const TOKEN: View = &[
    Column::new("ID", "id"),
    Column::new("PROXY", "proxy"),
    Column::new("STATE", "state"),
    Column::new("CREATED", "created"),
    Column::new("DESCRIPTION", "description"),
];

/// A token at its creation, the only time that its text is there.
pub(super) const NEW_TOKEN: View = &[
    Column::new("ID", "id"),
    Column::new("TOKEN", "token"),
    Column::new("PROXY", "proxy"),
    Column::new("DESCRIPTION", "description"),
    Column::new("STATE", "state"),
    Column::new("CREATED", "created"),
];

/// The commands of `keygate proxy token`.
#[derive(Debug, Subcommand)]
pub(crate) enum ProxyTokenCommand {
    /// Make a join token and show it, this once; from then on nobody gets the table under this name without one
    ///
    /// That holds on loopback, too, until `keygate proxy forget` drops the name's tokens. A stream that is open goes on.
    Create {
        /// The proxy's name, as in the filter's "proxy"
        name: Reference,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// List the join tokens, without their texts
    List {
        /// Only those of the proxy of this name
        name: Option<Reference>,
    },
    /// Revoke a join token for good, and end the stream that was opened with it
    ///
    /// The proxy goes on with the table that it has until its staleness limit has passed, or until it comes with another token.
    Revoke {
        /// The token's id
        id: Reference,
    },
}

impl From<ProxyTokenCommand> for Action {
    fn from(command: ProxyTokenCommand) -> Self {
        match command {
            ProxyTokenCommand::Create { name, description } => {
                let fields = description.into_iter().map(|text| ("description".to_owned(), Value::from(text)));
                let body = Value::Object(fields.collect::<Map<_, _>>());
                let call = Call::post(&["proxies", name.as_str(), "tokens"], Some(body));
                Self::Change(call, Outcome::NewToken, WaitArgs::NONE)
            }
            ProxyTokenCommand::List { name: None } => Self::List(Call::get(&["proxy-tokens"]), TOKEN),
            ProxyTokenCommand::List { name: Some(name) } => Self::List(Call::get(&["proxies", name.as_str(), "tokens"]), TOKEN),
            ProxyTokenCommand::Revoke { id } => {
                let outcome = Outcome::Gone(format!("join token {id} revoked"));
                Self::Change(Call::delete(&["proxy-tokens", id.as_str()]), outcome, WaitArgs::NONE)
            }
        }
    }
}
