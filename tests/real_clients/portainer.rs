//! Portainer's clients: portainer-ctl, and the document's own lines for httpie and curl.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Clients, DENIED};
use crate::one_url::{PASSWORD, Site};

/// What Portainer would say of environment 4, as far as the clients want to know.
fn answers(path: &str) -> Option<Value> {
    Some(match path {
        "/api/stacks" => json!([{"Id": 5, "Name": "blog", "EndpointId": 4, "Type": 1, "Status": 1}]),
        "/api/endpoints" => json!([{"Id": 4, "Name": "production", "Type": 1, "URL": "unix:///var/run/docker.sock"}]),
        "/api/endpoints/4/docker/version" | "/api/endpoints/5/docker/version" => json!({"ApiVersion": "1.43"}),
        "/api/endpoints/4/docker/info" => json!({"Swarm": {"Cluster": {"ID": "swarm"}}}),
        "/api/stacks/create/swarm/string" => json!({"Id": 6, "Name": "web", "EndpointId": 4}),
        _ => return None,
    })
}

/// A site before Portainer; alice works in its environment 4, not in 5.
async fn site() -> Result<Site> {
    let site = Site::before("portainer", answers).await?;
    for command in [
        &["environment", "create", "--id", "4", "--name", "production"][..],
        &["environment", "create", "--id", "5", "--name", "staging"],
        &["member", "add", "--environment", "4", "--account", "alice", "--role", "member"],
    ] {
        site.edge.change(command).await?;
    }
    Ok(site)
}

/// Whoever has made themselves an access token, as the document says.
struct Holder {
    user: String,
    jwt: String,
    token: String,
    token_id: String,
}

impl Clients {
    /// What httpie prints of an answer, which must have a status below 400, or of this hundred.
    async fn portainer(&self, ca: &str, arguments: &[&str], hundred: i32) -> Result<String> {
        let verify = format!("--verify={ca}");
        let (body, ended) = self.httpie(&[&[verify.as_str()], arguments].concat()).await?;
        ensure!(ended == Some(hundred), "http {arguments:?}: {ended:?} {body}");
        Ok(body)
    }

    async fn make_token(&self, url: &str, ca: &str) -> Result<Holder> {
        let read = |text: String| serde_json::from_str::<Value>(&text).with_context(|| format!("no JSON: {text}"));
        let (name, password) = ("Username=alice", format!("Password={PASSWORD}"));
        let login = self.portainer(ca, &["POST", &format!("{url}/api/auth"), name, &password], 0).await?;
        let jwt = read(login)?["jwt"].as_str().context("no jwt")?.to_owned();
        let bearer = format!("Authorization:Bearer {jwt}");
        let me = read(self.portainer(ca, &["GET", &format!("{url}/api/users/me"), &bearer], 0).await?)?;
        let user = me["Id"].as_u64().context("no id")?.to_string();
        let tokens = format!("{url}/api/users/{user}/tokens");
        let (password, description) = (format!("password={PASSWORD}"), "description=ci");
        let made = read(self.portainer(ca, &["POST", &tokens, &bearer, &password, description], 0).await?)?;
        let token = made["rawAPIKey"].as_str().context("no key")?.to_owned();
        ensure!(token.starts_with("ptr_") && token.len() == 48, "{token}");
        let token_id = made["apiKey"]["id"].as_u64().context("no id of the token")?.to_string();
        Ok(Holder { user, jwt, token, token_id })
    }

