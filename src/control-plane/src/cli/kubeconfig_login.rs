//! `keygate kubeconfig-login`: what kubectl runs to get a token, where a kubeconfig file carries none. A token is kept, for the user's eyes
//! alone, until it expires or is refused; then a password is asked for again. Standard output carries the credential and nothing else.

use std::env;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use keygate_decision::UnixSeconds;
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};

use super::client;
use super::connection::{ConnectionArgs, SecretKey, parse_url};
use super::failure::Failure;
use super::logins::Logins;
use super::output;
use super::secret::Asked;
use crate::clock::{Clock, second_of};
use crate::tls::Roots;

/// The format of credentials that kubectl reads.
const CREDENTIAL_VERSION: &str = "client.authentication.k8s.io/v1beta1";
/// What kubectl tells of the cluster, if the file says that it should.
const EXEC_INFO: &str = "KUBERNETES_EXEC_INFO";
const USER: &str = "KEYGATE_USER";
const PASSWORD: &str = "KEYGATE_PASSWORD";
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where to log in, and as whom.
#[derive(Debug, Args)]
pub(crate) struct KubeconfigLoginArgs {
    /// The one URL of edge and control plane
    #[arg(long, value_name = "URL")]
    server: String,
    /// The cluster that the token is for; without it, all that the account reaches
    #[arg(long, value_name = "ID", default_value = "", allow_hyphen_values = true)]
    cluster: String,
    /// The account's name; asked for if it is missing. KEYGATE_PASSWORD holds the password where there is no terminal
    #[arg(long, value_name = "NAME", env = USER, hide_env_values = true)]
    user: Option<String>,
    /// Whose signature to trust at the server, as base64 of PEM; kubectl's own word of it, and nobody else's, goes before it
    #[arg(long, value_name = "BASE64", default_value = "", hide_default_value = true)]
    certificate_authority_data: String,
}

/// Prints a credential for kubectl.
pub(super) async fn run(args: &KubeconfigLoginArgs, connection: &ConnectionArgs) -> Result<(), Failure> {
    let server =
        parse_url(&args.server).map_err(|_| Failure::Usage("--server must be the URL of a host, with https://".to_owned()))?;
    // What the file says is of this server; KEYGATE_CA may be of another one.
    let authority = authority(env::var(EXEC_INFO).ok().as_deref(), &args.certificate_authority_data)?;
    let ca = connection.ca();
    let roots = match (server.scheme(), &authority, &ca) {
        ("https", Some(pem), _) => Roots::Given("the kubeconfig's certificate-authority-data", pem),
        ("https", None, Some(file)) => Roots::File("--ca", file),
        ("https", None, None) => Roots::Machine,
        _ => Roots::Nobody,
    };
    let http = client::http(roots)?;
    let logins = Logins::of_user();
    let place = place(&server, args);
    let kept = logins.kept(&place).unwrap_or_else(|failure| {
        output::print_note(&format!("note: {failure}"));
        None
    });
    let now = Clock::system().now();
    if let Some(kept) = kept.filter(|kept| lives(kept, now))
        && !is_refused(&http, &server, args, &kept).await
    {
        return print(&kept);
    }
    let token = log_in(&http, &server, args).await?;
    if let Err(failure) = logins.keep(&place, &token) {
        output::print_note(&format!("note: {failure}"));
    }
    print(&token)
}

/// By what a token is kept: who it is for, and where it is for. Nothing is ever sent there.
fn place(server: &Url, args: &KubeconfigLoginArgs) -> Url {
    let mut place = server.clone();
    place.query_pairs_mut().append_pair("cluster", &args.cluster).append_pair("user", args.user.as_deref().unwrap_or_default());
    place
}

