//! Real clients, and the details that they depend on: challenges, HEAD, gRPC, HTTP/2, raw bytes.

use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{Connection, Envoy, Key, Protocol, Scratch, raw, until};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::edge::{Edge, INSIDE};

const DENIED: &str = r#"{"details":"Unauthorized","message":"Access denied"}"#;
const UNAUTHORIZED: &str = r#"{"details":"Unauthorized","message":"A valid authorization token is missing"}"#;

/// Edits that make Envoy pass trailers on over HTTP/1.1, and headers with underscores.
const TRAILERS_ON: [(&str, &str); 3] = [
    ("use_remote_address: true", "use_remote_address: true\n                http_protocol_options: { enable_trailers: true }"),
    ("headers_with_underscores_action: REJECT_REQUEST", "headers_with_underscores_action: ALLOW"),
    (
        "load_assignment:\n        cluster_name: upstream",
        "typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: { http_protocol_options: { enable_trailers: true } }
      load_assignment:
        cluster_name: upstream",
    ),
];

async fn edge_with_keys() -> Result<(Edge, Key, Key)> {
    let edge = Edge::start(1).await?;
    let cli = edge.control_plane.cli();
    for (id, name) in [("1a5", "production"), ("1a6", "staging")] {
        edge.change(&["environment", "create", "--id", id, "--name", name]).await?;
    }
    let inside = cli.create_key(&["--environment", "1a5", "--name", "inside", "--wait"]).await?;
    let outside = cli.create_key(&["--environment", "1a6", "--name", "outside", "--wait"]).await?;
    Ok((edge, inside, outside))
}

async fn curl(edge: &Edge, arguments: &[&str]) -> Result<Output> {
    let url = format!("http://{}{INSIDE}", edge.envoys[0].edge());
    let arguments = [&["--silent", "--show-error", "--write-out", "\n%{http_code}"], arguments, &[url.as_str()]].concat();
    Command::new("curl").args(arguments).output().await.context("running curl")
}

