//! The functions that Envoy calls, and the contexts that it calls them for: root contexts, and requests under them.
//!
//! They stand in the place of the SDK's own, which look a context up in table after table at each step of each request, and keep all of
//! the SDK's host calls in the module. envoy/exports.sh gives them the names that Envoy calls. None of them may panic, or expect another
//! one to have come before: a request that nobody knows is denied.
#![expect(unsafe_code, reason = "the only place where functions are exported")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use keygate_decision::Reason;
use proxy_wasm::traits::{Context as _, RootContext as _};
use proxy_wasm::types::Action;

use crate::http::Http;
use crate::reply;
use crate::root::Root;
use crate::usage::ById;

thread_local! {
    static CONTEXTS: RefCell<Contexts> = const {
        RefCell::new(Contexts { roots: Vec::new(), requests: HashMap::with_hasher(BuildHasherDefault::new()) })
    };
}

/// By their ids, which the host gives.
struct Contexts {
    /// Few: one for each configuration that is in force or on its way out.
    roots: Vec<(u32, Root)>,
    requests: HashMap<u32, Http, BuildHasherDefault<ById>>,
}

impl Contexts {
    fn root(&mut self, id: u32) -> Option<&mut Root> {
        self.roots.iter_mut().find(|(own, _)| *own == id).map(|(_, root)| root)
    }
}

/// `None` while another callback is under way. Envoy puts off what a callback sets in motion until it has returned, but for the end of a
/// stream that cannot be opened: whoever opens it is told by the call itself.
fn with_contexts<T>(action: impl FnOnce(&mut Contexts) -> T) -> Option<T> {
    CONTEXTS.with(|contexts| contexts.try_borrow_mut().ok().map(|mut contexts| action(&mut contexts)))
}

fn with_root<T>(id: u32, action: impl FnOnce(&mut Root) -> T) -> Option<T> {
    with_contexts(|contexts| contexts.root(id).map(action)).flatten()
}

fn with_request(id: u32, action: impl FnOnce(&Http) -> Action) -> Action {
    let acted = with_contexts(|contexts| contexts.requests.get(&id).map(action)).flatten();
    acted.unwrap_or_else(|| reply::deny(Reason::Misconfigured, None))
}

#[unsafe(no_mangle)]
extern "C" fn entry_on_context_create(id: u32, root: u32) {
    with_contexts(|contexts| {
        if root == 0 {
            contexts.roots.push((id, Root::new()));
        } else {
            let plugin = contexts.root(root).and_then(|root| root.plugin());
            contexts.requests.insert(id, Http::new(plugin));
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn entry_on_vm_start(_: u32, _: usize) -> bool {
    true
}

// Never false: Envoy would leave this worker without a filter, that is, open.
#[unsafe(no_mangle)]
extern "C" fn entry_on_configure(id: u32, size: usize) -> bool {
    with_root(id, |root| root.on_configure(size));
    true
}

#[unsafe(no_mangle)]
extern "C" fn entry_on_tick(id: u32) {
    with_root(id, Root::on_tick);
}

#[unsafe(no_mangle)]
extern "C" fn entry_on_grpc_receive(id: u32, token: u32, size: usize) {
    with_root(id, |root| root.on_grpc_stream_message(token, size));
}

#[unsafe(no_mangle)]
extern "C" fn entry_on_grpc_close(id: u32, token: u32, status: u32) {
    with_root(id, |root| root.on_grpc_stream_close(token, status));
}

#[unsafe(no_mangle)]
extern "C" fn entry_on_request_headers(id: u32, _: usize, _: bool) -> Action {
    with_request(id, Http::judge)
}

#[unsafe(no_mangle)]
extern "C" fn entry_on_request_trailers(id: u32, _: usize) -> Action {
    with_request(id, Http::clean_trailers)
}

#[unsafe(no_mangle)]
extern "C" fn entry_on_delete(id: u32) {
    with_contexts(|contexts| {
        if contexts.requests.remove(&id).is_none() {
            // Envoy would call `on_done` before, but for every request, too.
            contexts.root(id).map(Root::on_done);
            contexts.roots.retain(|(own, _)| *own != id);
        }
    });
}
