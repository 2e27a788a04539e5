//! `keygate import`: takes over users and tokens of another system. The file is read and checked here as a whole; what goes to the control
//! plane is names and digests, and it takes all of it or nothing. Never sends what else the file holds, such as passwords' hashes.

mod bolt;
mod portainer;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::action::{Action, Outcome};
use super::client::{Call, Client};
use super::failure::Failure;
use super::output::{self, Column, OutputFormat, View};
use super::wait::WaitArgs;
use crate::name::AccountName;
use portainer::{Export, Token};

const TAKEN: View = &[
    Column::new("ACCOUNT", "account"),
    Column::new("KIND", "kind"),
    Column::new("MADE", "made"),
    Column::new("TOKENS", "tokens"),
    Column::new("KNOWN", "known"),
    Column::new("DELETED", "deleted"),
];
const REPORT: View = &[Column::table("ACCOUNTS", "accounts", TAKEN)];

/// What is imported.
#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// Take over Portainer's users and access tokens: who has a token goes on with it
    ///
    /// FILE is portainer.db, as it stands in Portainer's data folder or in a backup of it, or JSON: an object with the lists users and
    /// api_key, whose items are as they stand there. Users come without a password and without environments; tokens that were imported
    /// before are left as they are, also those that were deleted since.
    Portainer(PortainerArgs),
}

/// See [`ImportCommand::Portainer`].
#[derive(Debug, Args, PartialEq)]
pub(crate) struct PortainerArgs {
    /// Portainer's database, or the same in JSON
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The account for a user: made under this name, or the one that has it already (may be repeated)
    #[arg(long, value_name = "USER=ACCOUNT", value_parser = parse_mapping)]
    map: Vec<(String, AccountName)>,
    #[command(flatten)]
    wait: WaitArgs,
}

fn parse_mapping(text: &str) -> Result<(String, AccountName), String> {
    let (user, account) = text.rsplit_once('=').ok_or("must be USER=ACCOUNT")?;
    Ok((user.to_owned(), AccountName::parse(account).map_err(|why| format!("ACCOUNT {why}"))?))
}

impl From<ImportCommand> for Action {
    fn from(command: ImportCommand) -> Self {
        let ImportCommand::Portainer(args) = command;
        Self::Import(args)
    }
}

/// Runs `keygate import portainer`.
pub(super) async fn portainer(client: &Client, args: PortainerArgs, output: OutputFormat) -> Result<(), Failure> {
    let file = args.file.display();
    let bytes = fs::read(&args.file).map_err(|error| Failure::Unusable(format!("cannot read {file}: {error}")))?;
    let unusable = |why: String| Failure::Unusable(format!("nothing is imported: {file}: {why}"));
    let plan = Export::parse(&bytes).and_then(|export| plan(export, &args.map)).map_err(unusable)?;
    let call = Call::post(&["takeover"], Some(plan.body));
    let change = Action::Change(call, Outcome::TakenOver { left_out: plan.left_out }, args.wait);
    Box::pin(change.perform(client, output)).await.map_err(with_way_out)
}

/// Prints what came of an import, and what is left to do; so many tokens were not sent.
pub(super) fn print_report(report: &Value, left_out: usize, output: OutputFormat) -> Result<(), Failure> {
    output::print_object(report, REPORT, output)?;
    if left_out > 0 {
        output::print_note(&left_out_note(left_out));
    }
    if tells_of_made(report) {
        output::print_note(
            "accounts that were made have no password and no environment yet: keygate account set-password NAME, keygate member add --account NAME ...",
        );
    }
    Ok(())
}

fn left_out_note(tokens: usize) -> String {
    match tokens {
        1 => "left out: 1 token of a user who is gone".to_owned(),
        number => format!("left out: {number} tokens of users who are gone"),
    }
}

fn tells_of_made(report: &Value) -> bool {
    let accounts = report.get("accounts").and_then(Value::as_array);
    accounts.is_some_and(|accounts| accounts.iter().any(|account| account.get("made") == Some(&Value::Bool(true))))
}

