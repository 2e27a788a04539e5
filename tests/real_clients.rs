//! Clients that other people wrote, unchanged and pinned, at the one URL. Here are those of Rancher 1.6: rancher_yarl, gdapi-python and
//! cattle, curl, httpie.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{Key, Scratch, Venv, project};
use serde_json::Value;
use tokio::process::Command;

use crate::edge::INSIDE;
use crate::one_url::{PASSWORD, Site};

// kubectl, before Rancher 2.
mod kubectl;
// Portainer's.
mod portainer;

const DENIED: &str = r#"{"details":"Unauthorized","message":"Access denied"}"#;
const NO_TOKEN: &str = r#"{"details":"Unauthorized","message":"A valid authorization token is missing"}"#;

/// The clients in Python, and a home that is empty but for what a test puts there.
struct Clients {
    venv: Venv,
    home: Scratch,
}

impl Clients {
    async fn bring() -> Result<Self> {
        Ok(Self { venv: Venv::of("tests/real_clients").await?, home: Scratch::new("keygate-clients")? })
    }

    /// A command of a program, which is its own or the system's.
    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env("HOME", self.home.path()).env("NO_PROXY", "*").kill_on_drop(true);
        command
    }

    /// Runs one of our scripts that drive a client's library.
    fn script(&self, name: &str) -> Command {
        let mut command = self.command(self.venv.program("python"));
        command.arg(project().join("tests/real_clients").join(name));
        command
    }

    async fn yarl(&self, site: &Site, arguments: &[&str]) -> Result<String> {
        let mut command = self.script("yarl.py");
        printed(command.arg(site.envoy().edge().to_string()).args(arguments).env("PASSWORD", PASSWORD)).await
    }

    /// What curl prints, and the status.
    async fn curl(&self, arguments: &[&str]) -> Result<(String, String)> {
        let mut command = self.command("curl");
        let text = printed(command.args(["--silent", "--show-error", "--write-out", "\n%{http_code}"]).args(arguments)).await?;
        let (body, status) = text.rsplit_once('\n').context("curl wrote no status")?;
        Ok((body.to_owned(), status.to_owned()))
    }

    /// What httpie prints, and how it ends: 0, or with --check-status the status's first digit.
    async fn httpie(&self, arguments: &[&str]) -> Result<(String, Option<i32>)> {
        let mut command = self.command(self.venv.program("http"));
        command.args(["--ignore-stdin", "--check-status", "--pretty=none", "--body"]).args(arguments);
        let output = command.output().await.context("running httpie")?;
        Ok((String::from_utf8(output.stdout)?.trim_end().to_owned(), output.status.code()))
    }
}