/// The body and the status.
async fn curl_says(edge: &Edge, arguments: &[&str]) -> Result<(String, String)> {
    let output = curl(edge, arguments).await?;
    ensure!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let (body, status) = text.rsplit_once('\n').context("curl wrote no status")?;
    Ok((body.to_owned(), status.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_uses_a_key_in_every_documented_way() -> Result<()> {
    let (edge, inside, outside) = edge_with_keys().await?;
    let scratch = Scratch::new("keygate-netrc")?;
    for (key, status) in [(&inside, "200"), (&outside, "403")] {
        let netrc = scratch.path().join("netrc");
        std::fs::write(&netrc, format!("machine 127.0.0.1 login {} password {}\n", key.access_key, key.secret_key))?;
        let netrc = netrc.to_string_lossy().into_owned();
        let (pair, bearer, api_key) =
            (key.pair(), format!("Authorization: Bearer {}", key.token), format!("X-API-Key: {}", key.token));
        for arguments in [
            &["-u", &pair][..],
            &["--netrc-file", &netrc],
            &["-H", &bearer],
            &["-H", &api_key],
            &["--http2-prior-knowledge", "-u", &pair],
            &["--http2-prior-knowledge", "-H", &api_key],
        ] {
            let (body, said) = curl_says(&edge, arguments).await?;
            ensure!(said == status, "curl {arguments:?}: {said} {body}");
            ensure!(status == "200" || body == DENIED, "curl {arguments:?}: {body}");
        }
    }
    let (body, status) = curl_says(&edge, &[]).await?;
    ensure!((status.as_str(), body.as_str()) == ("401", UNAUTHORIZED), "without a key: {status} {body}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_for_ones_own_envoy_works() -> Result<()> {
    let mut edge = Edge::start(0).await?;
    edge.change(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    edge.change(&["account", "create", "--name", "alice", "--kind", "user"]).await?;
    let key = edge.control_plane.cli().create_key(&["--environment", "1a5", "--name", "ci"]).await?;
    let alice = edge.control_plane.cli().create_key(&["--account", "alice", "--name", "ci"]).await?;
    let envoy = Envoy::start_sample(&edge.config("edge-1")?).await?;
    envoy.until_table().await?;
    edge.envoys.push(envoy);
    let (body, status) = curl_says(&edge, &["-u", &key.pair()]).await?;
    ensure!(status == "200", "with a key: {status} {body}");
    let (body, status) = curl_says(&edge, &[]).await?;
    ensure!((status.as_str(), body.as_str()) == ("401", UNAUTHORIZED), "without a key: {status} {body}");

    // Every refusal can be explained from statistics and log, without a secret in either.
    let envoy = &edge.envoys[0];
    let counted = envoy.ask_admin("GET", "/stats/prometheus").await?;
    for line in [
        r#"keygate_requests{keygate_table="default",keygate_outcome="allowed"} 1"#,
        r#"keygate_requests{keygate_table="default",keygate_outcome="denied",keygate_reason="no_credential"}"#,
        r#"keygate_table_age_seconds{keygate_table="default"}"#,
        r#"keygate_table_revision{keygate_table="default"}"#,
        r#"keygate_table_keys{keygate_table="default"} 3"#,
        "# TYPE keygate_requests counter",
        "# TYPE keygate_table_revision gauge",
        "# TYPE keygate_table_age_seconds gauge",
    ] {
        ensure!(counted.contains(line), "{line} is not in\n{counted}");
    }
    let (_, status) = curl_says(&edge, &["-u", &key.pair(), "--url-query", "token=hush"]).await?;
    ensure!(status == "200", "with a query: {status}");
    let (_, status) = curl_says(&edge, &["-u", &alice.pair()]).await?;
    ensure!(status == "403", "alice, who is in no environment: {status}");
    // Every worker writes when it comes to it.
    let passed = format!(r#""keygate":"key={} account=- environment=1a5 shadow=-""#, key.id);
    for part in [r#""reason":"keygate_no_credential""#, &passed] {
        until("a line of the access log", async || Ok(envoy.log().contains(part).then_some(()))).await?;
    }
    // What Envoy refuses before the filter sees it says nothing, whatever the client claims.
    raw(envoy.edge(), b"GET / HTTP/1.1\r\nx-keygate-key: 4711\r\nx-keygate-account: 4711\r\n\r\n").await?;
    let early = until("the early refusal in the access log", async || {
        let log = envoy.log();
        Ok(log.lines().find(|line| line.contains(r#""reason":"missing_host_header""#)).map(str::to_owned))
    });
    let early = early.await?;
    ensure!(early.contains(r#""keygate":null"#) && !early.contains("4711"), "a claim is in the log: {early}");
    // Of a key that was refused, too, it is told whose it was.
    let refused = until("the refusal in the access log", async || {
        let log = envoy.log();
        let line = log.lines().find(|line| line.contains(r#""reason":"keygate_out_of_scope""#)).map(str::to_owned);
        Ok(line)
    })
    .await?;
    let refused: Value = serde_json::from_str(&refused)?;
    let account = edge.control_plane.cli().json(&["account", "show", "alice"]).await?;
    let account = account["id"].as_str().context("an account without an id")?;
    ensure!(refused["keygate"] == format!("key={} account={account}", alice.id), "{refused} is not of {account}");
    ensure!(refused["path"] == INSIDE, "{refused}");
    let log = envoy.log();
    ensure!(!log.contains("hush") && !log.contains('?'), "a query is in the log:\n{log}");
    for secret in [&key.secret_key, &alice.secret_key, &key.token, &alice.token] {
        ensure!(!log.contains(secret.as_str()), "a secret is in the log");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_answers_on_every_worker_and_protocol() -> Result<()> {
    let (edge, inside, outside) = edge_with_keys().await?;
    let (known, foreign) = (inside.basic(), outside.bearer());
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for mut connection in edge.envoys[0].connections_on_every_worker(protocol).await? {
            let answer = connection.get(INSIDE, &[(known.0, &known.1), ("x-keygate-key", "forged")]).await?;
            let seen: Value = answer.json()?;
            let header =
                |name: &str| seen["headers"].as_array().and_then(|all| all.iter().find(|header| header[0] == name).cloned());
            ensure!(answer.status == 200 && header("authorization").is_none(), "passed as {seen}");
            ensure!(header("x-keygate-key").is_some_and(|header| header[1] == inside.id.as_str()), "passed as {seen}");
            ensure!(header("x-keygate-environment").is_some_and(|header| header[1] == "1a5"), "passed as {seen}");

            let answer = connection.get(INSIDE, &[(foreign.0, &foreign.1)]).await?;
            ensure!(answer.status == 403 && answer.text() == DENIED, "out of scope: {} {}", answer.status, answer.text());
            ensure!(answer.header("content-type") == Some("application/json"), "the refusal is not JSON");

            let answer = connection.get(INSIDE, &[]).await?;
            ensure!(answer.status == 401 && answer.text() == UNAUTHORIZED, "no key: {} {}", answer.status, answer.text());
            ensure!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Basic realm=")), "no challenge");
            let answer = connection.get(INSIDE, &[("x-api-no-challenge", "true")]).await?;
            ensure!(answer.status == 401 && answer.header("www-authenticate").is_none(), "challenged against its wish");

            let answer = connection.send("HEAD", INSIDE, &[(foreign.0, &foreign.1)], "").await?;
            ensure!(answer.status == 403 && answer.body.is_empty(), "HEAD got a body");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_call_is_refused_in_its_own_terms() -> Result<()> {
    let (edge, inside, outside) = edge_with_keys().await?;
    let (known, foreign) = (inside.bearer(), outside.bearer());
    let mut connection = Connection::open(edge.envoys[0].edge(), Protocol::Http2).await?;
    let grpc = ("content-type", "application/grpc");
    for (headers, status) in [(&[grpc][..], "16"), (&[grpc, (foreign.0, foreign.1.as_str())], "7")] {
        let answer = connection.send("POST", INSIDE, headers, "").await?;
        ensure!(answer.status == 200, "gRPC was answered with {}", answer.status);
        // In the headers, because there are no trailers: the stream ends with them.
        ensure!(answer.header("grpc-status") == Some(status), "grpc-status is {:?}", answer.header("grpc-status"));
        ensure!(answer.header("content-type") == Some("application/grpc"), "it is no gRPC answer: {:?}", answer.headers);
        ensure!(answer.body.is_empty(), "a refused call got a body");
    }
    let answer = connection.send("POST", INSIDE, &[grpc, ("te", "trailers"), (known.0, known.1.as_str())], "").await?;
    let seen: Value = answer.json()?;
    ensure!(answer.status == 200 && seen["method"] == "POST", "with its key: {} {seen}", answer.status);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_refused_without_a_challenge() -> Result<()> {
    let (edge, ..) = edge_with_keys().await?;
    let request = format!("GET {INSIDE} HTTP/1.1\r\nhost: e\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n");
    let answer = raw_head(&edge, request.as_bytes()).await?;
    ensure!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    ensure!(!answer.to_lowercase().contains("www-authenticate"), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_not_text_do_no_harm() -> Result<()> {
    let (edge, inside, _) = edge_with_keys().await?;
    let (name, value) = inside.basic();
    for (bytes, status) in [
        ([b"x-other: \xFF\xFE\r\n".as_slice(), format!("{name}: {value}\r\n").as_bytes()].concat(), "200"),
        (b"authorization: Basic \xFF\xFE\r\n".to_vec(), "401"),
        (b"x-api-key: \xFF\r\n".to_vec(), "401"),
        (b"x-api-key: \xC3\xA4:\xC3\xA4\r\n".to_vec(), "401"),
    ] {
        let start = format!("GET {INSIDE} HTTP/1.1\r\nhost: e\r\nconnection: close\r\n");
        let answer = raw_head(&edge, &[start.as_bytes(), &bytes, b"\r\n"].concat()).await?;
        ensure!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{bytes:?}: {answer}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_encoded_a_thousand_times_holds_nobody_up() -> Result<()> {
    let (edge, ..) = edge_with_keys().await?;
    let path = format!("/v1/projects/1a5/%{}2e", "25".repeat(25_000));
    let mut slow = Connection::open(edge.envoys[0].edge(), Protocol::Http1).await?;
    let started = Instant::now();
    let answer = slow.get(&path, &[]).await?;
    ensure!(answer.status == 400, "it answered {}", answer.status);
    // Decoded again and again it took seconds; decoded once, milliseconds, on whatever machine.
    ensure!(started.elapsed() < Duration::from_secs(1), "it took {:?}", started.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_is_named_by_what_no_reader_takes_for_another_one() -> Result<()> {
    let (mut edge, key) = Edge::with_key(0).await?;
    let mut config = edge.config("edge-1")?;
    config.edit_filter(|filter| {
        filter["environment_places"] = json!(["host:0", "header:x_project"]);
        filter["rules"] = json!([{"path": "/h/**", "target": "environment"}]);
    })?;
    edge.add(&config).await?;
    for (headers, status) in [
        ("host: 1a5.e", 200),
        ("host: 1a5.e:8080", 200),
        ("host: 1a6.e", 403),
        ("host: 1a5.e@1a6.e", 403),
        ("host: 1a5:80@1a6.e", 403),
        ("host: 1a5.e;1a6", 403),
        ("host: 1a5.e\r\nx-forwarded-host: 1a5.e@1a6.e", 403),
        // As Envoy is set here, the spelling that the configuration has never arrives.
        ("host: 1a5.e\r\nx-project: 1a5", 200),
        ("host: 1a5.e\r\nX-Project: 1a6", 403),
        ("host: 1a5.e\r\nx.project: 1a6", 403),
    ] {
        let before = edge.upstream.received();
        let request = format!("GET /h/x HTTP/1.1\r\n{headers}\r\nx-api-key: {}\r\nconnection: close\r\n\r\n", key.token);
        let head = raw_head(&edge, request.as_bytes()).await?;
        ensure!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{headers:?}: {head}");
        ensure!((edge.upstream.received() > before) == (status == 200), "{headers:?}: did it reach the upstream?");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_is_told_as_much_as_the_operator_wants() -> Result<()> {
    let (mut edge, key) = Edge::with_key(0).await?;
    for (proxy, wanted) in [("edge-1", vec!["x-keygate-environment"]), ("edge-2", vec![])] {
        let mut config = edge.config(proxy)?;
        config.edit_filter(|filter| {
            filter["identity_headers"] = json!(wanted);
            filter["rules"] = json!([{"path": "/v1/projects/{environment}/**", "target": "environment"}]);
        })?;
        edge.add(&config).await?;
        let envoy = edge.envoys.last().context("no Envoy")?;
        let claims = "x-keygate-key: 1\r\nX-Keygate-Account: 1\r\nx-keygate-environment: 1a6\r\n";
        let request =
            format!("GET {INSIDE} HTTP/1.1\r\nhost: e\r\nx-api-key: {}\r\n{claims}connection: close\r\n\r\n", key.token);
        let answer = raw(envoy.edge(), request.as_bytes()).await?;
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        let echo = edge.upstream.last();
        let arrived = echo["headers"].as_array().context("an echo without headers")?;
        let told: Vec<&Value> = arrived.iter().filter(|header| is_identity(header)).collect();
        let expected: Vec<Value> = wanted.iter().map(|name| json!([name, "1a5"])).collect();
        ensure!(told == expected.iter().collect::<Vec<_>>(), "{proxy}: the upstream was told {told:?}");
    }
    Ok(())
}

fn is_identity(header: &Value) -> bool {
    header[0].as_str().is_some_and(|name| name.to_ascii_lowercase().starts_with("x-keygate-"))
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_neither_claim_nor_carry_anything() -> Result<()> {
    let mut edge = Edge::start(0).await?;
    edge.change(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    let key = edge.control_plane.cli().create_key(&["--environment", "1a5", "--name", "ci"]).await?;
    let mut config = edge.config("edge-1")?;
    config.edits = TRAILERS_ON.to_vec();
    // What keeps credentials keeps those that were judged.
    let keeps = json!({"path": "/v1/projects/{environment}/kept", "target": "environment", "keep_credentials": true});
    config.edit_filter(|filter| {
        if let Some(rules) = filter["rules"].as_array_mut() {
            rules.insert(0, keeps);
        }
    })?;
    edge.envoys.push(Envoy::start(&config).await?);
    edge.envoys[0].until_table().await?;
    let trailers = "x-keygate-account: 1\r\nx_keygate_key: 1\r\nauthorization: Bearer other\r\nx-api-key: other\r\nx-http-method: DELETE\r\ncookie: token=other\r\nx-other: kept\r\n";
    for path in [INSIDE, "/v1/projects/1a5/kept"] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: e\r\nx-api-key: {}\r\nte: trailers\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n1\r\nx\r\n0\r\n{trailers}\r\n",
            key.token
        );
        let head = raw_head(&edge, request.as_bytes()).await?;
        ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
        let echo = edge.upstream.last();
        let arrived = echo["trailers"].as_array().context("an echo without trailers")?;
        let names: Vec<&str> = arrived.iter().filter_map(|trailer| trailer[0].as_str()).collect();
        ensure!(names == ["x-other"], "{path}: these trailers arrived: {names:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_names_none_of_our_headers_to_the_next_hop() -> Result<()> {
    let (edge, inside, _) = edge_with_keys().await?;
    let request = format!(
        "GET {INSIDE} HTTP/1.1\r\nhost: e\r\nx-api-key: {}\r\nconnection: upgrade, x-keygate-environment, close\r\nupgrade: websocket\r\n\r\n",
        inside.token
    );
    let head = raw_head(&edge, request.as_bytes()).await?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    let seen = edge.upstream.last().to_string();
    ensure!(seen.contains(r#"["connection","upgrade"]"#) && seen.contains(r#"["x-keygate-environment","1a5"]"#), "{seen}");
    Ok(())
}

async fn raw_head(edge: &Edge, request: &[u8]) -> Result<String> {
    let answer = raw(edge.envoys[0].edge(), request).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    Ok(answer.split("\r\n\r\n").next().unwrap_or_default().to_owned())
}
