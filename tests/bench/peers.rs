//! The filters that are compared, as Envoy's configuration has them: ours, and what people would take instead. Each does the same where it
//! can: finds the key, looks it up, takes it out of the request and tells the upstream who calls.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use harness::{module, project};
use serde_json::{Value, json};

use crate::keys::{HOME, Keys};

/// How many keys the peers know that keep them as plain text.
pub(crate) const PLAIN_KEYS: Keys = Keys { count: 1000 };
/// The service of the control plane, as Envoy knows it.
pub(crate) const CONTROL_PLANE: &str = "keygate";
/// The service that `ext_authz` asks.
pub(crate) const AUTHORIZER: &str = "authorizer";

/// The rules of our filter here, and of the service that does the same for `ext_authz`: those of the demo.
pub(crate) fn rules(proxy: &str) -> Value {
    json!({
        "proxy": proxy,
        "control_plane": { "cluster": CONTROL_PLANE },
        "rules": [
            { "path": "/public/**", "target": "public" },
            { "path": "/v1/projects/{environment}/**", "target": "environment" },
            { "path": "/v1/projects", "target": "account" },
            { "path": "/v1/settings/**", "target": "admin" },
            { "path": "/v1/containers/**", "target": "own" },
        ],
    })
}

/// Ours, under the name of a proxy.
pub(crate) fn ours(proxy: &str) -> Result<Value> {
    Ok(wasm("keygate", &module()?, &rules(proxy).to_string()))
}

/// The same, telling the upstream by one header who calls.
pub(crate) fn ours_brief(proxy: &str) -> Result<Value> {
    let mut configuration = rules(proxy);
    let fields = configuration.as_object_mut().context("a configuration without fields")?;
    fields.insert("identity_headers".to_owned(), json!(["x-keygate-environment"]));
    Ok(wasm("keygate", &module()?, &configuration.to_string()))
}

/// A filter of the SDK that does nothing, with all the callbacks that the SDK exports.
pub(crate) fn nothing() -> Result<Value> {
    Ok(wasm("nothing", &bench_module("nothing")?, ""))
}

/// A filter that reads shared data so many times for each request.
pub(crate) fn reads(times: u32) -> Result<Value> {
    Ok(wasm("reads", &bench_module("reads")?, &times.to_string()))
}

/// Envoy's own, with these keys.
pub(crate) fn api_key_auth(keys: Keys) -> Result<Value> {
    let credential = |key| -> Result<Value> { Ok(json!({ "key": keys.pair(key)?.token(), "client": format!("{key}") })) };
    let credentials = (0..keys.count).map(credential).collect::<Result<Vec<_>>>()?;
    Ok(json!({
        "name": "envoy.filters.http.api_key_auth",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
            "credentials": credentials,
            "key_sources": [{ "header": "x-api-key" }],
            "forwarding": { "header": "x-keygate-key", "hide_credentials": true },
        },
    }))
}

/// A script with a table of keys.
pub(crate) fn lua() -> Result<Value> {
    let entry = |key| -> Result<String> {
        let account = PLAIN_KEYS.account(key);
        Ok(format!("[\"{}\"]={{\"{key}\",\"{account}\",\"{HOME}\"}}", PLAIN_KEYS.pair(key)?.token()))
    };
    let entries = (0..PLAIN_KEYS.count).map(entry).collect::<Result<Vec<_>>>()?.join(",");
    let script = format!("local keys = {{{entries}}}\n{}", include_str!("peer.lua"));
    Ok(json!({
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": { "inline_string": script },
        },
    }))
}

/// A call to [`AUTHORIZER`] for each request.
pub(crate) fn ext_authz() -> Value {
    json!({
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "grpc_service": { "envoy_grpc": { "cluster_name": AUTHORIZER }, "timeout": "5s" },
        },
    })
}

fn wasm(vm: &str, module: &Path, configuration: &str) -> Value {
    json!({
        "name": vm,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": vm,
                "root_id": vm,
                "failure_policy": "FAIL_RELOAD",
                "vm_config": {
                    "vm_id": vm,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": module } },
                },
                "configuration": { "@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration },
            },
        },
    })
}

fn bench_module(name: &str) -> Result<PathBuf> {
    let path = project().join(format!("target/wasm32-unknown-unknown/wasm/keygate_bench_{name}.wasm"));
    ensure!(path.exists(), "{} is missing: envoy/module.sh bench builds it", path.display());
    path.canonicalize().context("finding a module")
}
