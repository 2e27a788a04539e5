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
    Column::count("PROCESSES", "processes"),
    Column::new("ACKNOWLEDGED", "acknowledged"),
    Column::new("LAG (MS)", "lagMs"),
    Column::time("LAST HEARD", "lastHeard"),
    Column::new("CLOCK OFFSET (MS)", "clockOffsetMs"),
    Column::new("FILTER", "filterVersion"),
    Column::new("EDGE", "edge"),
    Column::new("REFUSAL", "lastRefusal"),
];

const PROXY_IN_FULL: View = &[
    Column::new("NAME", "name"),
    Column::new("CONNECTED", "connected"),
    Column::new("EPOCH", "position/epoch"),
    Column::new("REVISION", "position/revision"),
    Column::new("ACKNOWLEDGED", "acknowledged"),
    Column::new("LAG (MS)", "lagMs"),
    Column::time("LAST HEARD", "lastHeard"),
    Column::new("CLOCK OFFSET (MS)", "clockOffsetMs"),
    Column::new("FILTER", "filterVersion"),
    Column::new("STALENESS LIMIT (S)", "stalenessLimitSeconds"),
    Column::new("EDGE", "edge"),
    Column::new("REFUSAL", "lastRefusal"),
    Column::new("QUARANTINED REVISION", "quarantined/revision"),
    Column::new("QUARANTINED SINCE", "quarantined/since"),
    Column::new("QUARANTINED BECAUSE", "quarantined/reason"),
    Column::table("PROCESSES", "processes", PROCESS),
];

const PROCESS: View = &[
    Column::or("INSTANCE", "instance", "not back yet"),
    Column::new("CONNECTED", "connected"),
    Column::time("SINCE", "since"),
    Column::new("FILTER", "filterVersion"),
    Column::new("REVISION", "position/revision"),
    Column::new("ACKNOWLEDGED", "acknowledged"),
    Column::new("LAG (MS)", "lagMs"),
    Column::time("LAST HEARD", "lastHeard"),
    Column::new("CLOCK OFFSET (MS)", "clockOffsetMs"),
    Column::new("STALENESS LIMIT (S)", "stalenessLimitSeconds"),
    Column::new("REFUSAL", "lastRefusal"),
    Column::new("QUARANTINED", "quarantined/reason"),
];

/// The commands of `keygate proxy`.
#[derive(Debug, Subcommand)]
pub(crate) enum ProxyCommand {
    /// List the known proxies: who is connected, and which revision each acknowledged
    List,
    /// Show all that is known of a proxy and of each of its processes
    Show {
        /// Its name
        name: Reference,
    },
    /// Forget a proxy that is gone for good, so that no change waits for it
    Forget {
        /// Its name
        name: Reference,
        /// Only the processes of a connected one that cannot come back, because their token is revoked or lacking; its tokens stay
        #[arg(long)]
        former: bool,
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
            ProxyCommand::Show { name } => Self::Show(Call::get(&["proxies", name.as_str()]), PROXY_IN_FULL),
            ProxyCommand::Forget { name, former: false, wait } => {
                let outcome = Outcome::Gone(format!("proxy {name} forgotten"));
                Self::Change(Call::delete(&["proxies", name.as_str()]), outcome, wait)
            }
            ProxyCommand::Forget { name, former: true, wait } => {
                let outcome = Outcome::Gone(format!("former processes of proxy {name} forgotten; its tokens stay"));
                Self::Change(Call::delete(&["proxies", name.as_str(), "former"]), outcome, wait)
            }
        }
    }
}
