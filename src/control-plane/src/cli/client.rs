//! The HTTP side: one [`Call`] of the native API sent, its answer told apart from a refusal and from no answer at all.
//!
//! Never prints, never follows a redirect or uses a proxy (either would hand the credential to somebody else), and never sends a
//! call twice: what was sent may have been done.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::{Method, Url, header::HeaderMap, redirect};
use serde::Deserialize;
use serde_json::Value;

use super::connection::{Connection, ConnectionArgs, Credential, SecretKey};
use super::failure::Failure;
use super::logins::Logins;
use crate::tls::{self, Roots};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const REVISION_HEADER: &str = "keygate-revision";
const ACKNOWLEDGED_HEADER: &str = "keygate-acknowledged";
const CLOSED_HEADER: &str = "keygate-closed";
const MISSING_HEADER: &str = "keygate-missing";

/// One call of the native API, as data.
#[derive(Debug, PartialEq)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Segments after `/keygate/v1`, not yet encoded.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<Value>,
    /// For how long the control plane may hold its answer back.
    pub(super) wait: Duration,
}

/// Names one thing in a path: not empty, not dots alone, which a URL would fold into the path of something else, and without line ends or
/// tabs, which a URL leaves out: of two numbers in two lines it would make one, somebody else's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reference(String);

/// What the control plane answered to a call that it did.
#[derive(Debug)]
pub(super) struct Reply {
    /// The body, `null` if there was none.
    pub(super) body: Value,
    /// The revision of the table that contains the change.
    pub(super) revision: Option<u64>,
    /// Who has that revision in force, if the call has waited for it.
    pub(super) acknowledgement: Option<Acknowledgement>,
}

/// The state of a revision at the proxies, by their names.
#[derive(Debug, Deserialize)]
pub(super) struct Acknowledgement {
    /// Those that decide by it.
    pub(super) acknowledged: Vec<String>,
    /// Those that answer nothing any more.
    pub(super) closed: Vec<String>,
    /// All others.
    pub(super) missing: Vec<String>,
}

/// A control plane to talk to and the key to act with.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    connection: Connection,
    logins: Logins,
}

impl Call {
    /// Reads.
    pub(super) fn get(path: &[&str]) -> Self {
        Self::new(Method::GET, path, None)
    }

    /// Creates, or carries out a verb.
    pub(super) fn post(path: &[&str], body: Option<Value>) -> Self {
        Self::new(Method::POST, path, body)
    }

    /// Sets.
    pub(super) fn put(path: &[&str], body: Value) -> Self {
        Self::new(Method::PUT, path, Some(body))
    }

    /// Changes some fields.
    pub(super) fn patch(path: &[&str], body: Value) -> Self {
        Self::new(Method::PATCH, path, Some(body))
    }

    /// Removes.
    pub(super) fn delete(path: &[&str]) -> Self {
        Self::new(Method::DELETE, path, None)
    }

