//! `keygate member`: what its commands ask of the API. Never sends anything itself.

use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::json;

use super::action::{Action, Outcome};
use super::client::{Call, Reference};
use super::output::{Column, View};
use super::wait::WaitArgs;

const MEMBER: View = &[
    Column::new("ENVIRONMENT", "environment"),
    Column::new("ACCOUNT", "account"),
    Column::new("ROLE", "role"),
    Column::new("CREATED", "created"),
];

/// The commands of `keygate member`.
#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Make an account a member of an environment, or give a member another role
    Add {
        /// The environment's id
        #[arg(long)]
        environment: Reference,
        /// The account's name or id
        #[arg(long)]
        account: Reference,
        /// What the member may do there
        #[arg(long, value_enum)]
        role: Role,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// List the members of an environment
    List {
        /// The environment's id
        #[arg(long)]
        environment: Reference,
    },
    /// End a membership
    Remove {
        /// The environment's id
        #[arg(long)]
        environment: Reference,
        /// The account's name or id
        #[arg(long)]
        account: Reference,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

/// The roles of a member.
#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Reads and writes, and manages the environment, its members and its keys
    Owner,
    /// Reads and writes
    Member,
    /// Reads and writes
    Restricted,
    /// Reads
    Readonly,
}

impl From<MemberCommand> for Action {
    fn from(command: MemberCommand) -> Self {
        match command {
            MemberCommand::Add { environment, account, role, wait } => {
                let call = Call::put(&["environments", environment.as_str(), "members", account.as_str()], json!({"role": role}));
                Self::Change(call, Outcome::Object(MEMBER), wait)
            }
            MemberCommand::List { environment } => {
                Self::List(Call::get(&["environments", environment.as_str(), "members"]), MEMBER)
            }
            MemberCommand::Remove { environment, account, wait } => {
                let outcome = Outcome::Gone(format!("account {account} removed from environment {environment}"));
                let call = Call::delete(&["environments", environment.as_str(), "members", account.as_str()]);
                Self::Change(call, outcome, wait)
            }
        }
    }
}
