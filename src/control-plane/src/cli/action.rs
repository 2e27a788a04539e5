//! What a command comes down to: one [`Call`] of the API, and how its result is shown.
//!
//! The resources' files make actions and do nothing; [`Action::perform`] is the one place that does. Never knows a resource.

use std::time::Instant;

use serde_json::Value;

use super::client::{Call, Client, Reply};
use super::failure::Failure;
use super::import::{self, PortainerArgs};
use super::login::{self, LoginArgs, PasswordArgs};
use super::output::{self, OutputFormat, View};
use super::wait::{self, WaitArgs};

/// One command, as data.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Read several objects.
    List(Call, View),
    /// Read the newest of a list, at most so many, and tell if there may be more.
    ListSome(Call, View, u32),
    /// Read one object.
    Show(Call, View),
    /// Change something, print what came of it, and wait for the proxies if asked to.
    Change(Call, Outcome, WaitArgs),
    /// Ask for a password and log in.
    LogIn(LoginArgs),
    /// End the login that is kept.
    LogOut(WaitArgs),
    /// Ask for a password and set it.
    SetPassword(PasswordArgs),
    /// Read a file and take over what it holds.
    Import(PortainerArgs),
}

/// What comes of a change.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// The object as it is now.
    Object(View),
    /// A new key, with its secret.
    NewKey,
    /// A new join token, with its text.
    NewToken,
    /// What came of an import; so many tokens were not sent.
    TakenOver { left_out: usize },
    /// Something is gone: a sentence for people; JSON has nothing to show.
    Gone(String),
}

impl Action {
    /// Sends the call and prints its result.
    pub(super) async fn perform(self, client: &Client, output: OutputFormat) -> Result<(), Failure> {
        match self {
            Self::List(call, view) => {
                let reply = client.send(&call).await?;
                Ok(output::print_list(data(&reply)?, view, output)?)
            }
            Self::ListSome(call, view, most) => {
                let reply = client.send(&call).await?;
                let found = data(&reply)?;
                output::print_list(found, view, output)?;
                if let Some(last) = found.last().and_then(|last| last["id"].as_str()).filter(|_| found.len() >= most as usize) {
                    output::print_note(&format!(
                        "these are {most}, and there may be more: --before {last} lists those, or raise --limit"
                    ));
                }
                Ok(())
            }
            Self::Show(call, view) => {
                let reply = client.send(&call).await?;
                Ok(output::print_object(object(&reply)?, view, output)?)
            }
            Self::LogIn(args) => login::log_in(client, args, output).await,
            Self::LogOut(wait) => Box::pin(login::log_out(client, wait, output)).await,
            Self::SetPassword(args) => login::set_password(client, args, output).await,
            Self::Import(args) => import::portainer(client, args, output).await,
            Self::Change(call, outcome, wait) => {
                let sent = Instant::now();
                let reply = client.send(&Self::sent(call, &outcome, wait)).await?;
                outcome.print(&reply, output)?;
                match wait.seconds() {
                    Some(seconds) => wait::for_proxies(client, reply, seconds, sent).await,
                    None => Ok(()),
                }
            }
        }
    }

    /// The call of a change as it is sent: it waits by itself, for it may take away the key that would ask about it afterwards. A new
    /// key is asked about afterwards: its secret is shown once, and must be printed before a wait fails or is interrupted.
    pub(super) fn sent(call: Call, outcome: &Outcome, wait: WaitArgs) -> Call {
        match (wait.seconds(), outcome) {
            (Some(seconds), Outcome::Object(_) | Outcome::TakenOver { .. } | Outcome::Gone(_)) => call.waiting(seconds),
            _ => call,
        }
    }
}

impl Outcome {
    fn print(&self, reply: &Reply, output: OutputFormat) -> Result<(), Failure> {
        match self {
            Self::Object(view) => output::print_object(object(reply)?, view, output)?,
            Self::NewKey => output::print_key_created(object(reply)?, output)?,
            Self::NewToken => output::print_token_created(object(reply)?, output)?,
            Self::TakenOver { left_out } => import::print_report(object(reply)?, *left_out, output)?,
            Self::Gone(sentence) => output::print_gone(sentence, output)?,
        }
        Ok(())
    }
}

fn data(reply: &Reply) -> Result<&[Value], Failure> {
    reply.body.get("data").and_then(Value::as_array).map(Vec::as_slice).ok_or_else(unexpected)
}

/// The object that an answer shows.
pub(super) fn object(reply: &Reply) -> Result<&Value, Failure> {
    if reply.body.is_object() { Ok(&reply.body) } else { Err(unexpected()) }
}

fn unexpected() -> Failure {
    Failure::NoAnswer(
        "the call was accepted, but the answer is not one of this version's API: is the control plane newer?".to_owned(),
    )
}
