//! The settings of the connection: where the control plane listens and which key to act with, from flags or the environment.
//!
//! They are parsed when a command needs them, not by clap: they are global, and a wrong `KEYGATE_URL` must not stop
//! `keygate serve`. Never shows the secret key, neither in a help text nor in a `Debug` output.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use reqwest::Url;

use super::failure::Failure;
use super::logins::Logins;

const HEADING: &str = "Connection";
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// Global options that say where the control plane is and which key to act with.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectionArgs {
    /// Where the control plane listens
    #[arg(long, global = true, help_heading = HEADING, env = "KEYGATE_URL", hide_env_values = true, default_value = DEFAULT_URL)]
    url: String,
    /// Certificates to trust at an https URL, as PEM, instead of those that this machine trusts
    #[arg(long, global = true, help_heading = HEADING, value_name = "FILE", env = "KEYGATE_CA", hide_env_values = true)]
    ca: Option<OsString>,
    /// Access key of the key to act with
    #[arg(long, global = true, help_heading = HEADING, env = "KEYGATE_ACCESS_KEY", hide_env_values = true)]
    access_key: Option<String>,
    /// Secret key of the key to act with; other users of the machine can see flags, so prefer the variable
    #[arg(long, global = true, help_heading = HEADING, env = "KEYGATE_SECRET_KEY", hide_env_values = true)]
    secret_key: Option<SecretKey>,
}

impl ConnectionArgs {
    /// The file of those who may have signed the control plane's certificate.
    pub(super) fn ca(&self) -> Option<PathBuf> {
        // A variable that is set to nothing counts as missing.
        self.ca.clone().filter(|file| !file.is_empty()).map(PathBuf::from)
    }
}

/// Settings that can be used: an `http` or `https` URL of a host, whom to trust there, and what to show.
#[derive(Debug)]
pub(super) struct Connection {
    /// The URL as it was given, for messages.
    pub(super) url: Url,
    /// The file of those who may have signed the control plane's certificate.
    pub(super) ca: Option<PathBuf>,
    /// What to show; `None` if neither a key was given nor a login is kept, a message if one is kept that cannot be used: a new login
    /// needs none and takes its place.
    pub(super) credential: Result<Option<Credential>, String>,
}

/// What is shown to the control plane.
#[derive(Debug)]
pub(super) enum Credential {
    /// Both halves of a key, never empty.
    Key(String, SecretKey),
    /// The token of a login.
    Login(SecretKey),
}

/// The secret half of a key, or the token of a login; its `Debug` shows nothing of it.
#[derive(Clone)]
pub(super) struct SecretKey(String);

impl Connection {
    /// Reads the settings. A key that is given goes before a login that is kept.
    pub(super) fn new(args: &ConnectionArgs, logins: &Logins) -> Result<Self, Failure> {
        // A variable that is set to nothing counts as missing.
        let url = parse_url(if args.url.is_empty() { DEFAULT_URL } else { &args.url })?;
        let access_key = args.access_key.clone().filter(|text| !text.is_empty());
        let ca = args.ca();
        let secret_key = args.secret_key.clone().filter(|secret| !secret.0.is_empty());
        let credential = match (access_key, secret_key) {
            (Some(access_key), Some(secret_key)) => Ok(Some(Credential::Key(access_key, secret_key))),
            (Some(_), None) => return Err(missing("the secret key is missing: set KEYGATE_SECRET_KEY or pass --secret-key")),
            (None, Some(_)) => return Err(missing("the access key is missing: set KEYGATE_ACCESS_KEY or pass --access-key")),
            (None, None) => match logins.token(&url) {
                Ok(token) => Ok(token.map(Credential::Login)),
                Err(failure) => Err(failure.to_string()),
            },
        };
        Ok(Self { url, ca, credential })
    }

    /// What to show where something must be shown.
    pub(super) fn credential(&self) -> Result<&Credential, Failure> {
        let credential = self.credential.as_ref().map_err(|unusable| missing(unusable))?;
        credential.as_ref().ok_or_else(|| {
            missing(
                "no key to act with: set KEYGATE_ACCESS_KEY and KEYGATE_SECRET_KEY, or pass --access-key and --secret-key; or log in \
                 with a password: keygate login NAME",
            )
        })
    }
}

