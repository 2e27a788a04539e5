//! The command line: every admin command of `keygate`, as a client of the native API `/keygate/v1`; and `keygate filter`, which looks
//! at a filter's configuration with the code that the filter is made of.
//!
//! One command, in the order of the files: clap parses [`Command`]; the resource's file (`key.rs` and its kin) turns it into an
//! `Action`, which is plain data; `action.rs` performs it: `client.rs` sends, `output.rs` prints, `wait.rs` asks which proxies
//! acknowledged. `connection.rs` holds the settings, `failure.rs` the exit codes.
//!
//! `main.rs` needs [`Command`] (a `clap::Subcommand`, to be flattened), [`ConnectionArgs`] (a `clap::Args` of global options),
//! [`OutputFormat`] (a `clap::ValueEnum`) and [`run`]; for `keygate filter`, [`FilterCommand`] and [`run_filter`]. `keygate init` and `keygate recover` print the key they made with
//! [`print_key_created`], which takes the key as the API shows it at creation (`id`, `accessKey`, `secretKey`, `token`, `name`,
//! `description`, `account` or `environment`, `state`, `created`, `expires`), so that all of them print the same.
//!
//! `login.rs` has the commands that ask for a password (`secret.rs`); `logins.rs` keeps the logins that they make.
//!
//! Standard output carries the result alone: with `--output json` the object, or the array of objects, as the API gives it, and
//! nothing for a removal. All else goes to standard error.
//!
//! Never: reads or writes storage, decides who may do what, or shows a secret other than that of a key or a login being created.

mod account;
mod action;
mod audit;
mod client;
mod connection;
mod environment;
mod export;
mod failure;
mod file;
mod filter;
mod import;
mod key;
mod kubeconfig_login;
mod login;
mod logins;
mod member;
mod output;
mod proxy;
mod proxy_token;
mod secret;
mod setting;
mod wait;

use std::process::ExitCode;

use clap::Subcommand;

pub(crate) use account::AccountCommand;
pub(crate) use audit::AuditCommand;
pub(crate) use connection::ConnectionArgs;
pub(crate) use environment::EnvironmentCommand;
pub(crate) use export::ExportArgs;
pub(crate) use file::file_argument;
pub(crate) use filter::FilterCommand;
pub(crate) use import::ImportCommand;
pub(crate) use key::KeyCommand;
pub(crate) use kubeconfig_login::KubeconfigLoginArgs;
pub(crate) use login::LoginArgs;
pub(crate) use member::MemberCommand;
pub(crate) use output::{OutputFormat, print_key_created, print_note, print_report, print_script};
pub(crate) use proxy::ProxyCommand;
pub(crate) use setting::SettingCommand;

use action::Action;
use client::Client;
use failure::Failure;
use wait::WaitArgs;

/// The admin commands, one group for each resource of the native API.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// People and programs that own keys
    #[command(subcommand)]
    Account(AccountCommand),
    /// What keys give access to
    #[command(subcommand)]
    Environment(EnvironmentCommand),
    /// Which accounts have which role in an environment
    #[command(subcommand)]
    Member(MemberCommand),
    /// Keys of accounts and of environments
    #[command(subcommand)]
    Key(KeyCommand),
    /// Proxies that keep a copy of the table
    #[command(subcommand)]
    Proxy(ProxyCommand),
    /// What can be set while the server runs
    #[command(subcommand)]
    Setting(SettingCommand),
    /// What was done, and what was refused
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Users and tokens of another system, which go on working (admins only)
    #[command(subcommand)]
    Import(ImportCommand),
    /// Log in with a password: commands without a key use the login until it ends
    Login(LoginArgs),
    /// End the login, everywhere
    Logout {
        #[command(flatten)]
        wait: WaitArgs,
    },
}

/// Runs one command. Whatever goes wrong is told on standard error; `failure.rs` lists the exit codes.
pub(crate) async fn run(command: Command, connection: &ConnectionArgs, output: OutputFormat) -> ExitCode {
    ended(try_run(command, connection, output).await)
}

/// Runs a command of `keygate filter`; it fails as the others do.
pub(crate) async fn run_filter(command: FilterCommand, connection: &ConnectionArgs, output: OutputFormat) -> ExitCode {
    ended(command.run(connection, output).await)
}

/// Runs `keygate export`; it fails as the others do.
pub(crate) async fn run_export(args: ExportArgs, connection: &ConnectionArgs, output: OutputFormat) -> ExitCode {
    ended(export::run(&args, connection, output).await)
}

/// Runs `keygate kubeconfig-login`; it fails as the others do.
pub(crate) async fn run_kubeconfig_login(args: KubeconfigLoginArgs, connection: &ConnectionArgs) -> ExitCode {
    ended(kubeconfig_login::run(&args, connection).await)
}

fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::print_note(&format!("error: {failure}"));
            failure.exit_code()
        }
    }
}

async fn try_run(command: Command, connection: &ConnectionArgs, output: OutputFormat) -> Result<(), Failure> {
    let client = Client::new(connection)?;
    Action::from(command).perform(&client, output).await
}

impl From<Command> for Action {
    fn from(command: Command) -> Self {
        match command {
            Command::Account(command) => command.into(),
            Command::Environment(command) => command.into(),
            Command::Member(command) => command.into(),
            Command::Key(command) => command.into(),
            Command::Proxy(command) => command.into(),
            Command::Setting(command) => command.into(),
            Command::Audit(command) => command.into(),
            Command::Import(command) => command.into(),
            Command::Login(args) => Self::LogIn(args),
            Command::Logout { wait } => Self::LogOut(wait),
        }
    }
}

#[cfg(test)]
mod tests;