    /// Runs portainer-ctl with these variables; what it prints.
    async fn pctl(&self, url: &str, ca: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Result<Result<String, String>> {
        let mut command = self.command(self.venv.program("pctl"));
        command.env("PORTAINER_HOST", format!("{url}/api")).env("REQUESTS_CA_BUNDLE", ca).envs(variables.iter().copied());
        let output = command.arg("--json").args(arguments).output().await.context("running pctl")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stdout);
        Ok(if output.status.success() { Ok(said) } else { Err(format!("{said}{}", text(&output.stderr))) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn portainer_ctl_works_with_an_access_token_and_with_a_password() -> Result<()> {
    let site = site().await?;
    let clients = Clients::bring().await?;
    let ca = site.ca().display().to_string();
    let compose = clients.home.path().join("compose.yaml");
    std::fs::write(&compose, "services: {}\n")?;
    let compose = compose.display().to_string();
    let deploy = |environment| ["deploy", "-f", compose.as_str(), "-E", environment, "-S", "web"];
    for url in [site.one_url.url(), site.one_url.https_url()] {
        let holder = clients.make_token(&url, &ca).await?;
        let by_token = [("PORTAINER_TOKEN", holder.token.as_str())];
        let by_password = [("PORTAINER_USERNAME", "alice"), ("PORTAINER_PASSWORD", PASSWORD)];
        for credential in [&by_token[..], &by_password] {
            let pctl = async |arguments: &[&str]| clients.pctl(&url, &ca, credential, arguments).await;
            for (arguments, word) in [(&["stacks", "ls"][..], "blog"), (&["endpoints", "ls"], "production"), (&deploy("4"), "")] {
                let said = pctl(arguments).await?;
                ensure!(said.as_ref().is_ok_and(|text| text.contains(word)), "pctl {arguments:?} {credential:?}: {said:?}");
            }
            let seen = site.edge.upstream.last();
            ensure!(seen["path"] == "/api/stacks/create/swarm/string?endpointId=4", "{seen}");
            let headers = seen["headers"].to_string();
            ensure!(!headers.contains("x-api-key") && !headers.contains("authorization"), "with its credential: {headers}");
            let elsewhere = pctl(&deploy("5")).await?;
            ensure!(
                elsewhere.as_ref().is_err_and(|error| error.contains("Access denied")),
                "in another environment: {elsewhere:?}"
            );
        }
        let tokens = format!("{url}/api/users/{}/tokens/{}", holder.user, holder.token_id);
        clients.portainer(&ca, &["DELETE", &tokens, &format!("Authorization:Bearer {}", holder.jwt)], 0).await?;
        let refused = clients.pctl(&url, &ca, &by_token, &["stacks", "ls"]).await?;
        ensure!(refused.as_ref().is_err_and(|error| error.contains("401")), "with a deleted token: {refused:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_s_lines_about_portainer_get_its_answers() -> Result<()> {
    let site = site().await?;
    let clients = Clients::bring().await?;
    let (url, ca) = (site.one_url.https_url(), site.ca().display().to_string());
    let holder = clients.make_token(&url, &ca).await?;
    let key = format!("X-API-Key:{}", holder.token);
    let stacks = clients.portainer(&ca, &["GET", &format!("{url}/api/stacks"), &key], 0).await?;
    ensure!(stacks.contains(r#""Name":"blog""#), "{stacks}");
    let settings = clients.portainer(&ca, &["GET", &format!("{url}/api/settings"), &key], 4).await?;
    ensure!(settings == DENIED, "{settings}");
    for query in ["X-API-Key", "x-api-key", "X-Api-KEY"] {
        let by_query =
            clients.portainer(&ca, &["GET", &format!("{url}/api/stacks"), &format!("{query}=={}", holder.token)], 0).await?;
        ensure!(by_query.contains(r#""Name":"blog""#), "{by_query}");
    }
    let (body, status) =
        clients.curl(&["--cacert", &ca, "-H", &key.replacen(':', ": ", 1), &format!("{url}/api/settings")]).await?;
    ensure!((status.as_str(), body.as_str()) == ("403", DENIED), "{status} {body}");

    // What one dialect made is seen and withdrawn in the others.
    site.edge.change(&["key", "deactivate", &holder.token_id]).await?;
    clients.portainer(&ca, &["GET", &format!("{url}/api/stacks"), &key], 4).await?;
    Ok(())
}