impl SecretKey {
    /// The secret itself, for the one header that carries it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretKey {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl FromStr for SecretKey {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretKey(..)")
    }
}

/// Parses the URL of a control plane.
pub(super) fn parse_url(text: &str) -> Result<Url, Failure> {
    // The text is not repeated: it may hold a password.
    let wrong = |what: &str| Failure::Usage(format!("the URL of the control plane {what}: set KEYGATE_URL or pass --url"));
    let url = Url::parse(text).map_err(|error| wrong(&format!("cannot be read ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("must begin with https:// or http://, this command speaks no other scheme"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must hold no credential, those have options of their own"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("must hold neither a query nor a fragment"));
    }
    Ok(url)
}

fn missing(message: &str) -> Failure {
    Failure::Usage(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(url: &str, access_key: Option<&str>, secret_key: Option<&str>) -> ConnectionArgs {
        ConnectionArgs {
            url: url.to_owned(),
            ca: None,
            access_key: access_key.map(str::to_owned),
            secret_key: secret_key.map(|text| SecretKey(text.to_owned())),
        }
    }

    fn failure(args: &ConnectionArgs) -> String {
        match Connection::new(args, &Logins::none()).and_then(|connection| connection.credential().map(drop)) {
            Err(Failure::Usage(message)) => message,
            other => panic!("expected a usage failure, got {other:?}"),
        }
    }

    #[test]
    fn missing_credentials_name_the_variables_and_flags() {
        let message = failure(&args("http://127.0.0.1:8080", None, Some("")));
        for name in ["KEYGATE_ACCESS_KEY", "KEYGATE_SECRET_KEY", "--access-key", "--secret-key", "keygate login"] {
            assert!(message.contains(name), "{message}");
        }
        assert!(failure(&args("http://127.0.0.1:8080", Some("A"), None)).contains("KEYGATE_SECRET_KEY"));
        assert!(failure(&args("http://127.0.0.1:8080", Some(""), Some("S"))).contains("KEYGATE_ACCESS_KEY"));
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_without_repeating_it() {
        for url in
            ["/", "127.0.0.1:8080", "localhost:8080", "ftp://host", "http://u:passw0rd@host", "http://host/?q=1", "http://"]
        {
            let message = failure(&args(url, Some("A"), Some("S")));
            assert!(message.contains("--url") && !message.contains("passw0rd"), "{url}: {message}");
        }
    }

    #[test]
    fn a_url_that_is_set_to_nothing_counts_as_missing() {
        let connection = Connection::new(&args("", Some("A"), Some("S")), &Logins::none()).unwrap();
        assert_eq!(connection.url.as_str(), format!("{DEFAULT_URL}/"));
    }

    #[test]
    fn a_login_that_is_kept_is_used_unless_a_key_is_given() {
        let scratch = crate::api::Scratch::new();
        let logins = Logins::below(scratch.path());
        let here = "http://127.0.0.1:8080";
        logins.keep(&Url::parse(here).unwrap(), &serde_json::json!({"token": "hush"})).unwrap();
        let credential = |args| Connection::new(&args, &logins).unwrap().credential.unwrap();
        assert!(matches!(credential(args(here, None, Some(""))), Some(Credential::Login(token)) if token.expose() == "hush"));
        assert!(matches!(credential(args(here, Some("A"), Some("S"))), Some(Credential::Key(..))));
        assert!(credential(args("http://127.0.0.1:8081", None, None)).is_none());
        assert!(Connection::new(&args(here, Some("A"), None), &logins).is_err(), "half a key is a mistake");
        logins.keep(&Url::parse(here).unwrap(), &serde_json::json!({})).unwrap();
        let damaged = Connection::new(&args(here, None, None), &logins).unwrap();
        assert!(damaged.credential().is_err_and(|failure| failure.to_string().contains("keygate login")));
    }

    #[test]
    fn debug_output_hides_the_secret_key() {
        let args = args("http://host", Some("ACCESS"), Some("hush"));
        assert!(!format!("{args:?}{:?}", Connection::new(&args, &Logins::none())).contains("hush"));
    }
}