/// The certificates, as PEM, by which the cluster is trusted, if any are known: as kubectl tells them, or as the file's own line does,
/// for clients that run the command but tell it nothing.
fn authority(told: Option<&str>, line: &str) -> Result<Option<Vec<u8>>, Failure> {
    let unusable = || Failure::Usage(format!("{EXEC_INFO}, which kubectl sets, cannot be read"));
    let told = told.map(serde_json::from_str::<Value>).transpose().map_err(|_| unusable())?;
    let data = told.as_ref().and_then(|told| told.pointer("/spec/cluster/certificate-authority-data")).and_then(Value::as_str);
    match (data.filter(|data| !data.is_empty()), line) {
        (Some(data), _) => STANDARD.decode(data).map(Some).map_err(|_| unusable()),
        (None, "") => Ok(None),
        (None, line) => STANDARD
            .decode(line)
            .map(Some)
            .map_err(|_| Failure::Usage("--certificate-authority-data must be certificates, as PEM in base64".to_owned())),
    }
}

/// Whether what is kept has a token that has not expired.
fn lives(kept: &Value, now: UnixSeconds) -> bool {
    let text = |field: &str| kept.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let expires = text("expiresAt").map(|end| humantime::parse_rfc3339(end).map(second_of));
    text("token").is_some() && expires.is_none_or(|end| end.is_ok_and(|end| now < end))
}

/// Whether the token is refused. Where nobody answers, kubectl will find out by itself.
async fn is_refused(http: &reqwest::Client, server: &Url, args: &KubeconfigLoginArgs, kept: &Value) -> bool {
    let token = kept.get("token").and_then(Value::as_str).unwrap_or_default();
    let Ok(url) = below(server, &["v3", "clusters", &args.cluster]) else { return false };
    let answer = http.get(url).bearer_auth(token).timeout(ANSWER_TIMEOUT).send().await;
    answer.is_ok_and(|answer| answer.status() == StatusCode::UNAUTHORIZED)
}

/// Asks for a password and gives the token that it opens, with its expiry.
async fn log_in(http: &reqwest::Client, server: &Url, args: &KubeconfigLoginArgs) -> Result<Value, Failure> {
    let user = match args.user.clone().filter(|user| !user.is_empty()) {
        Some(user) => user,
        None => ask_user()?,
    };
    let password = match env::var(PASSWORD).ok().filter(|password| !password.is_empty()) {
        Some(password) => SecretKey::from(password),
        None => SecretKey::from(Asked::Terminal.read(&format!("Password of {user} at {server}")).map_err(|_| no_terminal())?),
    };
    let response = if args.cluster.is_empty() { "kubeconfig".to_owned() } else { format!("kubeconfig_{}", args.cluster) };
    let body = json!({"username": user, "password": password.expose(), "responseType": response});
    let mut url = below(server, &["v3-public", "localProviders", "local"])?;
    url.set_query(Some("action=login"));
    let answer = http.post(url).json(&body).timeout(ANSWER_TIMEOUT).send().await;
    let answer =
        answer.map_err(|error| Failure::NoAnswer(format!("no answer from {server} ({})", client::root_cause(&error))))?;
    let status = answer.status();
    let answer: Value = answer.json().await.unwrap_or_default();
    let text = |field: &str| answer.get(field).and_then(Value::as_str).map(str::to_owned);
    match (status, text("token")) {
        (StatusCode::CREATED, Some(token)) => Ok(json!({"token": token, "expiresAt": text("expiresAt")})),
        _ => Err(Failure::Refused {
            code: text("code").unwrap_or_default(),
            message: match text("message") {
                Some(message) => format!("{message}{}", text("detail").map(|detail| format!(": {detail}")).unwrap_or_default()),
                None => format!("{server} answered {status}, but not as a control plane does"),
            },
            field: text("fieldName"),
        }),
    }
}

fn no_terminal() -> Failure {
    Failure::Usage(format!("there is no terminal to ask for the password on: set {PASSWORD}, or run kubectl in one"))
}

/// Asks on standard error: standard output is for the credential.
fn ask_user() -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("whose password? Pass --user, or set {USER}")));
    }
    let mut name = String::new();
    let asked = io::stderr().write_all(b"Name: ").and_then(|()| io::stdin().lock().read_line(&mut name));
    asked.map_err(|error| Failure::Usage(format!("cannot ask for the name: {error}")))?;
    Ok(name.trim().to_owned())
}

