//! The demo's one URL: what manages keys goes to the control plane. A part of envoy/one-url.yaml, beside the demo's own rules; one list
//! makes both the rules and the routes, so that they agree.

use anyhow::Result;
use harness::{Config, demo_filter};
use serde_json::{Value, json};

/// What is managed there, as rules write it. The demo's own rules keep `/v1/projects` and `/v1/settings` for the upstream.
const MANAGED: [&str; 21] = [
    "/v1",
    "/v1/apikeys/**",
    "/v1/token/**",
    "/v1/accounts/**",
    "/v1/identities/**",
    "/v1/schemas/**",
    "/v1/projects/{environment}/apikeys/**",
    "/v2-beta",
    "/v2-beta/apikeys/**",
    "/v2-beta/apikey/**",
    "/v2-beta/token/**",
    "/v2-beta/projects",
    "/v2-beta/projects/{environment}/apikeys/**",
    "/v2-beta/identities/**",
    "/v2-beta/schemas/**",
    "/v3/tokens/**",
    "/v3/settings/**",
    "/v3-public/**",
    "/api/auth/**",
    "/api/users/**",
    "/keygate/v1/**",
];

/// Adds it to the demo's Envoy.
pub(crate) fn add_to(config: &mut Config, management_port: u16) -> Result<()> {
    let mut filter = demo_filter()?;
    let rule = |path: &&str| {
        let target = if path.contains("{environment}") { "environment" } else { "public" };
        json!({"path": path, "target": target, "keep_credentials": true})
    };
    // Before the demo's: the first that matches decides.
    let mut rules: Vec<Value> = MANAGED.iter().map(rule).collect();
    rules.extend(filter["rules"].as_array().cloned().unwrap_or_default());
    filter["rules"] = rules.into();
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
