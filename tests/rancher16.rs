//! Rancher 1.6 behind one URL: Envoy sends what manages keys to the control plane and the rest to the upstream, on one listener, and the
//! steps of its clients lead from a password to a key that passes, and on to one that is refused.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use harness::{Connection, Envoy, Protocol};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::edge::{Edge, INSIDE};

const PASSWORD: &str = "correct horse battery";
/// The types that the control plane answers itself.
const TYPES: [&str; 13] = [
    "token",
    "tokens",
    "apikey",
    "apikeys",
    "account",
    "accounts",
    "identity",
    "identities",
    "localauthconfig",
    "setting",
    "settings",
    "schema",
    "schemas",
];

/// An Envoy whose listener serves both.
async fn one_url(edge: &Edge) -> Result<Envoy> {
    let mut config = edge.config("edge-1")?;
    let mut filter: Value = serde_json::from_str(&config.filter)?;
    filter["preset"] = "rancher-1.6".into();
    let mut rules = Vec::new();
    for version in ["v1", "v2-beta"] {
        // Whoever asks there is known to the control plane, which answers by itself; credentials travel on to it.
        for name in TYPES {
            rules.push(json!({"path": format!("/{version}/{name}/**"), "target": "public", "keep_credentials": true}));
        }
        // Below a project, what asks for more decides.
        for name in ["project", "projects"] {
            rules.push(json!({"path": format!("/{version}/{name}"), "target": "public", "keep_credentials": true}));
        }
        let keys = format!("/{version}/projects/{{environment}}/apikeys/**");
        rules.push(json!({"path": keys, "target": "environment", "keep_credentials": true}));
    }
    filter["rules"] = rules.into();
    config.filter = filter.to_string();
    let types = "(token|apikey|account|setting|schema)s?|identit(y|ies)|localauthconfig|project";
    let route = |rest: &str| {
        let regex = format!("/(v1|v2-beta)/{rest}");
        format!("- match: {{ safe_regex: {{ regex: '{regex}' }} }}\n                          route: {{ cluster: management }}")
    };
    let (of_types, of_projects) = (route(&format!("({types})(/.*)?")), route("projects(/[^/]+/apikeys(/.*)?)?"));
    let indent = "\n                        ";
    let routes = format!("routes:{indent}{of_types}{indent}{of_projects}{indent}- match: {{ prefix: \"/\" }}");
    let cluster = format!(
        "clusters:
    - name: management
      type: STATIC
      connect_timeout: 5s
      load_assignment:
        cluster_name: management
        endpoints:
          - lb_endpoints:
              - endpoint:
                  address:
                    socket_address: {{ address: 127.0.0.1, port_value: {} }}
    # What is protected.",
        edge.control_plane.http_port()
    );
    config.edits.push(("routes:\n                        - match: { prefix: \"/\" }", routes.leak()));
    config.edits.push(("clusters:\n    # What is protected.", cluster.leak()));
    let envoy = Envoy::start(&config).await?;
    envoy.until_table().await?;
    Ok(envoy)
}

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
    let url = format!("http://{}{INSIDE}", envoy.edge());
    let arguments = ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--user", pair, &url];
    let Output { stdout, .. } = Command::new("curl").args(arguments).output().await.context("running curl")?;
    Ok(String::from_utf8(stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_url_leads_from_a_password_to_a_key_and_to_its_end() -> Result<()> {
    let edge = Edge::start(0).await?;
    for command in [
        &["environment", "create", "--id", "1a5", "--name", "Default"][..],
        &["account", "create", "--name", "alice", "--kind", "user"],
        &["member", "add", "--environment", "1a5", "--account", "alice", "--role", "owner"],
    ] {
        edge.change(command).await?;
    }
    let set = ["account", "set-password", "alice", "--stdin"];
    crate::login::admin(&edge.control_plane)?.text(&set, &format!("{PASSWORD}\n")).await?;
    let envoy = one_url(&edge).await?;
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
    harness::until("the key to pass", async || Ok((curl(&envoy, &pair).await? == "200").then_some(()))).await?;

    // What manages an environment's keys is judged at the edge, too, and then by the control plane.
    client.send("GET", "/v1/projects/1a5/apikeys", "", 200).await?;
    client.send("GET", "/v1/projects/1a6/apikeys", "", 403).await?;

    edge.change(&["key", "deactivate", text("id")?.trim_start_matches("1c")]).await?;
    assert_eq!(curl(&envoy, &pair).await?, "401", "what keygate deactivated is refused once that is acknowledged");
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