fn below(server: &Url, segments: &[&str]) -> Result<Url, Failure> {
    let mut url = server.clone();
    match url.path_segments_mut() {
        Ok(mut path) => drop(path.pop_if_empty().extend(segments)),
        Err(()) => return Err(Failure::Usage("--server must be the URL of a host".to_owned())),
    }
    Ok(url)
}

fn print(kept: &Value) -> Result<(), Failure> {
    let text = |field: &str| kept.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let mut status = json!({"token": text("token")});
    if let (Some(status), Some(end)) = (status.as_object_mut(), text("expiresAt")) {
        status.insert("expirationTimestamp".to_owned(), end.into());
    }
    let credential = json!({"apiVersion": CREDENTIAL_VERSION, "kind": "ExecCredential", "status": status});
    Ok(output::print_script(format!("{credential}\n").as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_used_until_its_very_second() {
        let kept = |end: Value| json!({"token": "a:b", "expiresAt": end});
        let end = "2027-01-15T08:00:00Z";
        let at = |second| lives(&kept(json!(end)), UnixSeconds(second));
        assert!(at(1_799_999_999) && !at(1_800_000_000));
        assert!(lives(&kept(Value::Null), UnixSeconds(0)) && lives(&kept(json!("")), UnixSeconds(0)), "one that never expires");
        assert!(!lives(&kept(json!("soon")), UnixSeconds(0)) && !lives(&json!({"expiresAt": end}), UnixSeconds(0)));
    }

    #[test]
    fn what_kubectl_trusts_is_trusted() {
        let told = |cluster: Value, line: &str| {
            authority(Some(&json!({"kind": "ExecCredential", "spec": {"cluster": cluster}}).to_string()), line)
        };
        let (pem, other) = (STANDARD.encode("pem"), STANDARD.encode("other"));
        assert_eq!(told(json!({"certificate-authority-data": pem}), &other).unwrap(), Some(b"pem".to_vec()));
        assert_eq!(told(json!({"server": "https://host"}), "").unwrap(), None);
        assert_eq!(told(json!({"certificate-authority-data": ""}), "").unwrap(), None);
        assert!(told(json!({"certificate-authority-data": "!"}), &other).is_err() && authority(Some(""), &other).is_err());
    }

    #[test]
    fn what_the_file_says_is_trusted_where_the_client_tells_nothing() {
        let line = STANDARD.encode("pem");
        assert_eq!(authority(None, &line).unwrap(), Some(b"pem".to_vec()));
        assert_eq!(authority(Some(r#"{"spec": {"interactive": false}}"#), &line).unwrap(), Some(b"pem".to_vec()));
        assert_eq!(authority(None, "").unwrap(), None);
        assert!(authority(None, "!").is_err());
    }

    #[test]
    fn a_cluster_of_any_id_is_taken() {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: KubeconfigLoginArgs,
        }
        let line = Line::try_parse_from(["keygate", "--server", "https://host", "--cluster", "-x", "--user", "bob"]).unwrap();
        assert_eq!((line.args.cluster.as_str(), line.args.user.as_deref()), ("-x", Some("bob")));
    }

    #[test]
    fn tokens_of_different_clusters_and_users_are_kept_apart() {
        let server = Url::parse("https://host").unwrap();
        let place = |cluster: &str, user: Option<&str>| {
            let args = KubeconfigLoginArgs {
                server: String::new(),
                cluster: cluster.to_owned(),
                user: user.map(str::to_owned),
                certificate_authority_data: String::new(),
            };
            place(&server, &args)
        };
        assert_ne!(place("c-a", Some("alice")), place("c-b", Some("alice")));
        assert_ne!(place("c-a", Some("alice")), place("c-a", Some("bob")));
        assert_ne!(place("c-a", Some("alice")), place("c-a", None));
    }
}
