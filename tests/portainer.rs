//! Portainer behind one URL: Envoy sends what manages users and tokens to the control plane and the rest to the upstream, on one listener.
//! Its users' steps lead from a password to an access token, and tokens that Portainer issued go on working.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::{Connection, Envoy, Protocol, Scratch};
use keygate_decision::Digest;
use serde_json::{Value, json};

use crate::edge::Edge;

const PASSWORD: &str = "correct horse battery";
/// What Portainer answers whom an area is closed to, to the byte.
const DENIED: &str = r#"{"details":"Unauthorized","message":"Access denied"}"#;
const CONTAINERS: &str = "/api/endpoints/4/docker/containers/json";

/// An Envoy whose listener serves both.
async fn one_url(edge: &Edge) -> Result<Envoy> {
    // Whoever asks there is known to the control plane, which answers by itself; credentials travel on to it.
    let public = |path: &str| json!({"path": path, "target": "public", "keep_credentials": true});
    let rules = json!([public("/api/auth"), public("/api/auth/logout"), public("/api/users/**")]);
    edge.one_url("portainer", rules, &["/api/(auth(/logout)?|users(/.*)?)"]).await
}

/// Whoever speaks to the one URL.
struct Client<'e> {
    envoy: &'e Envoy,
    /// The header that shows who it is.
    shown: (&'static str, String),
}

impl Client<'_> {
    async fn send(&self, method: &str, path: &str, body: &Value, status: u16) -> Result<Value> {
        let text = self.text(method, path, body, status).await?;
        if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }

    async fn text(&self, method: &str, path: &str, body: &Value, status: u16) -> Result<String> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        // Envoy ends a connection that it answered 400 on.
        let mut connection = Connection::open(self.envoy.edge(), Protocol::Http1).await?;
        let shown = [(self.shown.0, self.shown.1.as_str())];
        let answer = connection.send(method, path, if self.shown.0.is_empty() { &[] } else { &shown }, &body).await?;
        ensure!(answer.status == status, "{method} {path}: {} {}", answer.status, answer.text());
        Ok(answer.text())
    }

    async fn get(&self, path: &str, status: u16) -> Result<Value> {
        self.send("GET", path, &Value::Null, status).await
    }
}

fn with<'e>(envoy: &'e Envoy, name: &'static str, value: &str) -> Client<'e> {
    Client { envoy, shown: (name, value.to_owned()) }
}

