//! Rancher 2 behind one URL: Envoy sends what manages tokens to the control plane and the rest to the upstream, on one listener. What a
//! token opens there, by every carrier, follows its cluster, its ttl, its user and its end.

use std::path::PathBuf;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use harness::{Connection, ControlPlane, Envoy, Protocol, Scratch, keygate_binary, until};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::edge::Edge;

const PASSWORD: &str = "correct horse battery";
const LOGIN: &str = "/v3-public/localProviders/local?action=login";
/// The types that the control plane answers itself.
const TYPES: [&str; 8] = ["token", "tokens", "user", "users", "setting", "settings", "schema", "schemas"];
/// A path in each of two clusters.
const INSIDE: &str = "/k8s/clusters/c-aaaaa/api/v1/pods";
const ELSEWHERE: &str = "/k8s/clusters/c-bbbbb/api/v1/pods";

/// An Envoy whose listener serves both.
async fn one_url(edge: &Edge) -> Result<Envoy> {
    // Whoever asks there is known to the control plane, which answers by itself; credentials travel on to it.
    let kept = |path: String, target: &str| json!({"path": path, "target": target, "keep_credentials": true});
    let mut rules: Vec<Value> = TYPES.iter().map(|name| kept(format!("/v3/{name}/**"), "public")).collect();
    rules.extend(["/v3", "/v3/", "/v3/clusters", "/v3/cluster"].map(|path| kept(path.to_owned(), "public")));
    rules.extend(["clusters", "cluster"].map(|name| kept(format!("/v3/{name}/{{environment}}"), "environment")));
    let managed = ["/v3/?|/v3-public(/.*)?", "/v3/(token|user|setting|schema)s?(/.*)?", "/v3/clusters?(/[^/]+)?"];
    edge.one_url("rancher-2", rules.into(), &managed).await
}

/// A control plane with a user of two clusters, and an Envoy before it.
async fn start() -> Result<(Edge, Envoy)> {
    let edge = Edge::start(0).await?;
    for command in [
        &["environment", "create", "--id", "c-aaaaa", "--name", "production"][..],
        &["environment", "create", "--id", "c-bbbbb", "--name", "staging"],
        &["account", "create", "--name", "alice", "--kind", "user"],
        &["member", "add", "--environment", "c-aaaaa", "--account", "alice", "--role", "member"],
        &["member", "add", "--environment", "c-bbbbb", "--account", "alice", "--role", "member"],
    ] {
        edge.change(command).await?;
    }
    edge.set_password("alice", PASSWORD).await?;
    let envoy = one_url(&edge).await?;
    Ok((edge, envoy))
}

/// Whoever speaks to the one URL.
struct Client {
    connection: Connection,
    token: String,
}

impl Client {
    async fn open(envoy: &Envoy, token: &str) -> Result<Self> {
        Ok(Self { connection: Connection::open(envoy.edge(), Protocol::Http1).await?, token: token.to_owned() })
    }

    /// One that has logged in.
    async fn logged_in(envoy: &Envoy) -> Result<Self> {
        let mut client = Self::open(envoy, "").await?;
        let body = json!({"username": "alice", "password": PASSWORD}).to_string();
        let login = client.send("POST", LOGIN, &body, 201).await?;
        Self::open(envoy, login["token"].as_str().context("no token")?).await
    }

    async fn send(&mut self, method: &str, path: &str, body: &str, status: u16) -> Result<Value> {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", bearer.as_str())];
        let headers = if self.token.is_empty() { &[][..] } else { &headers };
        let answer = self.connection.send(method, path, headers, body).await?;
        ensure!(answer.status == status, "{method} {path}: {} {}", answer.status, answer.text());
        if answer.text().is_empty() { Ok(Value::Null) } else { answer.json() }
    }

    /// Makes a token; as it is presented.
    async fn make(&mut self, wish: Value) -> Result<String> {
        let made = self.send("POST", "/v3/tokens", &wish.to_string(), 201).await?;
        Ok(made["token"].as_str().context("no token")?.to_owned())
    }
}

