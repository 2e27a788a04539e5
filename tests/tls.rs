//! The way between proxies and control plane when others are on it: who is believed, what is refused, and that both sides say why.

use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{
    Authority, Config, Connection, ControlPlane, Envoy, Issued, Key, Protocol, Serving, TlsSample, Upstream, free_port,
    keygate_binary, loopback, until,
};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::edge::INSIDE;

const NAME: &str = "keygate.test";

/// A control plane over TLS, what signed its certificate, and a key that may pass.
struct Place {
    authority: Authority,
    certificate: Issued,
    control_plane: ControlPlane,
    upstream: Upstream,
    key: Key,
}

impl Place {
    async fn start(options: impl FnOnce(&Authority) -> Vec<String>, beyond_loopback: bool) -> Result<Self> {
        let authority = Authority::new()?;
        let certificate = authority.issue("control-plane", &[NAME])?;
        let mut serving = Serving { beyond_loopback, ..Serving::default() };
        serving.options = flags(&[("--sync-cert", &certificate.cert), ("--sync-key", &certificate.key)]);
        serving.options.extend(options(&authority));
        let control_plane = ControlPlane::start_serving(serving).await?;
        let cli = control_plane.cli();
        cli.text(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
        let key = cli.create_key(&["--environment", "1a5", "--name", "one"]).await?;
        Ok(Self { authority, certificate, control_plane, upstream: Upstream::start()?, key })
    }

    /// What an Envoy is to be like, to begin with: named `proxy`, and with nothing to prove it.
    fn sample(&self, proxy: &str) -> TlsSample {
        let control_plane = (NAME.to_owned(), self.authority.path());
        TlsSample { control_plane, client: None, proxy: proxy.to_owned(), token: None }
    }

    async fn envoy(&self, sample: &TlsSample) -> Result<Envoy> {
        Envoy::start_tls_sample(&Config::new(self.upstream.port(), self.control_plane.sync_port())?, sample).await
    }

    /// It gets a table, and serves by it.
    async fn expect_table(&self, sample: &TlsSample) -> Result<Envoy> {
        let envoy = self.envoy(sample).await?;
        envoy.until_table().await.with_context(|| envoy.log())?;
        ensure!(self.status(&envoy).await? == 200, "a key that may pass does not");
        Ok(envoy)
    }

    /// Its log says why it gets no table, and it serves nothing.
    async fn expect_refusal(&self, sample: &TlsSample, why: &str) -> Result<Envoy> {
        let envoy = self.envoy(sample).await?;
        until_logged(&envoy, why).await?;
        ensure!(self.status(&envoy).await? == 503, "{why}: served without a table");
        Ok(envoy)
    }

    async fn status(&self, envoy: &Envoy) -> Result<u16> {
        let mut connection = Connection::open(envoy.edge(), Protocol::Http1).await?;
        Ok(connection.get(INSIDE, &[("x-api-key", &self.key.token)]).await?.status)
    }

    async fn create_token(&self, proxy: &str) -> Result<(String, String)> {
        let created = self.control_plane.cli().json(&["proxy", "token", "create", proxy]).await?;
        let text = |field: &str| created[field].as_str().map(str::to_owned).context("a token without a field");
        Ok((text("id")?, text("token")?))
    }

    /// What `keygate proxy list` shows of a proxy.
    async fn shown(&self, proxy: &str, field: &str) -> Result<serde_json::Value> {
        let proxies = self.control_plane.cli().json(&["proxy", "list"]).await?;
        let found = proxies.as_array().context("a list")?.iter().find(|shown| shown["name"] == proxy);
        Ok(found.with_context(|| format!("{proxy} is not listed"))?[field].clone())
    }
}

fn flags(files: &[(&str, &std::path::Path)]) -> Vec<String> {
    files.iter().flat_map(|(flag, path)| [(*flag).to_owned(), path.display().to_string()]).collect()
}

async fn until_logged(envoy: &Envoy, what: &str) -> Result<()> {
    let logged = async || Ok(envoy.log().contains(what).then_some(()));
    until(&format!("Envoy to log {what:?}"), logged).await.with_context(|| envoy.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_takes_the_table_only_from_whom_it_can_verify() -> Result<()> {
    let place = Place::start(|_| Vec::new(), false).await?;
    let good = place.sample("edge-1");
    place.expect_table(&good).await?;
    ensure!(place.shown("edge-1", "identity").await? == "loopback", "nothing was proved, and nothing needed");

    let misnamed = TlsSample { control_plane: ("other.test".to_owned(), place.authority.path()), ..place.sample("edge-2") };
    let envoy = place.expect_refusal(&misnamed, "has ended (gRPC status 14)").await?;
    ensure!(envoy.log().contains("CERTIFICATE_VERIFY_FAILED"), "{}", envoy.log());
    ensure!(envoy.stats("cluster.keygate.ssl.fail_verify_san").await?.values().any(|count| *count > 0), "not counted");

    let stranger = Authority::new()?;
    let distrusting = TlsSample { control_plane: (NAME.to_owned(), stranger.path()), ..place.sample("edge-3") };
    let envoy = place.expect_refusal(&distrusting, "has ended (gRPC status 14)").await?;
    ensure!(envoy.stats("cluster.keygate.ssl.fail_verify_error").await?.values().any(|count| *count > 0), "not counted");
    ensure!(place.control_plane.log().contains("a TLS handshake failed"), "{}", place.control_plane.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_proves_the_name_that_it_bears_and_no_other() -> Result<()> {
    let place = Place::start(|authority| flags(&[("--sync-client-ca", &authority.path())]), false).await?;
    place.expect_refusal(&place.sample("edge-0"), "has ended (gRPC status 14)").await?;
    ensure!(place.control_plane.log().contains("peer sent no certificates"), "{}", place.control_plane.log());

    let client = Some(place.authority.issue("edge-1", &["edge-1"])?);
    let envoy = place.expect_table(&TlsSample { client: client.clone(), ..place.sample("edge-1") }).await?;
    ensure!(place.shown("edge-1", "identity").await? == "certificate", "by what else?");
    drop(envoy);

    let other = TlsSample { client: client.clone(), ..place.sample("edge-2") };
    place.expect_refusal(&other, "the client certificate is edge-1's, not edge-2's").await?;
    let (id, token) = place.create_token("edge-2").await?;
    let _envoy = place.expect_table(&TlsSample { token: Some(token), ..other }).await?;
    ensure!(place.shown("edge-2", "identity").await? == format!("token {id}"), "the token proves the name");

    let stranger = Authority::new()?;
    let foreign = TlsSample { client: Some(stranger.issue("edge-3", &["edge-3"])?), ..place.sample("edge-3") };
    place.expect_refusal(&foreign, "has ended (gRPC status 14)").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_served_without_a_restart_and_streams_go_on() -> Result<()> {
    let place = Place::start(|_| Vec::new(), false).await?;
    let envoy = place.expect_table(&place.sample("edge-1")).await?;
    let logged = async |what: &str| {
        let log = async || Ok(place.control_plane.log().contains(what).then_some(()));
        until(&format!("the control plane to log {what:?}"), log).await
    };

    // Half of a new pair changes nothing, and is told.
    let key = std::fs::read(&place.certificate.key)?;
    place.authority.issue("control-plane", &["second.test"])?;
    let second_key = std::fs::read(&place.certificate.key)?;
    std::fs::write(&place.certificate.key, key)?;
    logged("the former certificate stays in service: --sync-cert").await?;
    place.expect_table(&place.sample("edge-2")).await?;
    std::fs::write(&place.certificate.key, second_key)?;
    logged("a new certificate is served from now on").await?;
    let renamed = TlsSample { control_plane: ("second.test".to_owned(), place.authority.path()), ..place.sample("edge-3") };
    place.expect_table(&renamed).await?;
    place.expect_refusal(&place.sample("edge-4"), "CERTIFICATE_VERIFY_FAILED").await?;

    // The stream of before is the same one, and brings what is new.
    ensure!(!envoy.log().contains("has ended"), "{}", envoy.log());
    place.control_plane.cli().text(&["proxy", "forget", "edge-2"]).await?;
    place.control_plane.cli().text(&["proxy", "forget", "edge-3"]).await?;
    place.control_plane.cli().text(&["key", "deactivate", &place.key.id, "--wait", "20"]).await?;
    ensure!(place.status(&envoy).await? == 401, "the deactivation did not arrive");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_a_proxy_needs_its_own_token_and_loses_its_stream_with_it() -> Result<()> {
    let place = Place::start(|_| Vec::new(), true).await?;
    let with = |token: &str| TlsSample { token: Some(token.to_owned()), ..place.sample("edge-1") };
    place.expect_refusal(&place.sample("edge-1"), "the proxy proves its name by nothing").await?;
    place.expect_refusal(&with(&format!("kgj_{}", "a".repeat(40))), "there is no such join token").await?;
    let (_, others) = place.create_token("edge-2").await?;
    place.expect_refusal(&with(&others), "the join token is another proxy's, not edge-1's").await?;

    let (id, token) = place.create_token("edge-1").await?;
    let envoy = place.expect_table(&with(&token)).await?;
    ensure!(place.shown("edge-1", "identity").await? == format!("token {id}"), "by what else?");
    let cli = place.control_plane.cli();
    cli.text(&["proxy", "token", "revoke", &id]).await?;
    until_logged(&envoy, &format!("has ended (gRPC status 16): join token {id} was revoked")).await?;
    // It comes back, and is refused again and again.
    until_logged(&envoy, &format!("(gRPC status 16): join token {id} of edge-1 is revoked")).await?;
    ensure!(place.shown("edge-1", "connected").await? == false, "the stream is still there");
    ensure!(place.status(&envoy).await? == 200, "within its staleness limit it goes on with the table that it has");
    let missed = cli.run(&["key", "deactivate", &place.key.id, "--wait", "1"]).await?;
    ensure!(missed.status.code() == Some(3) && text(&missed.stderr).contains("edge-1"), "{}", text(&missed.stderr));
    ensure!(place.status(&envoy).await? == 200, "nothing reaches it any more");
    drop(envoy);

    // Another one lets the name in again.
    let (_, fresh) = place.create_token("edge-1").await?;
    let envoy = place.envoy(&with(&fresh)).await?;
    envoy.until_table().await?;
    ensure!(place.status(&envoy).await? == 401, "the table is not the newest");
    // The process that had the revoked one may still serve, as far as anybody knows who does not say that it has ended.
    let missed = cli.run(&["key", "activate", &place.key.id, "--wait", "1"]).await?;
    ensure!(missed.status.code() == Some(3) && text(&missed.stderr).contains("edge-1"), "{}", text(&missed.stderr));
    let connected = cli.run(&["proxy", "forget", "edge-1"]).await?;
    ensure!(connected.status.code() == Some(1) && text(&connected.stderr).contains("--former"), "{}", text(&connected.stderr));
    cli.text(&["proxy", "forget", "edge-1", "--former"]).await?;
    cli.text(&["key", "deactivate", &place.key.id, "--wait"]).await?;
    ensure!(place.status(&envoy).await? == 401, "its stream and its token are as before");
    let nothing = cli.run(&["proxy", "forget", "edge-1", "--former"]).await?;
    ensure!(nothing.status.code() == Some(1) && text(&nothing.stderr).contains("nothing to forget"), "{}", text(&nothing.stderr));
    let listed = cli.text(&["proxy", "token", "list", "edge-1"]).await?;
    ensure!(listed.contains("revoked") && listed.contains("active"), "{listed}");
    let logs = [place.control_plane.log(), envoy.log(), listed].concat();
    for secret in [&token, &others, &fresh] {
        ensure!(!logs.contains(secret.as_str()), "a token was logged or listed");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_has_had_a_token_needs_one_on_loopback_too_until_it_is_forgotten() -> Result<()> {
    let place = Place::start(|_| Vec::new(), false).await?;
    let (id, token) = place.create_token("edge-1").await?;
    let envoy = place.expect_table(&TlsSample { token: Some(token), ..place.sample("edge-1") }).await?;
    envoy.stop().await?;
    place.control_plane.cli().text(&["proxy", "token", "revoke", &id]).await?;
    let needs = "the name edge-1 has had a join token and needs one";
    let envoy = place.expect_refusal(&place.sample("edge-1"), needs).await?;
    until("the stream of before to have ended", async || Ok((place.shown("edge-1", "connected").await? == false).then_some(())))
        .await?;
    place.control_plane.cli().text(&["proxy", "forget", "edge-1"]).await?;
    envoy.until_table().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_safely_is_not_served() -> Result<()> {
    let authority = Authority::new()?;
    let (one, other) = (authority.issue("one", &[NAME])?, authority.issue("other", &[NAME])?);
    let scratch = harness::Scratch::new("keygate-data")?;
    let data = scratch.path().join("data");
    ControlPlane::init(&data).await?;
    let serve = async |options: &[String]| -> Result<Output> {
        let http = loopback(free_port()?).to_string();
        let mut command = Command::new(keygate_binary()?);
        command.args(["serve", "--data", &data.to_string_lossy(), "--http", &http]).args(options).kill_on_drop(true);
        Ok(tokio::time::timeout(Duration::from_secs(20), command.output()).await.context("it serves")??)
    };
    let missing = authority.path().with_file_name("missing.pem");
    let pipe = authority.path().with_file_name("pipe");
    ensure!(Command::new("mkfifo").arg(&pipe).status().await?.success(), "mkfifo");
    for (options, named) in [
        // Nobody writes to it: whoever opened it would wait for ever.
        (flags(&[("--http-cert", &one.cert), ("--http-key", &pipe)]), vec!["--http-key", "not a pipe"]),
        (vec!["--sync".to_owned(), format!("0.0.0.0:{}", free_port()?)], vec!["--sync-cert", "--sync-key", "127.0.0.1"]),
        (flags(&[("--sync-cert", &one.cert), ("--sync-key", &other.key)]), vec!["--sync-cert", "--sync-key", "belong together"]),
        (flags(&[("--http-cert", &one.cert), ("--http-key", &other.key)]), vec!["--http-cert", "--http-key", "belong together"]),
        (flags(&[("--sync-cert", &missing), ("--sync-key", &one.key)]), vec!["--sync-cert", "missing.pem"]),
        (flags(&[("--sync-cert", &one.cert), ("--sync-key", &one.cert)]), vec!["--sync-key", "no private key"]),
        (
            flags(&[("--sync-cert", &one.cert), ("--sync-key", &one.key), ("--sync-client-ca", &one.key)]),
            vec!["--sync-client-ca", "no certificate"],
        ),
        (flags(&[("--sync-cert", &one.cert)]), vec!["--sync-key"]),
    ] {
        let output = serve(&options).await.with_context(|| format!("{options:?}"))?;
        ensure!(!output.status.success(), "{options:?} was served");
        let said = text(&output.stderr);
        ensure!(named.iter().all(|part| said.contains(part)), "{options:?}: {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_speaks_https_to_whoever_trusts_it() -> Result<()> {
    let authority = Authority::new()?;
    let certificate = authority.issue("api", &["localhost", "127.0.0.1"])?;
    let options = flags(&[("--http-cert", &certificate.cert), ("--http-key", &certificate.key)]);
    let serving = Serving { options, http_ca: Some(authority.path()), ..Serving::default() };
    let control_plane = ControlPlane::start_serving(serving).await?;
    ensure!(control_plane.url().starts_with("https://"), "{}", control_plane.url());
    // Those that say nothing hold nobody up.
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(loopback(control_plane.http_port())).await?);
    }
    let asked = Instant::now();
    control_plane.cli().text(&["account", "list"]).await?;
    ensure!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());

    let stranger = Authority::new()?;
    let distrusted = control_plane.cli().trusting(&stranger.path()).run(&["account", "list"]).await?;
    ensure!(distrusted.status.code() == Some(1), "{}", distrusted.status);
    let said = text(&distrusted.stderr);
    ensure!(said.contains("is not trusted") && said.contains("KEYGATE_CA"), "{said}");
    // The other scheme, and the proxies' port, which is without TLS here.
    for (scheme, port, named) in [
        ("http", control_plane.http_port(), "https://"),
        ("https", control_plane.sync_port(), "http://"),
        ("http", control_plane.sync_port(), "another port"),
    ] {
        let url = format!("{scheme}://{}", loopback(port));
        let mistaken = control_plane.cli().run(&["account", "list", "--url", &url]).await?;
        let said = text(&mistaken.stderr);
        ensure!(mistaken.status.code() == Some(1) && said.contains(named), "{url}: {said}");
    }
    let unreadable = control_plane.cli().trusting(&certificate.key).run(&["account", "list"]).await?;
    ensure!(unreadable.status.code() == Some(2) && text(&unreadable.stderr).contains("--ca"), "{}", text(&unreadable.stderr));

    let url = format!("{}/healthz", control_plane.url());
    let ca = authority.path().display().to_string();
    let status = async |options: &[&str]| {
        let written = ["--silent", "--output", "/dev/null", "--write-out", "%{http_code} %{http_version}", "--max-time", "10"];
        let output = Command::new("curl").args(written).args(options).arg(&url).output().await?;
        anyhow::Ok(text(&output.stdout))
    };
    ensure!(status(&["--cacert", &ca]).await? == "200 1.1", "curl is not answered");
    ensure!(status(&["--cacert", &ca, "--tls-max", "1.2"]).await? == "200 1.1", "TLS 1.2 is not spoken");
    ensure!(status(&["--cacert", &ca, "--tlsv1.0", "--tls-max", "1.1"]).await?.starts_with("000"), "TLS 1.1 is spoken");
    ensure!(status(&[]).await?.starts_with("000"), "curl trusts a stranger");
    let mut plain = Connection::open(loopback(control_plane.http_port()), Protocol::Http1).await?;
    ensure!(plain.get("/healthz", &[]).await.is_err(), "plain HTTP is answered");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_serves_with_an_authoritys_certificate_is_told_how_to_make_a_servers() -> Result<()> {
    let authority = Authority::new()?;
    let certificate = authority.issue("api", &["127.0.0.1"])?;
    let options = flags(&[("--http-cert", &certificate.cert), ("--http-key", &certificate.key)]);
    let serving = Serving { options, http_ca: Some(authority.path()), ..Serving::default() };
    let control_plane = ControlPlane::start_serving(serving).await?;
    authority.issue_itself("api")?;
    until("the command line to be shown the authority's certificate, and to say what to do", async || {
        let said = text(&control_plane.cli().run(&["account", "list"]).await?.stderr);
        Ok(said.contains("basicConstraints=critical,CA:FALSE").then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn links_lead_to_where_the_client_came_by_tls_without_a_proxy_in_front() -> Result<()> {
    let authority = Authority::new()?;
    let certificate = authority.issue("api", &["localhost", "127.0.0.1"])?;
    let options = flags(&[("--http-cert", &certificate.cert), ("--http-key", &certificate.key)]);
    let serving = Serving { options, http_ca: Some(authority.path()), ..Serving::default() };
    let control_plane = ControlPlane::start_serving(serving).await?;
    let ca = authority.path().display().to_string();
    let schemas = async |path: &str, options: &[&str]| {
        let written = ["--silent", "--output", "/dev/null", "--write-out", "%header{x-api-schemas}", "--max-time", "10"];
        let url = format!("{}{path}", control_plane.url());
        let output = Command::new("curl").args(written).args(["--cacert", &ca]).args(options).arg(url).output().await?;
        anyhow::Ok(text(&output.stdout))
    };
    let url = control_plane.url();
    for version in ["/v1", "/v3"] {
        ensure!(schemas(version, &[]).await? == format!("{url}{version}/schemas"), "{}", schemas(version, &[]).await?);
        // A proxy that speaks TLS to us knows what its own client spoke.
        let behind = schemas(version, &["--header", "x-forwarded-proto: http"]).await?;
        ensure!(behind.starts_with("http://"), "{behind}");
    }
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