    /// The same call with a query parameter, if there is a value for it.
    pub(super) fn with_query(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// The same call, whose answer is held back until every proxy has acknowledged, for so long at most.
    pub(super) fn waiting(self, seconds: u16) -> Self {
        Self { wait: Duration::from_secs(seconds.into()), ..self.with_query("wait", Some(seconds)) }
    }

    fn new(method: Method, path: &[&str], body: Option<Value>) -> Self {
        let path = path.iter().map(|segment| (*segment).to_owned()).collect();
        Self { method, path, query: Vec::new(), body, wait: Duration::ZERO }
    }

    fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        // An `http` URL always has segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["keygate", "v1"]).extend(&self.path);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

impl Client {
    /// A client for these settings; nothing is sent yet.
    pub(super) fn new(args: &ConnectionArgs) -> Result<Self, Failure> {
        let logins = Logins::of_user();
        let connection = Connection::new(args, &logins)?;
        let roots = match (connection.url.scheme(), &connection.ca) {
            ("https", Some(file)) => Roots::File("--ca", file),
            ("https", None) => Roots::Machine,
            _ => Roots::Nobody,
        };
        Ok(Self { http: http(roots)?, connection, logins })
    }

    /// The same client with the token of a login to show.
    pub(super) fn with_token(&self, token: String) -> Self {
        let credential = Ok(Some(Credential::Login(SecretKey::from(token))));
        let Connection { url, ca, .. } = &self.connection;
        let connection = Connection { url: url.clone(), ca: ca.clone(), credential };
        Self { http: self.http.clone(), connection, logins: self.logins.clone() }
    }

    /// Where the control plane is.
    pub(super) fn url(&self) -> &Url {
        &self.connection.url
    }

    /// The logins that the user keeps.
    pub(super) fn logins(&self) -> &Logins {
        &self.logins
    }

    /// Sends the call, once.
    pub(super) async fn send(&self, call: &Call) -> Result<Reply, Failure> {
        self.deliver(call, Some(self.connection.credential()?)).await
    }

    /// Sends the call, once, and shows no credential.
    pub(super) async fn send_openly(&self, call: &Call) -> Result<Reply, Failure> {
        self.deliver(call, None).await
    }

    async fn deliver(&self, call: &Call, credential: Option<&Credential>) -> Result<Reply, Failure> {
        let request = self.http.request(call.method.clone(), call.url(&self.connection.url)).timeout(ANSWER_TIMEOUT + call.wait);
        let mut request = match credential {
            Some(Credential::Key(access_key, secret_key)) => request.basic_auth(access_key, Some(secret_key.expose())),
            Some(Credential::Login(token)) => request.bearer_auth(token.expose()),
            None => request,
        };
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.no_answer(call, &error))?;
        let status = response.status();
        let (revision, acknowledgement) = (revision(response.headers()), acknowledgement(response.headers()));
        let text = response.text().await.map_err(|error| self.no_answer(call, &error))?;
        if !status.is_success() {
            return Err(self.refusal(status.as_u16(), &text, credential));
        }
        if text.is_empty() {
            return Ok(Reply { body: Value::Null, revision, acknowledgement });
        }
        match serde_json::from_str(&text) {
            Ok(body) => Ok(Reply { body, revision, acknowledgement }),
            Err(_) => Err(self.not_keygate(status.as_u16())),
        }
    }

    fn refusal(&self, status: u16, text: &str, credential: Option<&Credential>) -> Failure {
        #[derive(Deserialize)]
        struct Refusal {
            #[serde(default)]
            code: String,
            message: String,
            field: Option<String>,
        }
        match serde_json::from_str(text) {
            Ok(Refusal { code, message, field }) => {
                let message = self.with_way_out(&code, message, credential);
                Failure::Refused { code, message, field }
            }
            Err(_) => self.not_keygate(status),
        }
    }

    /// What this command was told wrongly is named in its own words: the control plane's are for whoever writes HTTP.
    fn with_way_out(&self, code: &str, message: String, credential: Option<&Credential>) -> String {
        match (code, credential) {
            ("unauthorized", Some(Credential::Login(_))) => {
                "the login has ended: log in again with keygate login, or set a key".to_owned()
            }
            ("unauthorized", Some(Credential::Key(..))) => {
                "the key does not pass: it is unknown, inactive or expired, or its secret is another one: check KEYGATE_ACCESS_KEY and \
                 KEYGATE_SECRET_KEY (--access-key and --secret-key), or use neither and log in with keygate login"
                    .to_owned()
            }
            ("no_such_path", _) if self.connection.url.path() != "/" => {
                format!("{message}: set KEYGATE_URL or pass --url, without a path")
            }
            _ => message,
        }
    }

    fn not_keygate(&self, status: u16) -> Failure {
        let url = &self.connection.url;
        Failure::NoAnswer(format!("{url} answered {status}, but not as a control plane does: set KEYGATE_URL or pass --url"))
    }

    fn no_answer(&self, call: &Call, error: &reqwest::Error) -> Failure {
        let (url, cause) = (&self.connection.url, root_cause(error));
        Failure::NoAnswer(if cause.contains("CaUsedAsEndEntity") {
            format!(
                "{url} is not trusted ({cause}): its certificate is for signing others, not for a server; one that signs itself is for \
                 a server if it is made with openssl req -x509 -addext basicConstraints=critical,CA:FALSE"
            )
        } else if cause.contains("invalid peer certificate") {
            format!(
                "{url} is not trusted ({cause}): name who signed its certificate with KEYGATE_CA or --ca, or use the name it is for"
            )
        } else if cause.contains("InvalidContentType") {
            format!("{url} does not speak TLS ({cause}): set KEYGATE_URL or pass --url with http://, or with the API's port")
        } else if error.is_connect() {
            format!("cannot connect to {url} ({cause}): is the control plane running there? Set KEYGATE_URL or pass --url")
        } else {
            let unsure =
                if call.method == Method::GET { "" } else { "; the change may have been made, look before you try again" };
            let elsewhere = if url.scheme() == "http" && !error.is_timeout() {
                "; if it always is like this, KEYGATE_URL or --url may lack the s of https://, or name another port than the API's"
            } else {
                ""
            };
            format!("no answer from {url} ({cause}){unsure}{elsewhere}")
        })
    }
}

impl Reference {
    /// The text as it was given.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reference {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.chars().all(|character| character == '.') {
            return Err("it must not be empty or dots alone");
        }
        if text.chars().any(char::is_control) {
            return Err("it names one thing: there must be no line end or tab in it");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What sends requests. It follows no redirect and uses no proxy: either would hand a credential to somebody else.
pub(super) fn http(roots: Roots<'_>) -> Result<reqwest::Client, Failure> {
    let tls = tls::client(roots).map_err(|error| Failure::Usage(format!("{error:#}: set KEYGATE_CA or pass --ca")))?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("keygate/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Failure::Usage(format!("cannot make an HTTP client: {}", root_cause(&error))))
}

fn revision(headers: &HeaderMap) -> Option<u64> {
    headers.get(REVISION_HEADER)?.to_str().ok()?.parse().ok()
}

fn acknowledgement(headers: &HeaderMap) -> Option<Acknowledgement> {
    let names = |header| {
        let names = headers.get(header)?.to_str().ok()?;
        Some(names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
    };
    let (acknowledged, closed, missing) = (names(ACKNOWLEDGED_HEADER)?, names(CLOSED_HEADER)?, names(MISSING_HEADER)?);
    Some(Acknowledgement { acknowledged, closed, missing })
}

/// The innermost error: `Connection refused` instead of `error sending request`.
pub(super) fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
