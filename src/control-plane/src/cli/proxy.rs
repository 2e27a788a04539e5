//! `keygate proxy`: what its commands ask of the API. Never sends anything itself.

use clap::Subcommand;

use super::action::{Action, Outcome};
use super::client::{Call, Reference};
use super::output::{Column, View};
use super::proxy_token::ProxyTokenCommand;
use super::wait::WaitArgs;

const PROXY: View = &[
    Column::new("NAME", "name"),
    Column::new("IDENTITY", "identity"),
    Column::new("CONNECTED", "connected"),
    Column::new("ACKNOWLEDGED", "acknowledged"),
    Column::time("LAST HEARD", "lastHeard"),
    Column::new("STALENESS LIMIT (S)", "stalenessLimitSeconds"),
    Column::new("EDGE", "edge"),
];

/// The commands of `keygate proxy`.
#[derive(Debug, Subcommand)]
pub(crate) enum ProxyCommand {
    /// List the known proxies: who is connected, and which revision each acknowledged
    List,
    /// Forget a proxy that is gone for good, so that no change waits for it
    Forget {
        /// Its name
        name: Reference,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Join tokens, by which proxies prove their names
    #[command(subcommand)]
    Token(ProxyTokenCommand),
}

impl From<ProxyCommand> for Action {
    fn from(command: ProxyCommand) -> Self {
        match command {
            ProxyCommand::Token(command) => command.into(),
            ProxyCommand::List => Self::List(Call::get(&["proxies"]), PROXY),
            ProxyCommand::Forget { name, wait } => {
                let outcome = Outcome::Gone(format!("proxy {name} forgotten"));
                Self::Change(Call::delete(&["proxies", name.as_str()]), outcome, wait)
            }
        }
    }
}
