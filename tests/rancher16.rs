//! Rancher 1.6 behind one URL: Envoy sends what manages keys to the control plane and the rest to the upstream, on one listener, and the
//! steps of its clients lead from a password to a key that passes, and on to one that is refused.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use harness::{Connection, Envoy, Protocol};
use serde_json::Value;
use tokio::process::Command;

use crate::edge::INSIDE;
use crate::one_url::{PASSWORD, Site};

/// Whoever speaks to the one URL.
struct Client {
    connection: Connection,
    token: String,
}

impl Client {
    async fn send(&mut self, method: &str, path: &str, body: &str, status: u16) -> Result<Value> {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let cookie = format!("token={}", self.token);
        let mut headers = vec![form];
        if !self.token.is_empty() {
            headers.push(("cookie", &cookie));
        }
        let answer = self.connection.send(method, path, &headers, body).await?;
        ensure!(answer.status == status, "{method} {path}: {} {}", answer.status, answer.text());
        if answer.text().is_empty() { Ok(Value::Null) } else { answer.json() }
    }
}

async fn curl(envoy: &Envoy, pair: &str) -> Result<String> {
    curl_with(envoy, pair, "--http1.1", INSIDE).await
}

async fn curl_with(envoy: &Envoy, pair: &str, version: &str, path: &str) -> Result<String> {
    let url = format!("http://{}{path}", envoy.edge());
    let arguments = ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", version, "--user", pair, &url];
    let Output { stdout, .. } = Command::new("curl").args(arguments).output().await.context("running curl")?;
    Ok(String::from_utf8(stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_url_leads_from_a_password_to_a_key_and_to_its_end() -> Result<()> {
    let site = Site::start("rancher-1.6").await?;
    let (edge, envoy) = (&site.edge, site.envoy());
    let connection = Connection::open(envoy.edge(), Protocol::Http1).await?;
    let mut client = Client { connection, token: String::new() };
    client.send("GET", "/v1/apikeys", "", 401).await?;
    let code = format!("code=alice%3A{}", PASSWORD.replace(' ', "+"));
    let token = client.send("POST", "/v2-beta/token", &code, 201).await?;
    client.token = token["jwt"].as_str().context("no jwt")?.to_owned();

    let projects = client.send("GET", "/v2-beta/projects", "", 200).await?;
    assert_eq!(projects["data"][0]["id"], "1a5");
    let key = client.send("POST", "/v2-beta/apikey", "name=python_app&description=Python", 201).await?;
    let own = key["links"]["self"].as_str().context("no link")?;
    assert!(own.starts_with(&format!("http://{}/v2-beta/apikeys/1c", envoy.edge())), "{own} leads back to the one URL");
    let text = |field: &str| key[field].as_str().map(str::to_owned).context("a field is missing");
    let pair = format!("{}:{}", text("publicValue")?, text("secretValue")?);
    harness::until("the key to pass", async || Ok((curl(envoy, &pair).await? == "200").then_some(()))).await?;

    // Old scripts, and nginx before this Envoy, speak HTTP/1.0.
    for (path, status) in [(INSIDE, "200"), ("/v1/apikeys", "200"), ("/v1/projects/1a6/containers", "403")] {
        assert_eq!(curl_with(envoy, &pair, "--http1.0", path).await?, status, "{path}");
    }

    // What manages an environment's keys is judged at the edge, too, and then by the control plane.
    client.send("GET", "/v1/projects/1a5/apikeys", "", 200).await?;
    client.send("GET", "/v1/projects/1a6/apikeys", "", 403).await?;
    // Types in the spelling of Rancher's documents.
    for path in ["/v1/projects/1a5/projectMembers", "/v2-beta/projectMembers", "/v1/projectMember?projectId=1a5"] {
        let members = client.send("GET", path, "", 200).await?;
        ensure!(members["resourceType"] == "projectMember" && members["data"][0]["role"] == "owner", "{path}: {members}");
    }
    client.send("GET", "/v2-beta/localAuthConfig", "", 404).await?;
    client.send("GET", "/v2-beta/activeSettings", "", 404).await?;

    edge.change(&["key", "deactivate", text("id")?.trim_start_matches("1c")]).await?;
    assert_eq!(curl(envoy, &pair).await?, "401", "what keygate deactivated is refused once that is acknowledged");
    let path = format!("/v2-beta/apikeys/{}", text("id")?);
    assert_eq!(client.send("GET", &path, "", 200).await?["state"], "inactive");
    assert_eq!(client.send("DELETE", &path, "", 200).await?["state"], "removing");
    client.send("DELETE", "/v1/token/current", "", 204).await?;
    client.send("GET", "/v1/apikeys", "", 401).await?;
    harness::until("the token to be refused at the edge", async || {
        let answer = client.connection.get(INSIDE, &[("cookie", &format!("token={}", client.token))]).await?;
        Ok((answer.status == 401).then_some(()))
    })
    .await
}