async fn environments(edge: &Edge) -> Result<()> {
    for id in ["4", "5"] {
        edge.change(&["environment", "create", "--id", id, "--name", id]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_url_leads_from_a_password_to_an_access_token_and_to_its_end() -> Result<()> {
    let edge = Edge::start(0).await?;
    environments(&edge).await?;
    let envoy = one_url(&edge).await?;
    let admin = with(&envoy, "x-api-key", &edge.control_plane.admin().token);
    let wish = json!({"username": "alice", "password": "initial horse battery", "role": 2});
    let user = admin.send("POST", "/api/users", &wish, 200).await?["Id"].as_u64().context("no id")?;
    edge.change(&["member", "add", "--environment", "4", "--account", "alice", "--role", "member"]).await?;
    let words = json!({"password": "initial horse battery", "newPassword": PASSWORD});
    admin.send("PUT", &format!("/api/users/{user}/passwd"), &words, 204).await?;

    let nobody = with(&envoy, "", "");
    let wrong = nobody.send("POST", "/api/auth", &json!({"Username": "alice", "Password": "wrong"}), 422).await?;
    assert_eq!(wrong, json!({"message": "Invalid credentials", "details": "Unauthorized"}));
    let login = nobody.send("POST", "/api/auth", &json!({"Username": "alice", "Password": PASSWORD}), 200).await?;
    let jwt = login["jwt"].as_str().context("no jwt")?.to_owned();
    let person = with(&envoy, "authorization", &format!("Bearer {jwt}"));
    // What was answered holds at the edge from then on.
    person.get(CONTAINERS, 200).await?;
    with(&envoy, "cookie", &format!("portainer_api_key={jwt}")).get(CONTAINERS, 200).await?;

    let tokens = format!("/api/users/{user}/tokens");
    let forgot = json!({"password": "wrong", "description": "ci"});
    person.send("POST", &tokens, &forgot, 403).await?;
    let made = person.send("POST", &tokens, &json!({"password": PASSWORD, "description": "ci"}), 201).await?;
    let raw = made["rawAPIKey"].as_str().context("no rawAPIKey")?;
    let robot = with(&envoy, "X-API-Key", raw);
    robot.get("/api/stacks", 200).await?;
    let echo = robot.get(CONTAINERS, 200).await?;
    assert!(echo.to_string().contains(&format!(r#"["x-keygate-account","{user}"]"#)), "{echo}");
    assert!(!echo.to_string().contains(raw), "the upstream sees no credential: {echo}");
    for (path, method) in
        [("/api/settings", "GET"), ("/api/endpoints", "POST"), ("/api/endpoints/5/docker/containers/json", "GET")]
    {
        assert_eq!(robot.text(method, path, &Value::Null, 403).await?, DENIED, "{method} {path}");
    }
    admin.get("/api/settings", 200).await?;
    assert_eq!(robot.get(&tokens, 200).await?[0]["id"], made["apiKey"]["id"]);
    let refused = robot.send("POST", &tokens, &json!({"password": PASSWORD, "description": "more"}), 401).await?;
    assert_eq!(refused["message"], "Auth not supported");

    let own = format!("{tokens}/{}", made["apiKey"]["id"]);
    person.send("DELETE", &own, &Value::Null, 204).await?;
    robot.get(CONTAINERS, 401).await?;
    // What another dialect deactivates is refused once that is acknowledged.
    let made = person.send("POST", &tokens, &json!({"password": PASSWORD, "description": "two"}), 201).await?;
    let robot = with(&envoy, "x-api-key", made["rawAPIKey"].as_str().context("no rawAPIKey")?);
    robot.get(CONTAINERS, 200).await?;
    edge.change(&["key", "deactivate", &made["apiKey"]["id"].to_string()]).await?;
    robot.get(CONTAINERS, 401).await?;
    person.send("POST", "/api/auth/logout", &Value::Null, 204).await?;
    person.get(CONTAINERS, 401).await?;
    Ok(())
}

/// A database as Portainer leaves it, with its users admin, alice and bob.
fn database() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/control-plane/src/cli/import/portainer.db")
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_portainer_issued_go_on_working() -> Result<()> {
    let edge = Edge::start(0).await?;
    environments(&edge).await?;
    let envoy = one_url(&edge).await?;
    let cli = edge.control_plane.cli();
    let scratch = Scratch::new("keygate-portainer")?;
    let imported = async |file: &Path, map: &[&str]| {
        let file = file.to_str().context("a path that is no text")?;
        cli.run(&[&["import", "portainer", file, "--output", "json", "--wait", "20"][..], map].concat()).await
    };
    // What cannot be imported as a whole is not begun.
    let clash = imported(&database(), &[]).await?;
    let said = String::from_utf8(clash.stderr)?;
    assert!(!clash.status.success() && said.contains("admin") && said.contains("--map"), "{said}");
    let alices = Digest::of("ptr_+/+/alice");
    let token = |digest: &str| json!({"id": 1, "userId": 2, "description": "ci", "prefix": "ptr_+/+", "digest": digest});
    let export = |tokens: &[Value]| json!({"users": [{"Id": 2, "Username": "carol", "Role": 2}], "api_key": tokens});
    let file = scratch.path().join("export.json");
    let good = token(&STANDARD.encode(alices.as_bytes()));
    fs::write(&file, serde_json::to_string_pretty(&export(&[good.clone(), token("AAAA")]))?)?;
    let broken = imported(&file, &[]).await?;
    let said = String::from_utf8(broken.stderr)?;
    assert!(!broken.status.success() && said.contains("digest must be a SHA-256") && said.contains("line 12"), "{said}");
    assert!(!cli.text(&["account", "list"]).await?.contains("carol"));

    fs::write(&file, export(&[good]).to_string())?;
    for (file, map) in [(&file, &[][..]), (&database(), &["--map", "admin=admin"])] {
        let done = imported(file, map).await?;
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    for name in ["alice", "carol"] {
        edge.change(&["member", "add", "--environment", "4", "--account", name, "--role", "member"]).await?;
    }
    let (of_alice, of_admin) = (format!("ptr_{:044}", 1), format!("ptr_{:044}", 2));
    let (alice, admin) = (with(&envoy, "X-API-KEY", &of_alice), with(&envoy, "x-api-key", &of_admin));
    alice.get(CONTAINERS, 200).await?;
    assert_eq!(alice.text("GET", "/api/settings", &Value::Null, 403).await?, DENIED);
    assert_eq!(alice.get("/api/users/me", 200).await?["Username"], "alice");
    for path in ["/api/settings", "/api/endpoints/5/docker/info", "/api/users"] {
        admin.get(path, 200).await?;
    }
    with(&envoy, "x-api-key", &format!("ptr_{:044}", 5)).get(CONTAINERS, 401).await?;

    // As a query parameter, in any letter case, encoded as it must be: a plus would be a blank.
    let nobody = with(&envoy, "", "");
    for name in ["X-API-Key", "x-api-key", "x-ApI-kEY"] {
        let echo = nobody.get(&format!("{CONTAINERS}?all=1&{name}=ptr_%2B%2F%2b/alice&x=%20"), 200).await?;
        assert_eq!(echo["path"], format!("{CONTAINERS}?all=1&x=%20"), "{echo}");
        assert_eq!(nobody.get(&format!("/api/users/me?{name}=ptr_%2B/%2B/alice"), 200).await?["Username"], "carol");
    }
    nobody.get(&format!("{CONTAINERS}?X-API-Key=ptr_+/+/alice"), 401).await?;
    Ok(())
}
