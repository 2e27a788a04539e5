//! `keygate account`: what its commands ask of the API. Never sends anything itself.

use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::json;

use super::action::{Action, Outcome};
use super::client::{Call, Reference};
use super::login::PasswordArgs;
use super::output::{Column, View};
use super::wait::WaitArgs;

const ACCOUNT: View = &[
    Column::new("ID", "id"),
    Column::new("NAME", "name"),
    Column::new("KIND", "kind"),
    Column::new("STATE", "state"),
    Column::new("CREATED", "created"),
];

/// The commands of `keygate account`; an account is named by its name or its id.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account
    Create {
        /// Its name, unique whatever the case
        #[arg(long, allow_hyphen_values = true)]
        name: String,
        /// What it may do: an admin sees and does all, a user manages their own keys
        #[arg(long, value_enum)]
        kind: Kind,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// List the accounts
    List,
    /// Show one account
    Show {
        /// Its name or id
        account: Reference,
    },
    /// Set the password of an account, which is asked for; it opens logins (keygate login). The first one is set by an admin
    SetPassword(PasswordArgs),
    /// Withdraw all keys of an account until it is activated again
    Deactivate {
        /// Its name or id
        account: Reference,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Let the keys of a deactivated account pass again
    Activate {
        /// Its name or id
        account: Reference,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Remove an account with its keys and memberships
    Delete {
        /// Its name or id
        account: Reference,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

/// The kinds of an account.
#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Manages their own keys
    User,
    /// Sees and does all
    Admin,
}

impl From<AccountCommand> for Action {
    fn from(command: AccountCommand) -> Self {
        let verb = |account: &Reference, verb| Call::post(&["accounts", account.as_str(), verb], None);
        match command {
            AccountCommand::Create { name, kind, wait } => {
                let call = Call::post(&["accounts"], Some(json!({"name": name, "kind": kind})));
                Self::Change(call, Outcome::Object(ACCOUNT), wait)
            }
            AccountCommand::List => Self::List(Call::get(&["accounts"]), ACCOUNT),
            AccountCommand::Show { account } => Self::Show(Call::get(&["accounts", account.as_str()]), ACCOUNT),
            AccountCommand::SetPassword(args) => Self::SetPassword(args),
            AccountCommand::Deactivate { account, wait } => {
                Self::Change(verb(&account, "deactivate"), Outcome::Object(ACCOUNT), wait)
            }
            AccountCommand::Activate { account, wait } => {
                Self::Change(verb(&account, "activate"), Outcome::Object(ACCOUNT), wait)
            }
            AccountCommand::Delete { account, wait } => {
                let outcome = Outcome::Gone(format!("account {account} deleted"));
                Self::Change(Call::delete(&["accounts", account.as_str()]), outcome, wait)
            }
        }
    }
}
