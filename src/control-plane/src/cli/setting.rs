//! `keygate setting`: what its commands ask of the API. Never sends anything itself.

use clap::Subcommand;
use serde_json::json;

use super::action::{Action, Outcome};
use super::client::{Call, Reference};
use super::output::{Column, View};
use super::wait::WaitArgs;

const SETTING: View = &[
    Column::new("NAME", "name"),
    Column::new("VALUE", "value"),
    Column::new("DEFAULT", "default"),
    Column::new("SOURCE", "source"),
    Column::new("ABOUT", "about"),
];

/// The commands of `keygate setting`.
#[derive(Debug, Subcommand)]
pub(crate) enum SettingCommand {
    /// List all settings, with their values and defaults
    List,
    /// Show one setting
    Show {
        /// Its name
        name: Reference,
    },
    /// Give a setting a value; it holds at once
    Set {
        /// Its name
        name: Reference,
        /// Its value; it may begin with hyphens, as certificates do
        #[arg(allow_hyphen_values = true)]
        value: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Give a setting its default back
    Unset {
        /// Its name
        name: Reference,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

impl From<SettingCommand> for Action {
    fn from(command: SettingCommand) -> Self {
        match command {
            SettingCommand::List => Self::List(Call::get(&["settings"]), SETTING),
            SettingCommand::Show { name } => Self::Show(Call::get(&["settings", name.as_str()]), SETTING),
            SettingCommand::Set { name, value, wait } => {
                let call = Call::put(&["settings", name.as_str()], json!({"value": value}));
                Self::Change(call, Outcome::Object(SETTING), wait)
            }
            SettingCommand::Unset { name, wait } => {
                Self::Change(Call::delete(&["settings", name.as_str()]), Outcome::Object(SETTING), wait)
            }
        }
    }
}