/// What is asked of the control plane.
#[derive(Debug)]
struct Plan {
    body: Value,
    /// So many tokens have no user.
    left_out: usize,
}

fn plan(export: Export, map: &[(String, AccountName)]) -> Result<Plan, String> {
    let Export { users, tokens: all } = export;
    let mapped = |user: &str| map.iter().find(|(own, _)| own.eq_ignore_ascii_case(user)).map(|(_, account)| account);
    if let Some((unknown, _)) = map.iter().find(|(own, _)| !users.iter().any(|user| user.name.eq_ignore_ascii_case(own))) {
        return Err(format!("--map {unknown}: it has no such user"));
    }
    let mut digests = BTreeMap::new();
    for (index, token) in all.iter().enumerate() {
        if let Some(earlier) = digests.insert(token.digest, index) {
            return Err(format!("api_key[{index}].digest is that of api_key[{earlier}], too"));
        }
    }
    let mut tokens: BTreeMap<u64, Vec<Token>> = BTreeMap::new();
    all.into_iter().for_each(|token| tokens.entry(token.user).or_default().push(token));
    let mut names = BTreeMap::new();
    let mut accounts = Vec::new();
    for (index, user) in users.into_iter().enumerate() {
        let at = format!("users[{index}]");
        let mapping = mapped(&user.name);
        let name = match mapping {
            Some(account) => account.clone(),
            None => AccountName::parse(&user.name)
                .map_err(|why| format!("{at}.Username {:?} {why}: name an account for it with --map USER=ACCOUNT", user.name))?,
        };
        if let Some(earlier) = names.insert(name.as_str().to_ascii_lowercase(), index) {
            return Err(format!("{at} would be the account {name}, and so would users[{earlier}]: name another with --map"));
        }
        let own: Vec<Value> = tokens.remove(&user.id).unwrap_or_default().iter().map(Token::body).collect();
        accounts.push(json!({
            "name": name.as_str(), "kind": user.kind.as_str(), "existing": mapping.is_some(), "tokens": own,
        }));
    }
    Ok(Plan { body: json!({"accounts": accounts}), left_out: tokens.values().map(Vec::len).sum() })
}

