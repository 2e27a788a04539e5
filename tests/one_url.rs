//! envoy/one-url.yaml: keys are made, used and withdrawn at one address. What its rules let through without judging it goes to the
//! control plane and nowhere else, however it is spelled, and what goes to the upstream carries no credential.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::{
    Answers, Authority, Connection, Envoy, Key, OneUrl, OneUrlSample, Protocol, Upstream, loopback, one_url_rules, raw,
};
use tokio::task::JoinSet;

use crate::edge::{Edge, INSIDE};
use crate::world::account_id;

/// The password of everybody who has one.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// A control plane, an upstream, and one URL before both; environments 1a5, of which alice is an owner, and 1a6, of which she is none.
pub(crate) struct Site {
    pub(crate) edge: Edge,
    pub(crate) one_url: OneUrl,
    authority: Authority,
}

impl Site {
    /// One whose upstream is of this preset's system, and only tells what reached it.
    pub(crate) async fn start(preset: &'static str) -> Result<Self> {
        Self::before(preset, |_| None).await
    }

    /// The same before an upstream that its clients take for one.
    pub(crate) async fn before(preset: &'static str, answers: Answers) -> Result<Self> {
        let edge = Edge { upstream: Upstream::answering(answers)?, ..Edge::start(0).await? };
        for command in [
            &["environment", "create", "--id", "1a5", "--name", "Default"][..],
            &["environment", "create", "--id", "1a6", "--name", "Other"],
            &["account", "create", "--name", "alice", "--kind", "user"],
            &["member", "add", "--environment", "1a5", "--account", "alice", "--role", "owner"],
        ] {
            edge.change(command).await?;
        }
        edge.set_password("alice", PASSWORD).await?;
        let authority = Authority::new()?;
        let certificate = authority.issue("edge", &["localhost"])?;
        let sample = OneUrlSample { management_port: edge.control_plane.http_port(), certificate, preset };
        let one_url = OneUrl::start(&edge.config("edge-1")?, &sample).await?;
        Ok(Self { edge, one_url, authority })
    }

    /// Who signed the certificate of [`OneUrl::https_url`].
    pub(crate) fn ca(&self) -> PathBuf {
        self.authority.path()
    }

    pub(crate) fn envoy(&self) -> &Envoy {
        &self.one_url.envoy
    }

    /// A key of alice's that every proxy knows.
    pub(crate) async fn key(&self) -> Result<Key> {
        self.edge.control_plane.cli().create_key(&["--account", "alice", "--name", "one", "--wait"]).await
    }
}

/// What comes back for a request that is sent as these bytes stand here.
async fn send(edge: SocketAddr, method: &str, path: &[u8], headers: &str) -> Result<String> {
    let line = [
        method.as_bytes(),
        b" ",
        path,
        b" HTTP/1.1\r\nhost: edge\r\nconnection: close\r\ncontent-length: 0\r\n",
        headers.as_bytes(),
        b"\r\n",
    ];
    Ok(String::from_utf8_lossy(&raw(edge, &line.concat()).await?).into_owned())
}

/// A path in the spellings in which somebody may take it for the same.
fn spellings(path: &str) -> Vec<Vec<u8>> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let mut found: Vec<Vec<u8>> = vec![path.into(), format!("{path}/").into(), format!("http://edge{path}").into()];
    for tail in [
        "?x",
        "?action=generateKubeconfig",
        "#x",
        "%23",
        "%3fx",
        ";x",
        "%20",
        "%00",
        ".",
        "/..%2f",
        "/%2e%2e/x",
        "//",
        "/.",
        "%2f",
        "\\",
    ] {
        found.push(format!("{path}{tail}").into());
    }
    found.push([path.as_bytes(), b"/\xff"].concat());
    found.push([path.as_bytes(), b"/\xc3\xa9"].concat());
    for (index, segment) in segments.iter().enumerate() {
        let with = |other: String| {
            let mut segments: Vec<String> = segments.iter().map(|segment| (*segment).to_owned()).collect();
            segments[index] = other;
            format!("/{}", segments.join("/")).into_bytes()
        };
        let mut letters = segment.chars();
        let first = letters.next().map(String::from).unwrap_or_default();
        let encoded = first.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>() + letters.as_str();
        let singular = segment.trim_end_matches('s');
        for other in [
            segment.to_uppercase(),
            first.to_uppercase() + letters.as_str(),
            singular.to_owned(),
            format!("{singular}s"),
            encoded.replace('%', "%25"),
            encoded,
            format!("/{segment}"),
            format!("./{segment}"),
            format!("x/../{segment}"),
            format!("x/%2e%2e/{segment}"),
            format!("{segment};a=b"),
            format!("{segment}%2f"),
            format!("{segment}\\"),
        ] {
            found.push(with(other));
        }
    }
    found
}

