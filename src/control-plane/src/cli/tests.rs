//! Every command from its text to the call it makes, and the client against canned answers.

use std::time::Instant;

use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::{Json, Router};
use clap::Parser;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::action::Outcome;
use super::client::{Call, Reply};
use super::*;
use crate::operations::Missing;

#[derive(Debug, Parser)]
#[command(name = "keygate")]
struct Cli {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[arg(long, global = true, value_enum, default_value_t)]
    output: OutputFormat,
    #[command(subcommand)]
    command: Command,
}

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn action(line: &str) -> Action {
    parse(line).unwrap_or_else(|error| panic!("{line}: {error}")).command.into()
}

/// The call of a command, and for how long it waits.
fn call(line: &str) -> (Call, Option<u16>) {
    match action(line) {
        Action::List(call, _) | Action::ListSome(call, ..) | Action::Show(call, _) => (call, None),
        Action::Change(call, _, wait) => (call, wait.seconds()),
        Action::LogIn(_) | Action::LogOut(_) | Action::SetPassword(_) => panic!("{line} asks first"),
        Action::Import(_) => panic!("{line} reads a file first"),
    }
}

#[test]
fn each_command_makes_its_call() {
    use Method as M;
    let none = Value::Null;
    let cases = [
        ("account create --name alice --kind user", M::POST, "accounts", json!({"name": "alice", "kind": "user"})),
        ("account create --name root --kind admin", M::POST, "accounts", json!({"name": "root", "kind": "admin"})),
        ("account list", M::GET, "accounts", none.clone()),
        ("account show alice", M::GET, "accounts/alice", none.clone()),
        ("account deactivate alice", M::POST, "accounts/alice/deactivate", none.clone()),
        ("account activate alice", M::POST, "accounts/alice/activate", none.clone()),
        ("account delete alice", M::DELETE, "accounts/alice", none.clone()),
        ("environment create --id 1a5 --name prod", M::POST, "environments", json!({"id": "1a5", "name": "prod"})),
        ("environment list", M::GET, "environments", none.clone()),
        ("environment show 1a5", M::GET, "environments/1a5", none.clone()),
        ("environment edit 1a5 --name p2", M::PATCH, "environments/1a5", json!({"name": "p2"})),
        ("environment delete 1a5", M::DELETE, "environments/1a5", none.clone()),
        (
            "member add --environment 1a5 --account alice --role readonly",
            M::PUT,
            "environments/1a5/members/alice",
            json!({"role": "readonly"}),
        ),
        ("member list --environment 1a5", M::GET, "environments/1a5/members", none.clone()),
        ("member remove --environment 1a5 --account alice", M::DELETE, "environments/1a5/members/alice", none.clone()),
        ("key create --account alice --name ci", M::POST, "keys", json!({"account": "alice", "name": "ci"})),
        (
            "key create --environment 1a5 --name ci --description robots --ttl 90d",
            M::POST,
            "keys",
            json!({"environment": "1a5", "name": "ci", "description": "robots", "ttlSeconds": 7_776_000}),
        ),
        ("key list", M::GET, "keys", none.clone()),
        ("key show 7", M::GET, "keys/7", none.clone()),
        ("key edit 7 --description robots", M::PATCH, "keys/7", json!({"description": "robots"})),
        ("key edit 7 --name a --description=", M::PATCH, "keys/7", json!({"name": "a", "description": ""})),
        ("key deactivate 7", M::POST, "keys/7/deactivate", none.clone()),
        ("key activate 7", M::POST, "keys/7/activate", none.clone()),
        ("key delete 7", M::DELETE, "keys/7", none.clone()),
        ("proxy list", M::GET, "proxies", none.clone()),
        ("proxy show edge-1", M::GET, "proxies/edge-1", none.clone()),
        ("proxy forget edge-1", M::DELETE, "proxies/edge-1", none.clone()),
        ("proxy forget edge-1 --former", M::DELETE, "proxies/edge-1/former", none.clone()),
        ("setting list", M::GET, "settings", none.clone()),
        ("setting show login-ttl-minutes", M::GET, "settings/login-ttl-minutes", none.clone()),
        ("setting set login-ttl-minutes 60", M::PUT, "settings/login-ttl-minutes", json!({"value": "60"})),
        ("setting set cacerts -----BEGIN", M::PUT, "settings/cacerts", json!({"value": "-----BEGIN"})),
        ("setting unset login-ttl-minutes", M::DELETE, "settings/login-ttl-minutes", none.clone()),
        ("proxy token create edge-1", M::POST, "proxies/edge-1/tokens", json!({})),
        ("proxy token create edge-1 --description rack7", M::POST, "proxies/edge-1/tokens", json!({"description": "rack7"})),
        ("proxy token list", M::GET, "proxy-tokens", none.clone()),
        ("proxy token list edge-1", M::GET, "proxies/edge-1/tokens", none.clone()),
        ("proxy token revoke 3", M::DELETE, "proxy-tokens/3", none.clone()),
    ];
    for (line, method, path, body) in cases {
        let (call, wait) = call(&format!("keygate {line}"));
        assert_eq!((call.method, call.path.join("/")), (method, path.to_owned()), "{line}");
        assert_eq!((call.body.unwrap_or_default(), call.query, wait), (body, vec![], None), "{line}");
    }
}

