//! Other ways through Envoy than a plain request's: answers that Envoy follows by itself, and tunnels. Each is judged like any request.

use anyhow::{Result, ensure};
use harness::{Connection, Envoy, Key, Protocol};
use serde_json::Value;

use crate::edge::{Edge, INSIDE};

/// A path in environment `1a6`.
const OUTSIDE: &str = "/v1/projects/1a6/containers";

const FOLLOWS_REDIRECTS: (&str, &str) = (
    "route: { cluster: upstream }",
    "route: { cluster: upstream, internal_redirect_policy: { redirect_response_codes: [302], allow_cross_scheme_redirect: true } }",
);

/// Envoy opens tunnels by HTTP/2, to anywhere.
const TUNNELS: [(&str, &str); 3] = [
    ("use_remote_address: true", "use_remote_address: true\n                http2_protocol_options: { allow_connect: true }"),
    ("- upgrade_type: websocket", "- upgrade_type: websocket\n                  - upgrade_type: CONNECT"),
    (
        "- match: { prefix: \"/\" }",
        "- match: { connect_matcher: {} }
                          route: { cluster: upstream, upgrade_configs: [{ upgrade_type: CONNECT, connect_config: {} }] }
                        - match: { prefix: \"/\" }",
    ),
];

/// An edge with these edits; a key of `1a5`, one of `1a6`, one that only reads in `1a5`, and an admin's.
async fn edge_with(edits: &[(&'static str, &'static str)], rules: &[Value]) -> Result<(Edge, Keys)> {
    let mut edge = Edge::start(0).await?;
    let cli = edge.control_plane.cli();
    for (id, name) in [("1a5", "production"), ("1a6", "staging")] {
        cli.text(&["environment", "create", "--id", id, "--name", name]).await?;
    }
    cli.text(&["account", "create", "--name", "reader", "--kind", "user"]).await?;
    cli.text(&["member", "add", "--environment", "1a5", "--account", "reader", "--role", "readonly"]).await?;
    cli.text(&["account", "create", "--name", "root", "--kind", "admin"]).await?;
    let keys = Keys {
        inside: cli.create_key(&["--environment", "1a5", "--name", "inside"]).await?,
        outside: cli.create_key(&["--environment", "1a6", "--name", "outside"]).await?,
        reader: cli.create_key(&["--account", "reader", "--name", "reader"]).await?,
        admin: cli.create_key(&["--account", "root", "--name", "root"]).await?,
    };
    let mut config = edge.config("edge-1")?;
    let mut filter: Value = serde_json::from_str(&config.filter)?;
    if let Some(all) = filter["rules"].as_array_mut() {
        all.extend(rules.iter().cloned());
    }
    config.filter = filter.to_string();
    config.edits = edits.to_vec();
    let envoy = Envoy::start(&config).await?;
    envoy.until_table().await?;
    edge.envoys.push(envoy);
    Ok((edge, keys))
}

struct Keys {
    inside: Key,
    outside: Key,
    reader: Key,
    admin: Key,
}

/// The headers of ours that the upstream saw last.
fn claims(seen: &Value) -> Vec<String> {
    let headers = seen["headers"].as_array().cloned().unwrap_or_default();
    let names = headers.iter().filter_map(|header| header[0].as_str().map(str::to_owned));
    names.filter(|name| name.starts_with("x-keygate") || name == "authorization").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_that_envoy_follows_is_judged_anew() -> Result<()> {
    let kept = serde_json::json!({"path": "/manage/**", "target": "account", "keep_credentials": true});
    let (edge, keys) = edge_with(&[FOLLOWS_REDIRECTS], &[kept]).await?;
    let envoy = &edge.envoys[0];
    let place = |path: &str| format!("http://{}{path}", envoy.edge());
    let (name, inside) = keys.inside.bearer();
    let (_, reader) = keys.reader.bearer();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut connection = Connection::open(envoy.edge(), protocol).await?;
        for (what, from, credential, to, status) in [
            // The credential has been taken out, and what was said of it counts for nothing.
            ("into another environment", INSIDE, &inside, OUTSIDE, 401),
            ("within its own", INSIDE, &inside, "/v1/projects/1a5/other", 401),
            ("into the administration", INSIDE, &inside, "/v1/settings/x", 401),
            ("to where each has its own", INSIDE, &inside, "/v1/containers/x", 401),
            ("to nowhere", INSIDE, &inside, "/elsewhere", 401),
            ("to an ambiguous path", INSIDE, &inside, "/v1//projects/1a5/x", 400),
            // A kept credential is judged for the new place.
            ("with a kept credential, in reach", "/manage/x", &reader, INSIDE, 302),
            ("with a kept credential, out of reach", "/manage/x", &reader, OUTSIDE, 403),
        ] {
            let reached = edge.upstream.received();
            let answer = connection.get(from, &[(name, credential), ("x-send-to", &place(to))]).await?;
            ensure!(answer.status == status, "{what}: {} {}", answer.status, answer.text());
            // Once for the first request; the second is sent on again, which Envoy follows no further.
            let times = if status == 302 { 2 } else { 1 };
            ensure!(edge.upstream.received() - reached == times, "{what}: the upstream was reached otherwise");
            if protocol == Protocol::Http1 && status == 400 {
                connection = Connection::open(envoy.edge(), protocol).await?;
            }
        }
        let answer = connection.get(INSIDE, &[(name, &inside), ("x-send-to", &place("/public/x"))]).await?;
        ensure!(answer.status == 302, "to a public place: {}", answer.status);
        let seen = edge.upstream.last();
        ensure!(seen["path"] == "/public/x" && claims(&seen).is_empty(), "a public place was told who called before: {seen}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_is_a_write_and_without_a_path_it_is_refused() -> Result<()> {
    let (edge, keys) = edge_with(&TUNNELS, &[]).await?;
    let mut connection = Connection::open(edge.envoys[0].edge(), Protocol::Http2).await?;
    let bearers = [&keys.inside, &keys.outside, &keys.reader, &keys.admin].map(|key| key.bearer().1);
    let [inside, outside, reader, admin] = bearers.each_ref().map(|bearer| [("authorization", bearer.as_str())]);
    for (what, headers, status) in [
        ("no key", &[][..], 401),
        ("another's key", &outside, 403),
        ("a key that only reads", &reader, 403),
        ("a key", &inside, 200),
    ] {
        let reached = edge.upstream.received();
        let answer = connection.connect(Some((INSIDE, "websocket")), headers).await?;
        ensure!(answer.status == status, "{what}: {} {}", answer.status, answer.text());
        ensure!(answer.header("www-authenticate").is_none(), "{what}: a tunnel was challenged");
        ensure!((edge.upstream.received() > reached) == (status == 200), "{what}: did it reach the upstream?");
    }
    let seen = edge.upstream.last();
    ensure!(seen.to_string().contains(r#"["x-keygate-environment","1a5"]"#), "{seen}");
    ensure!(!claims(&seen).contains(&"authorization".to_owned()), "the credential has reached the upstream: {seen}");
    let answer = connection.connect(Some((OUTSIDE, "websocket")), &inside).await?;
    ensure!(answer.status == 403, "into another environment: {}", answer.status);

    // Envoy would open it, and does not even for an administrator.
    let reached = edge.upstream.received();
    for (what, headers, status) in [("no key", &[][..], 401), ("a key", &inside, 403), ("an administrator's", &admin, 403)] {
        let answer = connection.connect(None, headers).await?;
        ensure!(answer.status == status, "a tunnel without a path, {what}: {}", answer.status);
    }
    ensure!(edge.upstream.received() == reached, "a tunnel without a path was opened");
    Ok(())
}
