//! The template's listener in a file of its own, which Envoy watches: that is how a running Envoy gets other code for the filter.

use std::path::Path;

use anyhow::{Context, Result};

/// The listener's file.
pub(super) const FILE: &str = "listener.yaml";

const LISTENERS: &str = "  listeners:\n";
const LISTENER: &str = "    - name: edge\n";
const CLUSTERS: &str = "  clusters:\n";

/// A configuration that reads its listener from [`FILE`] in a folder, and what to put there.
pub(super) fn apart(text: &str, folder: &Path) -> Result<(String, String)> {
    let (before, rest) = text.split_once(LISTENERS).context("the template has no listeners")?;
    let (listener, clusters) = rest.split_once(CLUSTERS).context("the template has no clusters")?;
    let file = serde_json::to_string(&folder.join(FILE))?;
    let dynamic = format!(
        "node: {{ id: edge, cluster: edge }}\n\ndynamic_resources:\n  lds_config: {{ path_config_source: {{ path: {file} }} }}\n\n"
    );
    let static_resources = before.rfind("static_resources:").context("the template has no static_resources")?;
    let (head, static_resources) = before.split_at(static_resources);
    let listener = listener.strip_prefix(LISTENER).context("the template's listener has another name")?;
    let kind = "    - \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener\n      name: edge\n";
    Ok((format!("{head}{dynamic}{static_resources}{CLUSTERS}{clusters}"), format!("resources:\n{kind}{listener}")))
}

/// What to put there for no listener.
pub(super) fn none() -> String {
    "resources: []\n".to_owned()
}