#[test]
fn keys_are_listed_by_owner_and_by_whether_they_expire() {
    assert_eq!(call("keygate key list --never-expires").0.query, [("neverExpires", "true".to_owned())]);
    assert_eq!(call("keygate key list --account alice").0.query, [("account", "alice".to_owned())]);
    assert_eq!(call("keygate key list --environment 1a5").0.query, [("environment", "1a5".to_owned())]);
    assert!(parse("keygate key list --environment 1a5 --account alice").is_err());
}

#[test]
fn a_setting_that_begins_with_hyphens_may_still_be_waited_for() {
    let (call, wait) = call("keygate setting set cacerts -----BEGIN --wait 5");
    assert_eq!((call.body, wait), (Some(json!({"value": "-----BEGIN"})), Some(5)));
}

#[test]
fn what_begins_with_a_hyphen_is_refused_in_the_options_own_words() {
    for (line, option, words) in [
        ("key create --account a --name a --ttl -5d", "--ttl", "write 90d"),
        ("key create --account a --name a --ttl -1", "--ttl", "write 90d"),
        ("audit list --since -1h", "--since", "how long ago"),
        ("audit list --until -1h", "--until", "how long ago"),
        ("audit list --limit -1", "--limit", "1..=1000"),
    ] {
        let told = parse(&format!("keygate {line}")).expect_err(line).to_string();
        assert!(told.contains(option) && told.contains(words), "{line}: {told}");
    }
    // Which names accounts may have is for the control plane to say.
    let (call, _) = call("keygate account create --name -x --kind user");
    assert_eq!(call.body, Some(json!({"name": "-x", "kind": "user"})));
}

#[test]
fn who_looks_for_what_is_not_there_is_told_a_command_that_shows_what_is() {
    let missing = [
        Missing::account("x"),
        Missing::environment("x"),
        Missing::member("x"),
        Missing::key("x"),
        Missing::setting("x"),
        Missing::proxy_token("x"),
        Missing::proxy("x"),
    ];
    for message in missing.map(|missing| missing.to_string()) {
        let command = message.split('`').nth(1).expect("a command");
        assert!(parse(command).is_ok(), "{message}");
    }
    assert!(Missing::login("7").to_string().contains("`GET /keygate/v1/logins`"), "no command lists logins");
}

#[test]
fn audit_records_are_chosen_by_time_account_and_key() {
    let query = call("keygate audit list --since 2026-11-21T20:00:00Z --account alice --key 7 --limit 5 --before 99").0.query;
    let expected = [("since", "2026-11-21T20:00:00Z"), ("account", "alice"), ("key", "7"), ("limit", "5"), ("before", "99")];
    assert_eq!(query, expected.map(|(name, value)| (name, value.to_owned())));
    assert_eq!(call("keygate audit list").0.query, [("limit", "100".to_owned())], "so that it is known when there may be more");
    assert!(parse("keygate audit list --since yesterday").is_err());
}

#[test]
fn passwords_are_asked_for_and_never_taken_from_the_command_line() {
    assert!(matches!(action("keygate login alice --stdin"), Action::LogIn(_)));
    assert!(matches!(action("keygate logout --wait 5"), Action::LogOut(wait) if wait.seconds() == Some(5)));
    assert!(matches!(action("keygate account set-password alice"), Action::SetPassword(_)));
    for line in ["login alice hush", "login alice --password hush", "login", "account set-password alice hush", "logout alice"] {
        assert!(parse(&format!("keygate {line}")).is_err(), "{line}");
    }
}

#[test]
fn only_a_creation_shows_a_secret() {
    let Action::Change(_, outcome, _) = action("keygate key create --account alice --name ci") else { panic!("no change") };
    assert_eq!(outcome, Outcome::NewKey);
    let Action::Change(_, outcome, _) = action("keygate key deactivate 7") else { panic!("no change") };
    assert!(matches!(outcome, Outcome::Object(_)));
}

#[test]
fn a_key_has_exactly_one_owner() {
    assert!(parse("keygate key create --name ci").is_err());
    assert!(parse("keygate key create --name ci --account alice --environment 1a5").is_err());
}

#[test]
fn an_edit_changes_something() {
    assert!(parse("keygate key edit 7").is_err());
    assert!(parse("keygate environment edit 1a5").is_err());
}

