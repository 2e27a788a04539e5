//! `keygate`, the control plane: one binary that serves, and that administers what it serves.
//!
//! A change, in order: `api/` translates a request, `operations/` decides whether it may be and must be done, `store/` makes it durable
//! together with its audit record and the next revision, `push/` brings the altered grants to every proxy.

mod api;
mod backup;
mod class;
mod cli;
mod clock;
mod dialect;
mod log;
mod login;
mod metrics;
mod model;
mod name;
mod openapi;
mod operations;
mod permission;
mod portainer;
mod push;
mod rancher16;
mod rancher2;
mod random;
mod serve;
mod setting;
mod setup;
mod store;
mod supplied;
mod tls;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory as _, Parser, Subcommand};

/// Manages the keys that are checked at the edge
#[derive(Debug, Parser)]
#[command(name = "keygate", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: cli::ConnectionArgs,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t)]
    output: cli::OutputFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a data folder with an admin, and print the admin's key
    Init(setup::InitOptions),
    /// Serve the API, and push the table to every proxy
    Serve(serve::ServeOptions),
    /// Print a new key for an admin, on the data folder of a stopped server
    Recover(setup::RecoverOptions),
    /// Copy the data to one file, also while a server uses it
    Backup(backup::BackupOptions),
    /// Put the data of a stopped server back to what a backup holds
    Restore(backup::RestoreOptions),
    /// Print a script that completes commands in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// A filter's configuration, before it reaches Envoy
    #[command(subcommand)]
    Filter(cli::FilterCommand),
    /// Write a filter's configuration that carries the whole table, for an edge without a control plane (admins only)
    Export(cli::ExportArgs),
    /// Print a credential for kubectl, asking for a password unless one is kept: what kubeconfig files without a token run
    KubeconfigLogin(cli::KubeconfigLoginArgs),
    #[command(flatten)]
    Admin(cli::Command),
}

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| refuse(error));
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            cli::print_note(&format!("error: no threads can be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(arguments));
    // A file that never lets itself be read must not keep the process: all that has to be done is done.
    runtime.shutdown_background();
    code
}

async fn run(Arguments { command, connection, output }: Arguments) -> ExitCode {
    if matches!(command, Command::Init(_) | Command::Recover(_) | Command::Backup(_) | Command::Restore(_)) {
        log::start_for_errors();
    }
    let done = match command {
        Command::Init(options) => setup::init(options, output).await,
        Command::Serve(options) => serve::serve(options).await,
        Command::Recover(options) => setup::recover(options, output).await,
        Command::Backup(options) => backup::backup(options, output).await,
        Command::Restore(options) => backup::restore(options, output).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "keygate", &mut script);
            cli::print_script(&script).context("cannot write to standard output")
        }
        Command::Filter(command) => return cli::run_filter(command, &connection, output).await,
        Command::Export(args) => return cli::run_export(args, &connection, output).await,
        Command::KubeconfigLogin(args) => return cli::run_kubeconfig_login(args, &connection).await,
        Command::Admin(command) => return cli::run(command, &connection, output).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::print_note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Tells what is wrong with a command line. Its usage would list each option that has a variable set as if it were required.
fn refuse(mut error: clap::Error) -> ! {
    if error.kind() == ErrorKind::MissingRequiredArgument {
        error.remove(ContextKind::Usage);
    }
    error.exit()
}