/// What a command printed that must succeed.
async fn printed(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.output().await.with_context(|| format!("running {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}\n{}", String::from_utf8_lossy(&stderr));
    Ok(String::from_utf8(stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rancher_yarl_makes_passes_until_keygate_withdraws_it() -> Result<()> {
    let site = Site::start("rancher-1.6").await?;
    let clients = Clients::bring().await?;
    let inside = format!("{}{INSIDE}", site.one_url.url());
    let key: Value = serde_json::from_str(&clients.yarl(&site, &["create"]).await?)?;
    let text = |name: &str| key[name].as_str().with_context(|| format!("a key without {name}"));
    let (id, pair) = (text("id")?, format!("{}:{}", text("access")?, text("secret")?));
    let (body, status) = clients.curl(&["-u", &pair, &inside]).await?;
    ensure!(status == "200", "right after rancher_yarl made it: {status} {body}");

    let number = id.strip_prefix("1c").context("an id of another form")?;
    let began = Instant::now();
    site.edge.control_plane.cli().text(&["key", "deactivate", number, "--wait"]).await?;
    let (body, status) = clients.curl(&["-u", &pair, &inside]).await?;
    ensure!((status.as_str(), body.as_str()) == ("401", NO_TOKEN), "once keygate has deactivated it: {status} {body}");
    ensure!(began.elapsed() < Duration::from_secs(1), "refused after {:?}", began.elapsed());

    site.edge.control_plane.cli().text(&["key", "activate", number, "--wait"]).await?;
    let (body, status) = clients.curl(&["-u", &pair, &inside]).await?;
    ensure!(status == "200", "active again: {status} {body}");
    clients.yarl(&site, &["deactivate", id]).await?;
    harness::until("the key to be refused", async || {
        let (_, status) = clients.curl(&["-u", &pair, &inside]).await?;
        Ok((status == "401").then_some(()))
    })
    .await?;
    clients.yarl(&site, &["delete", id]).await?;
    let (_, status) = clients.curl(&["-u", &pair, &format!("{}/v2-beta/apikeys", site.one_url.url())]).await?;
    ensure!(status == "401", "the deleted key at the control plane: {status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_driven_clients_find_and_manage_keys() -> Result<()> {
    let site = Site::start("rancher-1.6").await?;
    let clients = Clients::bring().await?;
    let alice = site.key().await?;
    let environment = ["--environment", "1a5", "--name", "environment", "--wait"];
    let environment = site.edge.control_plane.cli().create_key(&environment).await?;
    let mut command = clients.script("schema_driven.py");
    command.arg(site.one_url.url());
    for (name, value) in [
        ("ACCESS_KEY", &alice.access_key),
        ("SECRET_KEY", &alice.secret_key),
        ("ENVIRONMENT_ACCESS_KEY", &environment.access_key),
        ("ENVIRONMENT_SECRET_KEY", &environment.secret_key),
    ] {
        command.env(name, value);
    }
    printed(&mut command).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_and_httpie_manage_and_use_keys_in_the_documents_own_words() -> Result<()> {
    let site = Site::start("rancher-1.6").await?;
    let clients = Clients::bring().await?;
    let alice = site.key().await?;
    let ca = site.ca().display().to_string();
    for url in [site.one_url.url(), site.one_url.https_url()] {
        clients.curl_manages(&url, &ca, &alice).await.with_context(|| format!("curl at {url}"))?;
        clients.httpie_manages(&url, &ca, &alice).await.with_context(|| format!("httpie at {url}"))?;
    }
    Ok(())
}

impl Clients {
    /// A key's life by curl, with `-u`, with a .netrc file and with a login's token.
    async fn curl_manages(&self, url: &str, ca: &str, alice: &Key) -> Result<()> {
        let netrc = self.home.path().join(".netrc");
        let host = url.split("//").nth(1).and_then(|rest| rest.split(':').next()).context("no host")?;
        std::fs::write(&netrc, format!("machine {host} login {} password {}\n", alice.access_key, alice.secret_key))?;
        let netrc = netrc.display().to_string();
        for credential in [&["-u", &alice.pair()][..], &["--netrc-file", &netrc], &["--netrc"]] {
            let curl = async |arguments: &[&str], status: &str| {
                let (body, said) = self.curl(&[credential, &["--cacert", ca], arguments].concat()).await?;
                ensure!(said == status, "{credential:?} {arguments:?}: {said} {body}");
                serde_json::from_str::<Value>(&body).with_context(|| format!("{arguments:?} answered {body}"))
            };
            let keys = format!("{url}/v1/apikeys");
            let json = r#"{"name":"ci","description":"made by curl"}"#;
            let key = curl(&["-X", "POST", "-H", "Content-Type: application/json", "-d", json, &keys], "201").await?;
            let own = key["links"]["self"].as_str().context("no link")?;
            ensure!(own.starts_with(&keys), "{own} does not lead back to {url}");
            let listed = curl(&[&keys], "200").await?;
            ensure!(listed["data"].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == key["id"])), "{listed}");
            let edited = curl(&["-X", "PUT", "-d", r#"{"name":"renamed"}"#, own], "200").await?;
            ensure!(edited["name"] == "renamed", "{edited}");
            let deactivate = key["actions"]["deactivate"].as_str();
            let shown = curl(&[own], "200").await?;
            let deactivate = shown["actions"]["deactivate"].as_str().or(deactivate).context("no action")?;
            curl(&["-X", "POST", deactivate], "202").await?;
            curl(&["-X", "DELETE", own], "200").await?;
            let (body, status) = self.curl(&[credential, &["--cacert", ca, &format!("{url}{INSIDE}")]].concat()).await?;
            ensure!(status == "200", "{credential:?} in its environment: {status} {body}");
            let elsewhere = format!("{url}/v1/projects/1a6/apikeys");
            let (body, status) = self.curl(&[credential, &["--cacert", ca, &elsewhere]].concat()).await?;
            ensure!(
                (status.as_str(), body.as_str()) == ("403", DENIED),
                "{credential:?} in another environment: {status} {body}"
            );
        }
        // httpie would use it, too.
        std::fs::remove_file(netrc)?;
        let code = format!("code=alice:{PASSWORD}");
        let (body, status) = self.curl(&["--cacert", ca, "--data-urlencode", &code, &format!("{url}/v1/token")]).await?;
        ensure!(status == "201", "logging in: {status} {body}");
        let login: Value = serde_json::from_str(&body)?;
        let bearer = format!("Authorization: Bearer {}", login["jwt"].as_str().context("no jwt")?);
        let (body, status) = self.curl(&["--cacert", ca, "-H", &bearer, &format!("{url}{INSIDE}")]).await?;
        ensure!(status == "200", "with a fresh login at the edge: {status} {body}");
        Ok(())
    }

    async fn httpie_manages(&self, url: &str, ca: &str, alice: &Key) -> Result<()> {
        let (pair, verify) = (alice.pair(), format!("--verify={ca}"));
        let keys = format!("{url}/v2-beta/apikeys");
        let http = async |arguments: &[&str], code: i32| {
            let (body, ended) = self.httpie(&[&[verify.as_str()], arguments].concat()).await?;
            ensure!(ended == Some(code), "{arguments:?}: {ended:?} {body}");
            Ok(body)
        };
        let key: Value = serde_json::from_str(&http(&["-a", &pair, "POST", &keys, "name=httpie"], 0).await?)?;
        let own = key["links"]["self"].as_str().context("no link")?;
        let fresh = format!("{}:{}", key["publicValue"].as_str().unwrap_or(""), key["secretValue"].as_str().unwrap_or(""));
        let inside = format!("{url}{INSIDE}");
        http(&["-a", &fresh, &inside], 0).await.context("a key right after it was made")?;
        http(&["-A", "bearer", "-a", &fresh, &inside], 0).await?;
        http(&["-a", &pair, "POST", &format!("{own}/?action=deactivate")], 0).await?;
        http(&["-a", &pair, "DELETE", own], 0).await?;
        let refused = http(&["-a", &pair, &format!("{url}/v1/projects/1a6/hosts")], 4).await?;
        ensure!(refused == DENIED, "{refused}");
        http(&[&keys], 4).await?;
        Ok(())
    }
}
