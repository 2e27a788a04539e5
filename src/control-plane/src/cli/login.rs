//! `keygate login`, `keygate logout` and `keygate account set-password`: the commands that ask for a password. A password goes into one
//! request and nowhere else; the token of a login goes into the user's own folder.

use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::action::{Action, Outcome, object};
use super::client::{Call, Client, Reference, Reply};
use super::failure::Failure;
use super::output::{self, Column, OutputFormat, View};
use super::secret::Asked;
use super::wait::{self, WaitArgs};

const LOGIN: View = &[
    Column::new("ID", "id"),
    Column::new("ACCOUNT", "account"),
    Column::new("KIND", "kind"),
    Column::new("CREATED", "created"),
    Column::new("EXPIRES", "expires"),
];

/// Who logs in.
#[derive(Debug, PartialEq, Args)]
pub(crate) struct LoginArgs {
    /// The account's name
    name: String,
    /// Read the password from standard input instead of asking for it
    #[arg(long)]
    stdin: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Whose password is set.
#[derive(Debug, PartialEq, Args)]
pub(crate) struct PasswordArgs {
    /// The account's name or id
    account: Reference,
    /// Read the new password from standard input, and the former one, if it is needed, from the line after it
    #[arg(long)]
    stdin: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Logs in and keeps the login for this URL; a former one that was kept for it ends. Shown is the login; its token only as JSON.
pub(super) async fn log_in(client: &Client, args: LoginArgs, output: OutputFormat) -> Result<(), Failure> {
    let password = Asked::from_flag(args.stdin).read("Password")?;
    let sent = Instant::now();
    let call = Call::post(&["login"], Some(json!({"name": args.name, "password": password})));
    let reply = client.send_openly(&call).await?;
    let login = object(&reply)?;
    let token = login.get("token").and_then(Value::as_str).map(str::to_owned);
    let former = client.logins().token(client.url());
    let path = match client.logins().keep(client.url(), login) {
        Ok(path) => path,
        // Nobody would have its token.
        Err(failure) => {
            let outcome = match end(client, token.unwrap_or_default()).await {
                Ok(_) => "it is ended again".to_owned(),
                Err(why) => format!("it goes on until it expires, since it cannot be ended: {why}"),
            };
            return Err(Failure::Usage(format!("{failure}; {outcome}")));
        }
    };
    output::print_object(login, LOGIN, output)?;
    output::print_note(&format!("kept in {}: commands without a key use it until it ends", path.display()));
    let ended = match former {
        Ok(Some(former)) => end(client, former.expose().to_owned()).await,
        Ok(None) => Ok(None),
        Err(unusable) => Err(unusable),
    };
    let ended = ended.unwrap_or_else(|failure| {
        output::print_note(&format!("warning: the login that was kept before goes on until it expires: {failure}"));
        None
    });
    match (args.wait.seconds(), token) {
        // Whoever has the end of the one has the beginning of the other.
        (Some(seconds), Some(token)) => wait::for_proxies(&client.with_token(token), ended.unwrap_or(reply), seconds, sent).await,
        _ => Ok(()),
    }
}

/// Ends the login of a token, at the control plane. One that had ended already has ended, and nothing is answered.
async fn end(client: &Client, token: String) -> Result<Option<Reply>, Failure> {
    match client.with_token(token).send(&Call::delete(&["login"])).await {
        Err(Failure::Refused { code, .. }) if code == "unauthorized" => Ok(None),
        ended => ended.map(Some),
    }
}

/// Ends the login that is kept for this URL, at the control plane and here.
pub(super) async fn log_out(client: &Client, wait: WaitArgs, output: OutputFormat) -> Result<(), Failure> {
    let Some(token) = client.logins().token(client.url())? else {
        output::print_note(&format!("there is no login at {}", client.url()));
        return Ok(());
    };
    let gone = Outcome::Gone(format!("logged out of {}", client.url()));
    let client_of_login = client.with_token(token.expose().to_owned());
    let ended = Action::Change(Call::delete(&["login"]), gone, wait).perform(&client_of_login, output);
    match ended.await {
        Err(Failure::Refused { code, .. }) if code == "unauthorized" => output::print_note("the login had ended already"),
        // Made, though not acknowledged: the login is over.
        Ok(()) => {}
        Err(failure @ Failure::NotAcknowledged(_)) => {
            client.logins().forget(client.url())?;
            return Err(failure);
        }
        Err(failure) => return Err(failure),
    }
    client.logins().forget(client.url())?;
    Ok(())
}

/// Sets a password. Whether the former one is needed is for the control plane to say: then it is asked for.
pub(super) async fn set_password(client: &Client, args: PasswordArgs, output: OutputFormat) -> Result<(), Failure> {
    let asked = Asked::from_flag(args.stdin);
    let password = asked.read_new("New password")?;
    let set = |former: Option<String>| {
        let mut body = json!({"password": password});
        if let (Some(body), Some(former)) = (body.as_object_mut(), former) {
            body.insert("oldPassword".to_owned(), former.into());
        }
        let call = Call::put(&["accounts", args.account.as_str(), "password"], body);
        let done = format!(
            "the password of {} is set; the account's other logins are ended, but not those made by Rancher 2's API: they go on \
             until they expire or are deleted",
            args.account
        );
        Action::Change(call, Outcome::Gone(done), args.wait)
    };
    match Box::pin(set(None).perform(client, output)).await {
        Err(Failure::Refused { code, field: Some(field), .. }) if code == "missing_field" && field == "oldPassword" => {
            let former = asked.read("Former password")?;
            Box::pin(set(Some(former)).perform(client, output)).await
        }
        other => other,
    }
}
