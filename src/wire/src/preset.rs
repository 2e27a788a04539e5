//! Presets: what is known of the systems that people put behind the filter. Each is complete (every documented place that names an
//! environment, every carrier, every admin-only route) and none has a catch-all: what it does not know is denied. What a request
//! does not tell (an id whose environment only the upstream's store knows) is for administrators.

/// The names of all presets.
pub const NAMES: [&str; 3] = ["rancher-1.6", "rancher-2", "portainer"];

/// A preset's JSON.
pub fn find(name: &str) -> Option<String> {
    let packed: &[u8] = match name {
        "rancher-1.6" => include_bytes!(concat!(env!("OUT_DIR"), "/rancher-1.6.packed")),
        "rancher-2" => include_bytes!(concat!(env!("OUT_DIR"), "/rancher-2.packed")),
        "portainer" => include_bytes!(concat!(env!("OUT_DIR"), "/portainer.packed")),
        _ => return None,
    };
    packed::unpack(packed)
}

mod packed;
#[cfg(test)]
mod rancher_1_6;
#[cfg(test)]
mod shortcuts;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod tests;
