//! A kubeconfig file as kubectl reads it: one cluster, behind the one URL. It draws no token and stores nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::model::Environment;
use crate::name::AccountName;

/// Where a file leads.
#[derive(Debug)]
pub(super) struct Leads<'f> {
    /// Such as `https://host`.
    pub(super) origin: &'f str,
    pub(super) environment: &'f Environment,
    /// By whom the certificate there is signed, as PEM; empty for those whom the client's machine trusts.
    pub(super) ca_certs: &'f str,
}

/// How kubectl gets its token.
#[derive(Debug)]
pub(super) enum Access<'f> {
    /// It stands in the file.
    Token(&'f str),
    /// By a command that asks for a password, that of this account.
    Login(Option<&'f AccountName>),
}

/// Writes the file.
pub(super) fn write(leads: &Leads<'_>, access: &Access<'_>) -> String {
    let id = leads.environment.id.as_str();
    let name = text(leads.environment.name.as_str());
    let server = text(&format!("{}/k8s/clusters/{id}", leads.origin));
    let authority_data = STANDARD.encode(leads.ca_certs);
    let authority = match leads.ca_certs {
        "" => String::new(),
        _ => format!("    certificate-authority-data: {}\n", text(&authority_data)),
    };
    let user = match access {
        Access::Token(token) => format!("    token: {}\n", text(token)),
        Access::Login(account) => {
            let mut arguments = vec!["kubeconfig-login", "--server", leads.origin, "--cluster", id];
            arguments.extend(account.iter().flat_map(|account| ["--user", account.as_str()]));
            // kubectl tells the command whom to trust; other clients run it without a word.
            if !leads.ca_certs.is_empty() {
                arguments.extend(["--certificate-authority-data", &authority_data]);
            }
            // JSON is YAML, too.
            let exec = json!({
                "apiVersion": "client.authentication.k8s.io/v1beta1", "command": "keygate", "args": arguments,
                "interactiveMode": "IfAvailable", "provideClusterInfo": true,
                "installHint": "keygate logs in for kubectl; put it on your PATH",
            });
            format!("    exec: {exec}\n")
        }
    };
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: {name}\n  cluster:\n    server: {server}\n{authority}users:\n- name: {name}\n  \
         user:\n{user}contexts:\n- name: {name}\n  context:\n    user: {name}\n    cluster: {name}\ncurrent-context: {name}\n"
    )
}

/// A text as YAML takes it, whatever is in it.
fn text(text: &str) -> String {
    Value::from(text).to_string()
}