/// Sends these paths with a credential and without, and tells how many reached the upstream, which answers with what it got.
async fn try_spellings(edge: SocketAddr, paths: Vec<Vec<u8>>, credential: String) -> Result<u64> {
    let mut reached = 0;
    for path in paths {
        for (method, headers) in [("GET", ""), ("POST", ""), ("POST", "x-http-method-override: GET\r\n")] {
            let answer = send(edge, method, &path, headers).await?;
            ensure!(!is_of_upstream(&answer), "without a credential: {method} {}: {answer}", path.escape_ascii());
        }
        for method in ["GET", "POST"] {
            let answer = send(edge, method, &path, &credential).await?;
            if is_of_upstream(&answer) {
                reached += 1;
                ensure!(answer.contains("x-keygate-key"), "unjudged: {method} {}: {answer}", path.escape_ascii());
                ensure!(!answer.contains("authorization"), "with its credential: {method} {}: {answer}", path.escape_ascii());
            }
        }
    }
    Ok(reached)
}

fn is_of_upstream(answer: &str) -> bool {
    answer.contains("body_bytes")
}

/// For every rule of the sample that this preset's clients need, a path that it is about.
fn examples(preset: &str) -> Result<Vec<String>> {
    let rules = one_url_rules()?;
    let paths: Vec<&str> = rules.iter().filter_map(|rule| rule["path"].as_str()).collect();
    ensure!(paths.len() == rules.len(), "a rule without a path");
    // What holds for one version holds for the other.
    let version = |version: &str| paths.iter().filter_map(|path| path.strip_prefix(version)).collect::<Vec<_>>();
    ensure!(version("/v1") == version("/v2-beta"), "the rules for /v1 are not those for /v2-beta");
    let is_tried = |path: &str| !path.starts_with("/v2-beta") && (preset == "rancher-1.6" || !path.starts_with("/v1/"));
    let example = |path: &&str| path.replace("{environment}", "1a5").replace("**", "x").replace('*', "7");
    Ok(paths.iter().filter(|path| is_tried(path)).map(example).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_management_path_reaches_the_upstream_unjudged() -> Result<()> {
    const AT_ONCE: usize = 8;
    for preset in ["rancher-1.6", "rancher-2", "portainer"] {
        let site = Site::start(preset).await?;
        let (name, basic) = site.key().await?.basic();
        let paths: Vec<Vec<u8>> = examples(preset)?.iter().flat_map(|path| spellings(path)).collect();
        let mut tasks = JoinSet::new();
        for some in paths.chunks(paths.len().div_ceil(AT_ONCE)) {
            tasks.spawn(try_spellings(site.envoy().edge(), some.to_vec(), format!("{name}: {basic}\r\n")));
        }
        let mut reached = 0;
        while let Some(some) = tasks.join_next().await {
            reached += some?.with_context(|| format!("before an upstream of {preset}"))?;
        }
        let received = site.edge.upstream.received();
        ensure!(received == reached, "{preset}: {received} requests reached the upstream, which answered {reached}");
        // Portainer's knows none of these paths.
        ensure!(reached > 0 || preset == "portainer", "{preset}: no spelling was the upstream's, so nothing was seen of it");
    }
    Ok(())
}

/// A key in each of the sample's carriers, as what is put behind the query or as a header; Basic and Rancher 2's cookie come first.
fn in_every_carrier(key: &Key) -> Vec<(String, Option<(&'static str, String)>)> {
    let (name, basic) = key.basic();
    let pair = key.pair();
    let by_user = format!("Basic {}", STANDARD.encode(format!("x-api-bearer=c-abc:{pair}")));
    let cookies = ["R_SESS", "token", "portainer_api_key"].map(|name| ("cookie", format!("a=b; {name}={pair}")));
    let others = [(name, by_user), (name, format!("Bearer {}", key.token)), ("x-api-key", pair.clone())];
    let headers = [(name, basic)].into_iter().chain(cookies).chain(others);
    let parameters = [format!("&x-api-key={pair}"), format!("&a;X%2dApi-%4bey=Bearer+{pair}"), format!("&?x-api-key={pair}")];
    let by_header = headers.map(|header| (String::new(), Some(header)));
    by_header.chain(parameters.map(|parameter| (parameter, None))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_method_carries_a_credential_past_the_control_plane() -> Result<()> {
    let site = Site::start("rancher-2").await?;
    site.edge.change(&["environment", "create", "--id", "c-abc", "--name", "cluster"]).await?;
    site.edge.change(&["member", "add", "--environment", "c-abc", "--account", "alice", "--role", "owner"]).await?;
    let alice = site.key().await?;
    let presented = in_every_carrier(&alice);
    let upstream = &site.edge.upstream;
    let mut connection = Connection::open(site.envoy().edge(), Protocol::Http1).await?;
    let mut reached = 0;
    let mut paths = examples("rancher-1.6")?;
    // Before an owner has deleted the environment, which is among what is tried.
    paths.sort_by_key(|path| !path.starts_with("/v3/cluster"));
    for path in paths.iter().map(|path| path.replace("1a5", "c-abc")) {
        // Where some of it goes to the upstream, everything is tried, elsewhere the two that clients use most.
        let presented = if path.starts_with("/v3/cluster") { &presented[..] } else { &presented[..2] };
        for method in ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "REPORT"] {
            for query in ["?", "?action=generateKubeconfig", "?action=enable", "?action=enable&action=generateKubeconfig"] {
                for (parameter, header) in presented {
                    let before = upstream.received();
                    let headers: Vec<(&str, &str)> = header.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    let answer = connection.send(method, &format!("{path}{query}{parameter}"), &headers, "").await?;
                    if upstream.received() == before {
                        continue;
                    }
                    reached += usize::from(method == "POST" && query == "?action=enable");
                    let seen = upstream.last().to_string();
                    let shown = format!("{method} {path}{query}: {} {seen}", answer.status);
                    ensure!(!seen.contains(&alice.secret_key), "{shown}");
                    ensure!(!seen.contains("authorization"), "{shown}");
                    ensure!(seen.contains("x-keygate-key"), "{shown}");
                }
            }
        }
    }
    ensure!(reached > 0, "the upstream has seen no action of a cluster");
    Ok(())
}

/// What is asked of one environment's keys while something else names another: neither reaches the upstream, and what the control plane
/// tells is of the first alone.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_names_another_environment_opens_none_of_its_keys() -> Result<()> {
    for preset in ["rancher-1.6", "rancher-2", "portainer"] {
        let site = Site::start(preset).await?;
        let elsewhere = ["--environment", "1a6", "--name", "not for alice", "--wait"];
        let other = site.edge.control_plane.cli().create_key(&elsewhere).await?;
        let alice = site.key().await?;
        // Whom it belongs to sees it.
        let (name, admin) = site.edge.control_plane.admin().basic();
        let seen = send(site.envoy().edge(), "GET", b"/v1/projects/1a6/apikeys", &format!("{name}: {admin}\r\n")).await?;
        ensure!(seen.contains(&other.access_key) && seen.contains("not for alice"), "{preset}: {seen}");
        let basic = |user: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{}", alice.pair())));
        let own = format!("authorization: {}\r\n", basic("x-api-bearer"));
        let told = format!("authorization: {}\r\n", basic("x-api-bearer=1a6"));
        let nowhere = format!("authorization: {}\r\n", basic("x-api-bearer="));
        let cookie = format!("cookie: token={}\r\n", alice.token);
        let header = "x-api-project-id: 1a6\r\n";
        for path in [
            "/v1/projects/1a5/apikeys",
            "/v1/projects/1a5/apikeys?projectId=1a6",
            "/v1/projects/1a5/apikeys?accountId=1a6",
            "/v1/projects/1a5/apikeys/x%2f..%2f..%2f1a6%2fapikeys",
            "/v1/projects/1a5/apikeys/%2e%2e/%2e%2e/1a6/apikeys",
            "/v1/projects/1a5/../1a6/apikeys",
            "/v1/projects/1a5%2f..%2f1a6/apikeys",
            "/v1/projects/1a6%2fapikeys",
            "/v1/projects/1a6%3f/apikeys",
            "/v1/projects/1a6/apikeys",
            "/v1/projects/1A6/apikeys",
            "/V1/APIKEYS",
            "/v1/apikeys",
            "/v1/apikeys?projectId=1a6",
            "http://1a6:80@edge/v1/projects/1a6/apikeys",
            "http://edge:99999/v1/projects/1a6/apikeys",
            "//v1/projects/1a6/apikeys",
            "v1/projects/1a6/apikeys",
            "*",
        ] {
            let by_query = format!("{path}{}x-api-key={}", if path.contains('?') { '&' } else { '?' }, alice.token);
            for (path, headers) in [
                (path, own.clone()),
                (path, format!("{own}{header}")),
                (path, told.clone()),
                (path, format!("{told}{cookie}")),
                (path, nowhere.clone()),
                (path, format!("{own}{told}")),
                (path, format!("{cookie}{header}")),
                (by_query.as_str(), header.to_owned()),
            ] {
                for method in ["GET", "POST", "CONNECT", "get", "TRACE"] {
                    let before = site.edge.upstream.received();
                    let answer = send(site.envoy().edge(), method, path.as_bytes(), &headers).await?;
                    let shown = format!("{preset}: {method} {path} {headers}: {answer}");
                    ensure!(!answer.contains(&other.access_key) && !answer.contains("not for alice"), "{shown}");
                    if site.edge.upstream.received() > before {
                        ensure!(!answer.contains(&alice.secret_key) && !answer.contains("authorization"), "{shown}");
                        ensure!(answer.contains("x-keygate-key"), "unjudged: {shown}");
                    }
                }
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_just_made_passes_at_once() -> Result<()> {
    const TIMES: usize = 200;
    let site = Site::start("rancher-1.6").await?;
    let alice = site.key().await?;
    let (name, basic) = alice.basic();
    let mut maker = Connection::open(site.envoy().edge(), Protocol::Http1).await?;
    let mut users = site.envoy().connections_on_every_worker(Protocol::Http1).await?;
    let mut refused = 0;
    for _ in 0..TIMES {
        let made = maker.send("POST", "/v1/apikeys", &[(name, &basic)], r#"{"name":"fresh"}"#).await?;
        let made = made.json()?;
        let text = |field: &str| made[field].as_str().unwrap_or_default();
        let token = format!("Bearer {}:{}", text("publicValue"), text("secretValue"));
        for user in &mut users {
            let answer = user.get(INSIDE, &[("authorization", &token)]).await?;
            refused += usize::from(answer.status != 200);
        }
    }
    ensure!(refused == 0, "{refused} of {} uses of a key that was just made were refused", TIMES * users.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn links_lead_back_to_where_the_client_came_from_whatever_it_claims() -> Result<()> {
    let site = Site::start("rancher-1.6").await?;
    let (name, basic) = site.key().await?.basic();
    let claims = [
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-port", "1"),
        ("forwarded", "host=evil.example;proto=https"),
        ("x-original-host", "evil.example"),
    ];
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut connection = Connection::open(site.envoy().edge(), protocol).await?;
        let headers = [&[(name, basic.as_str())][..], &claims].concat();
        let answer = connection.get("/v1/apikeys", &headers).await?;
        let own = format!("{}/v1/apikeys", site.one_url.url());
        ensure!(answer.json()?["links"]["self"] == own, "{}", answer.text());
        let schemas = format!("{}/v1/schemas", site.one_url.url());
        ensure!(answer.header("x-api-schemas") == Some(&schemas), "{:?}", answer.headers);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_plane_believes_no_header_about_who_asks() -> Result<()> {
    let site = Site::start("rancher-1.6").await?;
    let admin = account_id(&site.edge.control_plane.cli(), "admin").await?;
    let claims = [
        ("x-keygate-account", admin.as_str()),
        ("x-keygate-key", "1"),
        ("x-keygate-access", "write"),
        ("x-api-account-id", "1a1"),
        ("x-api-user-id", "1a1"),
    ];
    let paths = ["/v1/apikeys", "/v2-beta/accounts", "/v1/projects", "/keygate/v1/keys", "/keygate/v1/whoami"];
    for address in [site.envoy().edge(), loopback(site.edge.control_plane.http_port())] {
        let mut connection = Connection::open(address, Protocol::Http1).await?;
        for path in paths {
            let answer = connection.get(path, &claims).await?;
            ensure!(answer.status == 401, "{address} {path}: {} {}", answer.status, answer.text());
        }
    }
    Ok(())
}