/// Says the way out in this command's words.
fn with_way_out(failure: Failure) -> Failure {
    let Failure::Refused { code, message, field } = failure else { return failure };
    let way_out = match code.as_str() {
        "name_taken" => "--map NAME=NAME marks one as existing, --map NAME=OTHER gives it another name",
        "would_elevate" => "--map NAME=OTHER does that",
        "body_too_large" => {
            "import its users in several parts: a copy of the export with some of the users and their keys at a time"
        }
        _ => return Failure::Refused { code, message, field },
    };
    Failure::Refused { code, message: format!("nothing is imported: {message}: {way_out}"), field }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export() -> Value {
        let digest = |byte: &str| format!("{}=", byte.repeat(43));
        json!({
            "users": [
                {"Id": 1, "Username": "admin", "Password": "$2a$10$hash", "Role": 1},
                {"Id": 2, "Username": "DOM\\bob", "Role": 2},
            ],
            "api_key": [
                {"id": 1, "userId": 2, "description": "ci\n1", "prefix": "ptr_Ab1", "dateCreated": 1, "lastUsed": 0, "digest": digest("A")},
                {"id": 2, "userId": 7, "description": "", "prefix": "ptr_Ab1", "dateCreated": 1, "lastUsed": 0, "digest": digest("E")},
            ],
            "settings": {"LogoURL": ""},
        })
    }

    fn planned(export: &Value, map: &[&str]) -> Result<Plan, String> {
        let map: Vec<_> = map.iter().map(|text| parse_mapping(text).unwrap()).collect();
        Export::parse(export.to_string().as_bytes()).and_then(|export| plan(export, &map))
    }

    #[test]
    fn users_and_digests_are_sent_and_nothing_else() {
        let plan = planned(&export(), &["dom\\BOB=bob"]).unwrap();
        assert_eq!(plan.left_out, 1);
        let expected = json!({"accounts": [
            {"name": "admin", "kind": "admin", "existing": false, "tokens": []},
            {"name": "bob", "kind": "user", "existing": true, "tokens": [
                {"name": "ci 1", "prefix": "ptr_Ab1", "digest": "00".repeat(32)},
            ]},
        ]});
        assert_eq!(plan.body, expected);
    }

    #[test]
    fn what_cannot_be_taken_over_is_named_with_the_way_out() {
        let refused = |change: fn(&mut Value), map: &[&str]| {
            let mut export = export();
            change(&mut export);
            planned(&export, map).unwrap_err()
        };
        let bob = "DOM\\bob=bob";
        for (change, map, parts) in [
            ((|_| {}) as fn(&mut Value), &[][..], &["users[1].Username", "DOM", "--map"][..]),
            (|_| {}, &[bob, "carol=carol"], &["--map carol", "no such user"]),
            (|_| {}, &["DOM\\bob=Admin"], &["users[1] would be the account Admin", "users[0]", "--map"]),
            (
                |export| export["api_key"][1]["digest"] = export["api_key"][0]["digest"].clone(),
                &[bob],
                &["api_key[1].digest", "api_key[0]"],
            ),
            (|export| export["users"][1]["Id"] = 1.into(), &[bob], &["users[1].Id", "users[0]"]),
            (|export| export["api_key"][0]["digest"] = "AAAA".into(), &[bob], &["digest must be a SHA-256", "line 1 column"]),
            (|export| export["api_key"][0]["prefix"] = "a b".into(), &[bob], &["prefix must be", "line 1 column"]),
            (
                |export| export["users"][0]["Role"] = 3.into(),
                &[bob],
                &["Role must be 1 (administrator) or 2 (user)", "line 1 column"],
            ),
            (
                |export| drop(export["users"][0].as_object_mut().unwrap().remove("Username")),
                &[bob],
                &["missing field `Username`", "line 1"],
            ),
            (|export| drop(export.as_object_mut().unwrap().remove("users")), &[bob], &["missing field `users`"]),
            (|export| *export = json!([]), &[bob], &["line 1"]),
        ] {
            let why = refused(change, map);
            assert!(parts.iter().all(|part| why.contains(part)), "{why}");
        }
        let why = Export::parse(b"{\n  \"users\": [\n    {\"Id\": 1,}\n").unwrap_err();
        assert!(why.contains("line 3"), "{why}");
        for (bytes, part) in [(&b"\x1f\x8b\x08\x00"[..], "tar"), (b"", "EOF"), (b"\xff\xfe", "line 1")] {
            let why = Export::parse(bytes).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn tokens_that_were_left_out_are_counted() {
        assert_eq!(left_out_note(1), "left out: 1 token of a user who is gone");
        assert_eq!(left_out_note(2), "left out: 2 tokens of users who are gone");
    }

    #[test]
    fn what_is_left_to_do_is_told_when_an_account_was_made() {
        let report = |made: &[bool]| json!({"accounts": made.iter().map(|made| json!({"made": made})).collect::<Vec<_>>()});
        assert!(tells_of_made(&report(&[false, true])));
        assert!(!tells_of_made(&report(&[false])) && !tells_of_made(&report(&[])));
    }

    #[test]
    fn the_way_out_is_told_in_words_of_the_command_line() {
        let told = |code: &str| {
            let (code, message) = (code.to_owned(), "no".to_owned());
            with_way_out(Failure::Refused { code, message, field: None }).to_string()
        };
        assert!(told("name_taken").contains("--map NAME=NAME") && told("name_taken").contains("--map NAME=OTHER"));
        assert!(told("would_elevate").contains("--map NAME=OTHER"));
        assert!(!told("would_elevate").contains("NAME=NAME"), "that would elevate again");
        assert_eq!(told("forbidden"), "no");
    }

    #[test]
    fn a_mapping_names_a_user_and_an_account() {
        assert_eq!(parse_mapping("a=b=c").unwrap().0, "a=b");
        for text in ["a", "a=", "a=7", "a=b c"] {
            assert!(parse_mapping(text).is_err(), "{text}");
        }
    }
}
