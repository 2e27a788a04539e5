//! Requests that are too long, too many-headed or of a strange kind: each is answered, none passes by accident, no worker stumbles.

use anyhow::{Result, ensure};
use harness::{Envoy, raw};

use crate::edge::{Edge, INSIDE};

/// Edits that let through more than Envoy does by itself.
const GENEROUS: [(&str, &str); 2] = [
    ("use_remote_address: true", "use_remote_address: true\n                max_request_headers_kb: 1024"),
    (
        "headers_with_underscores_action: REJECT_REQUEST",
        "headers_with_underscores_action: REJECT_REQUEST\n                  max_headers_count: 5000",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_strange_request_is_answered() -> Result<()> {
    let mut edge = Edge::start(0).await?;
    edge.change(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    let key = edge.control_plane.cli().create_key(&["--environment", "1a5", "--name", "ci"]).await?;
    let mut config = edge.config("edge-1")?;
    config.edits = GENEROUS.to_vec();
    edge.envoys.push(Envoy::start(&config).await?);
    edge.envoys[0].until_table().await?;

    let good = format!("x-api-key: {}\r\n", key.token);
    let many = (0..1_000).map(|number| format!("x-number-{number}: {number}\r\n")).collect::<String>();
    let claims = (0..1_000).map(|number| format!("x-keygate-{number}: {number}\r\n")).collect::<String>();
    let long = format!("x-long: {}\r\n", "x".repeat(64 * 1024));
    let long_credential = format!("authorization: Bearer {}\r\n", "x".repeat(64 * 1024));
    let long_query = format!("{INSIDE}?{}", "a=b&".repeat(8 * 1024));
    let long_path = format!("{INSIDE}/{}", "x/".repeat(16 * 1024));
    let inside = format!("GET {INSIDE}");
    for (what, start, headers, statuses) in [
        ("64 KiB in one header", inside.as_str(), [good.as_str(), &long].concat(), &[200][..]),
        ("64 KiB of credential", &inside, long_credential, &[401]),
        // The filter lets it pass; this upstream takes a hundred at most.
        ("1,000 headers", &inside, [good.as_str(), &many].concat(), &[431]),
        ("1,000 headers without a key", &inside, many.clone(), &[401]),
        ("1,000 claims of identity", &inside, [good.as_str(), &claims].concat(), &[200]),
        ("1,000 credentials", &inside, good.repeat(1_000), &[401]),
        ("32 KiB of query", &format!("GET {long_query}"), good.clone(), &[200]),
        ("32 KiB of path", &format!("GET {long_path}"), good.clone(), &[200]),
        ("CONNECT", "CONNECT 1a5:443", good.clone(), &[401, 403, 404]),
        ("OPTIONS *", "OPTIONS *", good.clone(), &[400, 403, 404]),
        ("an absolute URL", &format!("GET http://e{INSIDE}"), good.clone(), &[200]),
    ] {
        let before = edge.upstream.received();
        let request = format!("{start} HTTP/1.1\r\nhost: e\r\nconnection: close\r\n{headers}\r\n");
        let answer = raw(edge.envoys[0].edge(), request.as_bytes()).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).unwrap_or(0);
        ensure!(statuses.contains(&status), "{what}: {status}: {}", answer.chars().take(300).collect::<String>());
        ensure!((edge.upstream.received() > before) == (status == 200), "{what}: did it reach the upstream?");
        ensure!(!answer.contains("x-keygate-999"), "{what}: a claim has reached the upstream");
    }
    let reloads = edge.envoys[0].stats(r"^wasm\.keygate\.vm_reload").await?;
    ensure!(reloads.values().all(|count| *count == 0), "a VM has failed: {reloads:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_claim_reaches_the_upstream() -> Result<()> {
    let mut edge = Edge::start(0).await?;
    edge.change(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    let key = edge.control_plane.cli().create_key(&["--environment", "1a5", "--name", "ci"]).await?;
    let mut config = edge.config("edge-1")?;
    config.edits = vec![("headers_with_underscores_action: REJECT_REQUEST", "headers_with_underscores_action: ALLOW")];
    edge.envoys.push(Envoy::start(&config).await?);
    edge.envoys[0].until_table().await?;

    // Every sign that may stand in a header's name, and is no letter or digit, in the place of `-`.
    for sign in "-_.!#$%&'*+^`|~".chars() {
        let spelled = |name: &str| name.replace('-', &sign.to_string());
        let names = ["X-KEYGATE-KEY", "x-Keygate-account", "x-keygate-environment", "x-keygate-access", "x-keygate-shadow"];
        let claims: String = names.iter().map(|name| format!("{}: claimed\r\n", spelled(name))).collect();
        let paths: String =
            ["x-original-url", "x-rewrite-url"].iter().map(|name| format!("{}: /v1/settings\r\n", spelled(name))).collect();
        for (path, credential) in [(INSIDE, format!("x-api-key: {}\r\n", key.token)), ("/public/x", String::new())] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: e\r\nconnection: close\r\n{credential}{claims}{paths}\r\n");
            let answer = String::from_utf8_lossy(&raw(edge.envoys[0].edge(), request.as_bytes()).await?).into_owned();
            ensure!(answer.starts_with("HTTP/1.1 200"), "{sign} {path}: {answer}");
            let seen = edge.upstream.last()["headers"].to_string().to_lowercase();
            ensure!(!seen.contains("claimed") && !seen.contains("/v1/settings"), "{sign}: a claim has reached {path}: {seen}");
            ensure!(seen.contains("keygate") == (path == INSIDE), "{sign}: at {path} the upstream was told {seen}");
        }
    }
    Ok(())
}