/// The statuses that a token gets by each carrier.
async fn statuses(envoy: &Envoy, token: &str, path: &str) -> Result<Vec<u16>> {
    let mut connection = Connection::open(envoy.edge(), Protocol::Http1).await?;
    let mut statuses = Vec::new();
    for (name, value) in [
        ("authorization", format!("Bearer {token}")),
        ("authorization", format!("Basic {}", STANDARD.encode(token))),
        ("authorization", format!("Basic {}", URL_SAFE.encode(token))),
        ("cookie", format!("R_SESS={token}")),
    ] {
        statuses.push(connection.get(path, &[(name, &value)]).await?.status);
    }
    Ok(statuses)
}

/// Waits until a token gets a status by every carrier.
async fn until_all(envoy: &Envoy, token: &str, path: &str, status: u16) -> Result<()> {
    let all = async || Ok(statuses(envoy, token, path).await?.iter().all(|own| *own == status).then_some(()));
    until(&format!("{path} to answer {status}"), all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_its_cluster_its_ttl_and_its_user_allow() -> Result<()> {
    let (edge, envoy) = start().await?;
    Client::open(&envoy, "").await?.send("GET", "/v3/tokens", "", 401).await?;
    let mut client = Client::logged_in(&envoy).await?;
    let root = client.send("GET", "/v3", "", 200).await?;
    assert_eq!(root["links"]["tokens"], format!("http://{}/v3/tokens", envoy.edge()), "links lead back to the one URL");
    let all = client.make(json!({})).await?;
    let scoped = client.make(json!({"clusterId": "c-aaaaa"})).await?;
    for path in [INSIDE, ELSEWHERE] {
        until_all(&envoy, &all, path, 200).await?;
        until_all(&envoy, &client.token, path, 200).await?;
    }
    until_all(&envoy, &scoped, INSIDE, 200).await?;
    until_all(&envoy, &scoped, ELSEWHERE, 403).await?;
    let mut limited = Client::open(&envoy, &scoped).await?;
    let refused = limited.send("GET", ELSEWHERE, "", 403).await?;
    assert_eq!(refused.to_string(), r#"{"details":"Unauthorized","message":"Access denied"}"#);
    assert_eq!(limited.send("GET", "/v3/clusters/c-aaaaa", "", 200).await?["name"], "production");
    limited.send("GET", "/v3/clusters/c-bbbbb", "", 403).await?;
    let refused = limited.send("GET", "/v3/tokens", "", 401).await?;
    assert_eq!(refused, json!({"type": "error", "status": "401", "message": "must authenticate"}));

    let short = client.make(json!({"ttl": 3000})).await?;
    until_all(&envoy, &short, INSIDE, 200).await?;
    until_all(&envoy, &short, INSIDE, 401).await?;

    let admin = edge.control_plane.admin();
    let mut admin = Client::open(&envoy, &admin.pair()).await?;
    let alice = admin.send("GET", "/v3/users?username=alice", "", 200).await?["data"][0].clone();
    let path = format!("/v3/users/{}", alice["id"].as_str().context("no id")?);
    for (enabled, status) in [(false, 401), (true, 200)] {
        admin.send("PUT", &path, &json!({"enabled": enabled}).to_string(), 200).await?;
        for token in [&all, &scoped, &client.token] {
            until_all(&envoy, token, INSIDE, status).await?;
        }
    }

    let (id, _) = all.split_once(':').context("no colon")?;
    client.send("DELETE", &format!("/v3/tokens/{id}"), "", 204).await?;
    until_all(&envoy, &all, INSIDE, 401).await?;
    // What keygate lists and withdraws is the same thing.
    let keys = edge.control_plane.cli().json(&["key", "list", "--never-expires"]).await?;
    let (name, _) = scoped.split_once(':').context("no colon")?;
    let key = keys.as_array().into_iter().flatten().find(|key| key["accessKey"] == name).context("it is not listed")?;
    edge.change(&["key", "deactivate", key["id"].as_str().context("no id")?]).await?;
    assert_eq!(statuses(&envoy, &scoped, INSIDE).await?, [401; 4], "refused once that is acknowledged");
    client.send("POST", "/v3/tokens?action=logout", "", 200).await?;
    until_all(&envoy, &client.token, INSIDE, 401).await
}

/// Somebody whose kubectl runs `keygate kubeconfig-login`.
struct Kubectl {
    server: String,
    home: Scratch,
}

impl Kubectl {
    async fn run(&self, password: &str) -> Result<Output> {
        let mut command = Command::new(keygate_binary()?);
        command.args(["kubeconfig-login", "--server", &self.server, "--cluster", "c-aaaaa", "--user", "alice"]);
        command.env("XDG_CONFIG_HOME", self.home.path()).env("KEYGATE_PASSWORD", password).env_remove("KUBERNETES_EXEC_INFO");
        command.kill_on_drop(true).output().await.context("running keygate kubeconfig-login")
    }

    /// The token that it gives.
    async fn token(&self, password: &str) -> Result<String> {
        let output = self.run(password).await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let credential: Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!(credential["apiVersion"], "client.authentication.k8s.io/v1beta1");
        assert_eq!(credential["kind"], "ExecCredential");
        ensure!(credential["status"]["expirationTimestamp"].is_string(), "{credential}");
        Ok(credential["status"]["token"].as_str().context("no token")?.to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_logs_in_again_when_its_token_has_ended_and_not_before() -> Result<()> {
    let (edge, envoy) = start().await?;
    edge.change(&["setting", "set", "kubeconfig-generate-token", "false"]).await?;
    let mut client = Client::logged_in(&envoy).await?;
    let output = client.send("POST", "/v3/clusters/c-aaaaa?action=generateKubeconfig", "", 200).await?;
    let config = output["config"].as_str().context("no config")?;
    let server = format!("http://{}", envoy.edge());
    assert!(config.contains("kubeconfig-login") && config.contains(&format!("{server}/k8s/clusters/c-aaaaa")), "{config}");

    let kubectl = Kubectl { server, home: Scratch::new("keygate-kubectl")? };
    let wrong = kubectl.run("wrong horse battery").await?;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(wrong.stdout.is_empty() && String::from_utf8_lossy(&wrong.stderr).contains("authentication failed"));
    let token = kubectl.token(PASSWORD).await?;
    until_all(&envoy, &token, INSIDE, 200).await?;
    assert_eq!(statuses(&envoy, &token, ELSEWHERE).await?, [403; 4]);
    assert_eq!(kubectl.token("").await?, token, "it is kept");
    let (id, _) = token.split_once(':').context("no colon")?;
    client.send("DELETE", &format!("/v3/tokens/{id}"), "", 204).await?;
    until_all(&envoy, &token, INSIDE, 401).await?;
    assert_eq!(kubectl.run("").await?.status.code(), Some(2), "what is refused is not given again, and there is no terminal");
    edge.change(&["setting", "set", "kubeconfig-token-ttl-minutes", "0.05"]).await?;
    let short = kubectl.token(PASSWORD).await?;
    assert_ne!(short, token);
    until("the token to expire", async || {
        let again = kubectl.token(PASSWORD).await?;
        Ok((again != short).then_some(()))
    })
    .await?;
    until_all(&envoy, &short, INSIDE, 401).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_environment_sets_nobody_changes() -> Result<()> {
    let mut control_plane = ControlPlane::start().await?;
    control_plane.stop().await?;
    control_plane.set_environment(vec![("CATTLE_AUTH_TOKEN_MAX_TTL_MINUTES", PathBuf::from("30"))]);
    control_plane.serve().await?;
    let address = harness::loopback(control_plane.http_port());
    let connection = Connection::open(address, Protocol::Http1).await?;
    let mut admin = Client { connection, token: control_plane.admin().pair() };
    let path = "/v3/settings/auth-token-max-ttl-minutes";
    let setting = admin.send("GET", path, "", 200).await?;
    assert_eq!((&setting["value"], &setting["source"]), (&json!("30"), &json!("env")));
    let refused = admin.send("PUT", path, &json!({"value": "60"}).to_string(), 405).await?;
    assert_eq!(refused["code"], "MethodNotAllow");
    let native = control_plane.cli().run(&["setting", "set", "auth-token-max-ttl-minutes", "60"]).await?;
    assert!(String::from_utf8_lossy(&native.stderr).contains("CATTLE_AUTH_TOKEN_MAX_TTL_MINUTES"));
    assert_eq!(admin.send("POST", "/v3/tokens", "{}", 201).await?["ttl"], 1_800_000);

    control_plane.stop().await?;
    control_plane.set_environment(vec![("CATTLE_AUTH_TOKEN_MAX_TTL_MINUTES", PathBuf::from("half an hour"))]);
    assert!(control_plane.serve().await.is_err(), "what cannot be used is no reason to serve without it");
    Ok(())
}
