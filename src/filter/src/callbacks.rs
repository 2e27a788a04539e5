//! What Envoy calls for each request: told apart here, because the SDK would look a request's context up again at each step, in tables of
//! all kinds of contexts. Root contexts, and all that Envoy calls for them, are the SDK's.
//!
//! envoy/exports.sh gives these functions the names that Envoy calls, in the place of the SDK's own. None of them may panic or expect
//! another one to have come before: a request that nobody knows is denied.
#![expect(unsafe_code, reason = "the only place where functions are exported, and the SDK's own called by their names")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use keygate_decision::Reason;
use proxy_wasm::types::Action;

use crate::http::Http;
use crate::reply;
use crate::root::Plugin;

unsafe extern "C" {
    safe fn proxy_on_context_create(context: u32, root: u32);
    safe fn proxy_on_delete(context: u32);
}

thread_local! {
    static CONTEXTS: RefCell<Contexts> = const { RefCell::new(Contexts { plugins: BTreeMap::new(), requests: BTreeMap::new() }) };
}

/// By their ids, which the host gives.
struct Contexts {
    /// Of each root context that has a usable configuration.
    plugins: BTreeMap<u32, Rc<Plugin>>,
    requests: BTreeMap<u32, Http>,
}

/// From now on requests under this root context are judged so; denied if there is no plugin.
pub(crate) fn install(root: u32, plugin: Option<Rc<Plugin>>) {
    change(|contexts| match plugin {
        Some(plugin) => contexts.plugins.insert(root, plugin),
        None => contexts.plugins.remove(&root),
    });
}

/// Envoy makes none of these calls while another is under way: what one sets in motion is put off until it has returned.
fn change<T>(action: impl FnOnce(&mut Contexts) -> T) -> Option<T> {
    CONTEXTS.with(|contexts| contexts.try_borrow_mut().ok().map(|mut contexts| action(&mut contexts)))
}

fn with_request(context: u32, action: impl FnOnce(&Http) -> Action) -> Action {
    let acted = CONTEXTS.with(|contexts| Some(action(contexts.try_borrow().ok()?.requests.get(&context)?)));
    acted.unwrap_or_else(|| reply::deny(Reason::Misconfigured, None))
}

#[unsafe(no_mangle)]
extern "C" fn entry_on_context_create(context: u32, root: u32) {
    if root == 0 {
        proxy_on_context_create(context, root);
    } else {
        change(|contexts| {
            let plugin = contexts.plugins.get(&root).cloned();
            contexts.requests.insert(context, Http::new(plugin));
        });
    }
}

#[unsafe(no_mangle)]
extern "C" fn entry_on_request_headers(context: u32, _: usize, _: bool) -> Action {
    with_request(context, Http::judge)
}

#[unsafe(no_mangle)]
extern "C" fn entry_on_request_trailers(context: u32, _: usize) -> Action {
    with_request(context, Http::clean_trailers)
}

#[unsafe(no_mangle)]
extern "C" fn entry_on_delete(context: u32) {
    let request = change(|contexts| contexts.requests.remove(&context)).flatten();
    if request.is_none() {
        install(context, None);
        proxy_on_delete(context);
    }
}
