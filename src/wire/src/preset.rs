//! Presets: what is known of the systems that people put behind the filter. Each is complete (every documented place that names an
//! environment, every carrier, every admin-only route) and none has a catch-all: what it does not know is denied.

/// The names of all presets.
pub const NAMES: [&str; 3] = ["rancher-1.6", "rancher-2", "portainer"];

/// A preset's JSON.
pub fn find(name: &str) -> Option<&'static str> {
    match name {
        "rancher-1.6" => Some(include_str!("../presets/rancher-1.6.json")),
        "rancher-2" => Some(include_str!("../presets/rancher-2.json")),
        "portainer" => Some(include_str!("../presets/portainer.json")),
        _ => None,
    }
}
