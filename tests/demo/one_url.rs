//! The demo's one URL: what manages keys goes to the control plane. A part of envoy/one-url.yaml, beside the demo's own rules; one list
//! makes both the rules and the routes, so that they agree.

use anyhow::{Context, Result};
use harness::{Config, demo_filter};
use serde_json::{Value, json};

/// What is managed there, as rules write it. The demo's own rules keep `/v1/projects` and `/v1/settings` for the upstream.
const MANAGED: [&str; 37] = [
    "/openapi.json",
    "/v1",
    "/v1/",
    "/v1/apikeys/**",
    "/v1/apikey/**",
    "/v1/tokens/**",
    "/v1/passwords/**",
    "/v1/projectmembers/**",
    "/v1/localauthconfig/**",
    "/v1/token/**",
    "/v1/accounts/**",
    "/v1/identities/**",
    "/v1/schemas/**",
    "/v1/projects/{environment}/apikeys/**",
    "/v2-beta",
    "/v2-beta/",
    "/v2-beta/accounts/**",
    "/v2-beta/settings/**",
    "/v2-beta/apikeys/**",
    "/v2-beta/apikey/**",
    "/v2-beta/token/**",
    "/v2-beta/projects",
    "/v2-beta/projects/{environment}/apikeys/**",
    "/v2-beta/identities/**",
    "/v2-beta/schemas/**",
    "/v3",
    "/v3/",
    "/v3/schemas/**",
    "/v3/users/**",
    "/v3/clusters",
    "/v3/clusters/{environment}",
    "/v3/tokens/**",
    "/v3/settings/**",
    "/v3-public/**",
    "/api/auth/**",
    "/api/users/**",
    "/keygate/v1/**",
];

/// Where the clients of all of them put their credentials.
const CARRIERS: [&str; 9] = [
    "basic",
    "basic:x-api-bearer",
    "bearer",
    "bare",
    "header:x-api-key",
    "query:x-api-key",
    "cookie:token",
    "cookie:R_SESS",
    "cookie:portainer_api_key",
];

/// Adds it to the demo's Envoy.
pub(crate) fn add_to(config: &mut Config, management_port: u16) -> Result<()> {
    let mut filter = demo_filter()?;
    let rule = |path: &&str| {
        let target = if path.contains("{environment}") { "environment" } else { "public" };
        json!({"path": path, "target": target, "keep_credentials": true})
    };
    // Before the demo's: the first that matches decides.
    let own = filter.get_mut("rules").and_then(Value::as_array_mut).context("the demo's filter has no rules")?;
    own.splice(..0, MANAGED.iter().map(rule));
    filter.as_object_mut().context("the demo's filter is no object")?.insert("carriers".to_owned(), json!(CARRIERS));
    config.filter = filter.to_string();

    let route = |path: &&str| {
        let regex = path.replace("{environment}", "[^/]+").replace("/**", "(/.*)?");
        format!(
            "                        - match: {{ safe_regex: {{ regex: '{regex}' }} }}\n                          route: {{ cluster: keygate-api, timeout: 330s }}\n"
        )
    };
    let routes: String = MANAGED.iter().map(route).collect();
    let rest = "                        - match: { prefix: \"/\" }\n";
    config.edits.push((rest, format!("{routes}{rest}").leak()));
    let cluster = format!(
        "clusters:
    - name: keygate-api
      type: STATIC
      connect_timeout: 5s
      load_assignment:
        cluster_name: keygate-api
        endpoints:
          - lb_endpoints:
              - endpoint:
                  address:
                    socket_address: {{ address: 127.0.0.1, port_value: {management_port} }}
    # What is protected."
    );
    config.edits.push(("clusters:\n    # What is protected.", cluster.leak()));
    Ok(())
}
