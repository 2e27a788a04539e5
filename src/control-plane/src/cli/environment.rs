//! `keygate environment`: what its commands ask of the API. Never sends anything itself.

use clap::Subcommand;
use serde_json::json;

use super::action::{Action, Outcome};
use super::client::{Call, Reference};
use super::output::{Column, View};
use super::wait::WaitArgs;

const ENVIRONMENT: View = &[
    Column::new("ID", "id"),
    Column::new("NAME", "name"),
    Column::new("STATE", "state"),
    Column::new("ROLE", "role"),
    Column::new("CREATED", "created"),
];

/// The commands of `keygate environment`.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvironmentCommand {
    /// Make an environment (admins only)
    Create {
        /// The id that requests carry, such as 1a5
        #[arg(long)]
        id: String,
        /// A name for people
        #[arg(long)]
        name: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// List the environments that you see, with your role in each
    List,
    /// Show one environment
    Show {
        /// Its id
        id: Reference,
    },
    /// Give an environment another name; its id never changes
    Edit {
        /// Its id
        id: Reference,
        /// The new name
        #[arg(long)]
        name: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Remove an environment with its keys
    Delete {
        /// Its id
        id: Reference,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

impl From<EnvironmentCommand> for Action {
    fn from(command: EnvironmentCommand) -> Self {
        match command {
            EnvironmentCommand::Create { id, name, wait } => {
                let call = Call::post(&["environments"], Some(json!({"id": id, "name": name})));
                Self::Change(call, Outcome::Object(ENVIRONMENT), wait)
            }
            EnvironmentCommand::List => Self::List(Call::get(&["environments"]), ENVIRONMENT),
            EnvironmentCommand::Show { id } => Self::Show(Call::get(&["environments", id.as_str()]), ENVIRONMENT),
            EnvironmentCommand::Edit { id, name, wait } => {
                let call = Call::patch(&["environments", id.as_str()], json!({"name": name}));
                Self::Change(call, Outcome::Object(ENVIRONMENT), wait)
            }
            EnvironmentCommand::Delete { id, wait } => {
                let outcome = Outcome::Gone(format!("environment {id} deleted"));
                Self::Change(Call::delete(&["environments", id.as_str()]), outcome, wait)
            }
        }
    }
}