#[test]
fn wait_is_understood_before_and_after_the_id() {
    for (line, seconds) in [
        ("key deactivate 7", None),
        ("key deactivate 7 --wait", Some(10)),
        ("key deactivate 7 --wait 5", Some(5)),
        ("key deactivate 7 --wait=5", Some(5)),
        ("key deactivate --wait 5 7", Some(5)),
        ("key deactivate --wait=5 7", Some(5)),
        ("key deactivate --wait -- 7", Some(10)),
        ("key deactivate --wait --output json 7", Some(10)),
    ] {
        let (call, wait) = call(&format!("keygate {line}"));
        assert_eq!((call.path.join("/"), wait), ("keys/7/deactivate".to_owned(), seconds), "{line}");
    }
}

#[test]
fn a_number_after_wait_is_never_taken_for_an_id() {
    assert!(parse("keygate key deactivate --wait 7").is_err());
    assert!(parse("keygate account deactivate --wait alice").is_err());
    assert!(parse("keygate key deactivate 7 --wait 301").is_err());
}

#[test]
fn every_change_can_wait() {
    for line in [
        "account create --name a --kind user",
        "account deactivate a",
        "account activate a",
        "account delete a",
        "environment create --id 1 --name a",
        "environment edit 1 --name a",
        "environment delete 1",
        "member add --environment 1 --account a --role owner",
        "member remove --environment 1 --account a",
        "key create --account a --name a",
        "key edit 7 --name a",
        "key deactivate 7",
        "key activate 7",
        "key delete 7",
        "proxy forget a",
        "setting set a b",
        "setting unset a",
    ] {
        assert_eq!(call(&format!("keygate {line} --wait 3")).1, Some(3), "{line}");
    }
}

#[test]
fn a_reference_cannot_leave_its_place_in_the_path() {
    for line in ["key show .", "key delete ..", "account show ...", "member list --environment=", "proxy forget ."] {
        assert!(parse(&format!("keygate {line}")).is_err(), "{line}");
    }
}

#[test]
fn output_is_a_table_unless_told_otherwise_wherever_it_is_told() {
    let output = |line| parse(line).map(|cli| cli.output).ok();
    assert_eq!(output("keygate key list"), Some(OutputFormat::Table));
    assert_eq!(output("keygate key list --output json"), Some(OutputFormat::Json));
    assert_eq!(output("keygate --output json key list"), Some(OutputFormat::Json));
    assert_eq!(output("keygate key list --output yaml"), None);
}

