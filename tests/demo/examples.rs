//! The requests to try: each is one curl line, the answer to expect, and a check that the answer is so.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Result, ensure};
use harness::{Connection, Protocol};

use crate::cast::{Cast, PRODUCTION, STAGING, USER};

const DENIED: &str = r#"{"details":"Unauthorized","message":"Access denied"}"#;

struct Example {
    says: String,
    path: String,
    header: Option<(&'static str, String)>,
    /// How curl is told the credential.
    option: String,
    status: u16,
    body: Option<&'static str>,
}

impl Example {
    fn expected(&self) -> String {
        self.body.map_or_else(|| self.status.to_string(), |body| format!("{} {body}", self.status))
    }

    fn curl(&self, edge_url: &str) -> String {
        format!("curl -i{} {edge_url}{}", self.option, self.path)
    }
}

fn examples(cast: &Cast) -> Vec<Example> {
    let services = |environment: &str| format!("/v1/projects/{environment}/services");
    let user_option = |pair: String| format!(" -u {pair}");
    let header_option = |(name, value): (&str, String)| format!(" -H '{name}: {value}'");
    vec![
        Example {
            says: format!("{USER}'s key in {PRODUCTION}, where {USER} is a member: passes"),
            path: services(PRODUCTION),
            header: Some(cast.alice.basic()),
            option: user_option(cast.alice.pair()),
            status: 200,
            body: None,
        },
        Example {
            says: format!("the key of environment {STAGING}, as a Bearer token: passes"),
            path: services(STAGING),
            header: Some(cast.staging.bearer()),
            option: header_option(cast.staging.bearer()),
            status: 200,
            body: None,
        },
        Example {
            says: format!("the key of environment {PRODUCTION}, as X-API-Key: passes"),
            path: services(PRODUCTION),
            header: Some(cast.production.x_api_key()),
            option: header_option(cast.production.x_api_key()),
            status: 200,
            body: None,
        },
        Example {
            says: format!("{USER}'s key in {STAGING}: out of scope"),
            path: services(STAGING),
            header: Some(cast.alice.basic()),
            option: user_option(cast.alice.pair()),
            status: 403,
            body: Some(DENIED),
        },
        Example {
            says: format!("{USER}'s keys, as a client of Rancher 1.6 lists them at the same URL: the control plane answers"),
            path: "/v1/apikeys".to_owned(),
            header: Some(cast.alice.basic()),
            option: user_option(cast.alice.pair()),
            status: 200,
            body: None,
        },
        Example {
            says: "no credential".to_owned(),
            path: services(PRODUCTION),
            header: None,
            option: String::new(),
            status: 401,
            body: None,
        },
        Example {
            says: format!("a key of {USER}'s that has expired"),
            path: services(PRODUCTION),
            header: Some(cast.expired.basic()),
            option: user_option(cast.expired.pair()),
            status: 401,
            body: None,
        },
    ]
}

/// Sends every request and compares its answer.
pub(crate) async fn try_all(cast: &Cast, edge: SocketAddr) -> Result<()> {
    let mut connection = Connection::open(edge, Protocol::Http1).await?;
    for example in examples(cast) {
        let header = example.header.as_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = connection.get(&example.path, header.as_slice()).await?;
        ensure!(
            answer.status == example.status && example.body.is_none_or(|body| answer.text() == body),
            "expected {} for {}, got {}: {}",
            example.expected(),
            example.says,
            answer.status,
            answer.text()
        );
    }
    Ok(())
}

/// Prints them, with what else there is to know.
pub(crate) fn print(cast: &Cast, edge_url: &str, notes: &Path) {
    println!("Paste these into another terminal. What passes is answered by an upstream that tells what reached it.\n");
    for example in examples(cast) {
        println!("# {} -> {}", example.says, example.expected());
        println!("{}\n", example.curl(edge_url));
    }
    let keygate = |command: &str| format!("(set -a; . '{}'; \"$KEYGATE_BIN\" {command} --wait)", notes.display());
    let alice = &cast.alice;
    println!("# deactivate {USER}'s key, and wait until every proxy has heard of it");
    println!("{}\n", keygate(&format!("key deactivate {}", alice.id)));
    println!("# the same key again -> 401");
    println!("curl -i -u {} {edge_url}/v1/projects/{PRODUCTION}/services\n", alice.pair());
    println!("# and back -> 200");
    println!("{}\n", keygate(&format!("key activate {}", alice.id)));
    println!("Names and keys for a shell: {}. Ctrl-C stops everything.", notes.display());
    println!("ready");
}
