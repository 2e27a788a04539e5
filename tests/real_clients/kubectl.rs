//! kubectl, which speaks TLS or sends no token: with a token for one cluster, and with a kubeconfig file that carries none.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use harness::{keygate_binary, until};
use serde_json::{Value, json};

use super::Clients;
use crate::one_url::{PASSWORD, Site};

/// What a cluster's Kubernetes would say, as far as kubectl wants to know before it lists pods.
fn answers(path: &str) -> Option<Value> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"containers": [{"name": "web", "image": "web"}]}, "status": {"phase": "Running"},
    });
    let pods =
        json!({"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": ["get", "list", "delete"]});
    Some(match path.strip_prefix("/k8s/clusters/c-")?.split_once('/')?.1 {
        "version" => json!({"major": "1", "minor": "32", "gitVersion": "v1.32.4", "platform": "linux/amd64"}),
        "api" => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        "apis" => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}),
        "api/v1" => json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [pods]}),
        "api/v1/namespaces/default/pods" => json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod]}),
        _ => return None,
    })
}

/// A site before Rancher 2; alice works in its cluster c-abc, not in c-def.
async fn site() -> Result<Site> {
    let site = Site::before("rancher-2", answers).await?;
    for command in [
        &["environment", "create", "--id", "c-abc", "--name", "production"][..],
        &["environment", "create", "--id", "c-def", "--name", "staging"],
        &["member", "add", "--environment", "c-abc", "--account", "alice", "--role", "member"],
    ] {
        site.edge.change(command).await?;
    }
    Ok(site)
}

/// Alice at her machine.
struct Alice<'s> {
    clients: Clients,
    site: &'s Site,
    url: String,
    ca: String,
}

impl<'s> Alice<'s> {
    async fn at(site: &'s Site) -> Result<Self> {
        let (url, ca) = (site.one_url.https_url(), site.ca().display().to_string());
        Ok(Self { clients: Clients::bring().await?, site, url, ca })
    }

    /// The answer to a request of Rancher's API, by curl.
    async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Value, status: &str) -> Result<Value> {
        let (url, body, header) = (format!("{}{path}", self.url), body.to_string(), "Content-Type: application/json");
        let bearer = token.map(|token| format!("Authorization: Bearer {token}"));
        let mut arguments = vec!["--cacert", &self.ca, "-X", method, "-H", header, "-d", &body];
        arguments.extend(bearer.iter().flat_map(|bearer| ["-H", bearer.as_str()]));
        arguments.push(&url);
        let (body, said) = self.clients.curl(&arguments).await?;
        ensure!(said == status, "{method} {path}: {said} {body}");
        if body.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&body).context(body) }
    }

    async fn log_in(&self) -> Result<String> {
        let path = "/v3-public/localProviders/local?action=login";
        let login = self.ask("POST", path, None, json!({"username": "alice", "password": PASSWORD}), "201").await?;
        Ok(login["token"].as_str().context("no token")?.to_owned())
    }

    /// Runs `kubectl get pods`; what it printed, or what went wrong.
    async fn get_pods(&self, arguments: &[&str]) -> Result<Result<String, String>> {
        let mut command = self.clients.command("kubectl");
        let keygate = keygate_binary()?;
        let own = keygate.parent().context("keygate lies in no folder")?.to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths([own].into_iter().chain(std::env::split_paths(&path)))?;
        command.env("PATH", path).env("KEYGATE_PASSWORD", PASSWORD).env_remove("KUBECONFIG");
        command.args(arguments).args(["get", "pods", "--output", "name"]);
        let output = command.output().await.context("running kubectl: `make test` brings it")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) })
    }

    /// The kubeconfig file for c-abc that the control plane writes.
    async fn kubeconfig(&self, token: &str) -> Result<(PathBuf, String)> {
        let path = "/v3/clusters/c-abc?action=generateKubeconfig";
        let made = self.ask("POST", path, Some(token), json!({}), "200").await?;
        let config = made["config"].as_str().context("no config")?.to_owned();
        let file = self.clients.home.path().join("kubeconfig");
        std::fs::write(&file, &config)?;
        Ok((file, config))
    }

    async fn set(&self, name: &str, value: &str) -> Result<()> {
        self.site.edge.control_plane.cli().text(&["setting", "set", name, value]).await.map(|_| ())
    }
}

fn listed(said: &Result<String, String>) -> bool {
    said.as_ref().is_ok_and(|text| text.trim() == "pod/web")
}

fn with_file(file: &Path) -> [String; 2] {
    ["--kubeconfig".to_owned(), file.display().to_string()]
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_reaches_the_one_cluster_of_its_token_and_no_other() -> Result<()> {
    let site = site().await?;
    let alice = Alice::at(&site).await?;
    let login = alice.log_in().await?;
    let wish = json!({"type": "token", "description": "ci", "ttl": 3_600_000, "clusterId": "c-abc"});
    let made = alice.ask("POST", "/v3/tokens", Some(&login), wish, "201").await?;
    let token = made["token"].as_str().context("no token")?;
    let get_pods = async |cluster: &str| {
        let server = format!("{}/k8s/clusters/{cluster}", alice.url);
        alice.get_pods(&["--server", &server, "--certificate-authority", &alice.ca, "--token", token]).await
    };
    let said = get_pods("c-abc").await?;
    ensure!(listed(&said), "{said:?}");
    let headers = site.edge.upstream.last()["headers"].to_string();
    ensure!(!headers.contains("authorization") && headers.contains("c-abc"), "{headers}");
    let elsewhere = get_pods("c-def").await?;
    ensure!(
        elsewhere.as_ref().is_err_and(|error| error.contains("Access denied") || error.contains("orbidden")),
        "{elsewhere:?}"
    );

    let own = format!("/v3/tokens/{}", made["id"].as_str().context("no id")?);
    alice.ask("DELETE", &own, Some(&login), json!({}), "204").await?;
    let deleted = get_pods("c-abc").await?;
    ensure!(deleted.is_err(), "with a deleted token: {deleted:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_logs_in_by_itself_with_a_kubeconfig_that_carries_no_token() -> Result<()> {
    let site = site().await?;
    let alice = Alice::at(&site).await?;
    let login = alice.log_in().await?;
    alice.set("cacerts", &std::fs::read_to_string(&alice.ca)?).await?;
    let (file, config) = alice.kubeconfig(&login).await?;
    ensure!(config.contains("token:"), "{config}");
    let arguments = with_file(&file);
    let arguments = arguments.each_ref().map(String::as_str);
    let said = alice.get_pods(&arguments).await?;
    ensure!(listed(&said), "with the token in the file: {said:?}");

    alice.set("kubeconfig-generate-token", "false").await?;
    // Three seconds.
    alice.set("kubeconfig-token-ttl-minutes", "0.05").await?;
    let (_, config) = alice.kubeconfig(&login).await?;
    ensure!(!config.contains("token:") && config.contains("kubeconfig-login"), "{config}");
    let said = alice.get_pods(&arguments).await?;
    ensure!(listed(&said), "with a token that the plugin brought: {said:?}");
    let tokens = async || {
        let keys = site.edge.control_plane.cli().json(&["key", "list"]).await?;
        let all = keys.as_array().context("no list")?.iter().map(|key| key["id"].to_string());
        Ok::<_, anyhow::Error>(all.max())
    };
    let first = tokens().await?;
    until("the plugin's token to expire, and kubectl to log in again", async || {
        let said = alice.get_pods(&arguments).await?;
        ensure!(listed(&said), "past an expiry: {said:?}");
        Ok((tokens().await? != first).then_some(()))
    })
    .await
}