/// A control plane that knows a few answers and, at any other path, shows what reached it.
async fn canned() -> Client {
    async fn answer(uri: Uri, headers: HeaderMap) -> axum::response::Response {
        let path = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let refusal = json!({"code": "invalid", "message": "too long", "field": "name"});
        let acknowledgement = |missing: &[&str]| json!({"revision": 1, "acknowledged": ["a"], "closed": [], "missing": missing});
        match path.trim_start_matches("/base").trim_start_matches("/keygate/v1/") {
            "nowhere" => {
                (StatusCode::NOT_FOUND, Json(json!({"code": "no_such_path", "message": "nothing is here"}))).into_response()
            }
            "unknown" => (StatusCode::UNAUTHORIZED, Json(json!({"code": "unauthorized", "message": "no"}))).into_response(),
            "refused" => (StatusCode::UNPROCESSABLE_ENTITY, Json(refusal)).into_response(),
            "html" => (StatusCode::BAD_GATEWAY, "<h1>Bad gateway</h1>").into_response(),
            "moved" => (StatusCode::FOUND, [("location", "/elsewhere")]).into_response(),
            "text" => "hello".into_response(),
            "gone" => (StatusCode::NO_CONTENT, [("keygate-revision", "42")]).into_response(),
            "held?wait=0" => {
                (StatusCode::NO_CONTENT, [("keygate-acknowledged", "a,b"), ("keygate-closed", ""), ("keygate-missing", "c")])
                    .into_response()
            }
            "revisions/1?wait=0" => Json(acknowledgement(&[])).into_response(),
            "revisions/2?wait=0" => Json(acknowledgement(&["edge-2"])).into_response(),
            _ => {
                let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
                Json(json!({"path": path, "authorization": authorization})).into_response()
            }
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let client = client_of(&format!("http://{}/base/", listener.local_addr().expect("an address")));
    tokio::spawn(async { axum::serve(listener, Router::new().fallback(answer)).await });
    client
}

fn client_of(url: &str) -> Client {
    let line = format!("keygate --url {url} --access-key A --secret-key S key list");
    Client::new(&parse(&line).expect("a command line").connection).expect("a client")
}

#[tokio::test]
async fn segments_and_query_values_are_encoded_and_the_credential_is_sent() {
    let call = Call::get(&["keys", "a/../b?c#d%2e"]).with_query("account", Some("a&b=c"));
    let reply = canned().await.send(&call).await.expect("an answer");
    let path = "/base/keygate/v1/keys/a%2F..%2Fb%3Fc%23d%252e?account=a%26b%3Dc";
    assert_eq!(reply.body, json!({"path": path, "authorization": "Basic QTpT"}));
}

#[tokio::test]
async fn a_removal_has_no_body_and_a_revision() {
    let reply = canned().await.send(&Call::delete(&["gone"])).await.expect("an answer");
    assert_eq!((reply.body, reply.revision), (Value::Null, Some(42)));
}

#[tokio::test]
async fn a_refusal_carries_message_and_field() {
    let failure = canned().await.send(&Call::get(&["refused"])).await.expect_err("a refusal");
    assert!(matches!(failure, Failure::Refused { .. }));
    assert_eq!(failure.to_string(), "too long (field: name)");
    let refused = |message: &str| {
        Failure::Refused { code: "invalid".to_owned(), message: message.to_owned(), field: Some("name".to_owned()) }.to_string()
    };
    assert_eq!(refused("name: must not be blank"), "name: must not be blank");
}

#[tokio::test]
async fn what_this_command_was_told_wrongly_is_named() {
    let client = canned().await;
    let told = async |client: &Client, path: &str| client.send(&Call::get(&[path])).await.expect_err("a refusal").to_string();
    assert_eq!(told(&client, "nowhere").await, "nothing is here: set KEYGATE_URL or pass --url, without a path");
    let rooted = client_of(client.url().join("/").expect("a URL").as_str());
    assert_eq!(told(&rooted, "nowhere").await, "nothing is here", "there is no path to leave out");
    let unknown = told(&client, "unknown").await;
    assert!(unknown.contains("KEYGATE_ACCESS_KEY and KEYGATE_SECRET_KEY") && unknown.contains("keygate login"), "{unknown}");
    let ended = told(&client.with_token("t".to_owned()), "unknown").await;
    assert!(ended.contains("log in again") && !ended.contains("KEYGATE_ACCESS_KEY"), "{ended}");
    // Whoever shows nothing has shown nothing wrong.
    let openly = client.send_openly(&Call::get(&["unknown"])).await.expect_err("a refusal");
    assert_eq!(openly.to_string(), "no");
}

#[tokio::test]
async fn a_change_that_was_held_back_needs_no_second_call() {
    let client = canned().await;
    let reply = client.send(&Call::delete(&["held"]).waiting(0)).await.expect("an answer");
    match wait::for_proxies(&client, reply, 0, Instant::now()).await {
        Err(Failure::NotAcknowledged(message)) => assert!(message.contains("by c; 2 proxies did"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_secret_is_printed_before_anything_is_awaited() {
    for (line, query) in [("key create --account a --name a --wait 0", false), ("key deactivate 7 --wait 0", true)] {
        let Action::Change(call, outcome, wait) = action(&format!("keygate {line}")) else { panic!("no change") };
        assert_eq!(!Action::sent(call, &outcome, wait).query.is_empty(), query, "{line}");
    }
}

#[tokio::test]
async fn what_is_not_a_control_plane_is_told_so() {
    let client = canned().await;
    for path in ["html", "moved", "text"] {
        let failure = client.send(&Call::get(&[path])).await.expect_err("no answer of ours");
        assert!(failure.to_string().contains("not as a control plane does"), "{path}: {failure}");
    }
}

#[tokio::test]
async fn a_failed_connection_names_the_url_and_how_to_set_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let message = client_of(&url).send(&Call::get(&["keys"])).await.expect_err("nobody listens").to_string();
    for part in [&*url, "refused", "KEYGATE_URL", "--url"] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn a_wait_succeeds_only_when_nobody_is_missing() {
    let client = canned().await;
    let reply = |revision| Reply { body: Value::Null, revision, acknowledgement: None };
    let wait = |revision| wait::for_proxies(&client, reply(revision), 0, Instant::now());
    assert!(wait(Some(1)).await.is_ok());
    for (revision, part) in [(Some(2), "edge-2"), (Some(3), "unknown"), (None, "unknown")] {
        match wait(revision).await {
            Err(Failure::NotAcknowledged(message)) => assert!(message.contains(part), "{message}"),
            other => panic!("{revision:?}: {other:?}"),
        }
    }
}

#[test]
fn a_name_with_a_line_end_is_not_taken_for_another_without() {
    for name in ["7\n12", "bob\nalice", ".\t.", "7\r", "\t"] {
        let parsed = Cli::try_parse_from(["keygate", "key", "deactivate", name]);
        assert!(parsed.unwrap_err().to_string().contains("no line end or tab"), "{name:?}");
    }
    assert!(Cli::try_parse_from(["keygate", "key", "deactivate", "7"]).is_ok());
}
