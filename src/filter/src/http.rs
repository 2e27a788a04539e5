//! One request: from its header map to its forwarding or its refusal. This file reads top down in the order of the checks.

use std::rc::Rc;

use keygate_decision::request::{is_credential_header, is_identity_header};
use keygate_decision::{Check, Decision, Header, Permit, Reason, Request, Screening};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::host::{self, HostError, Level};
use crate::reply;
use crate::root::Plugin;
use crate::table::Table;

/// The filter of one request.
pub(crate) struct Http {
    plugin: Option<Rc<Plugin>>,
}

impl Http {
    pub(crate) fn new(plugin: Option<Rc<Plugin>>) -> Self {
        Self { plugin }
    }

    fn judge(&self) -> Action {
        let Some(Plugin { policy, table }) = self.plugin.as_deref() else { return reply::deny(Reason::Misconfigured, false) };
        let map = match host::request_headers() {
            Ok(map) => map,
            Err(error) => return self.fail("the request's headers could not be read", error),
        };
        let Some(headers) = map.parse() else { return reply::deny(Reason::Misconfigured, false) };
        let request = Request::read(headers.iter().copied(), policy.carriers);
        match policy.screen(&request) {
            Screening::Refuse(reason) => reply::deny(reason, request.wants_challenge),
            Screening::Pass { keep_credentials } => self.forward(&headers, keep_credentials, None),
            Screening::Check(check) => match decide(table, &check) {
                Decision::Deny(reason) => reply::deny(reason, request.wants_challenge),
                Decision::Allow(permit) => self.forward(&headers, check.keep_credentials(), Some(&permit)),
            },
        }
    }

    fn forward(&self, headers: &[Header<'_>], keep_credentials: bool, permit: Option<&Permit>) -> Action {
        match rewrite(headers, keep_credentials, permit) {
            Ok(()) => Action::Continue,
            Err(error) => self.fail("the request's headers could not be rewritten", error),
        }
    }

    /// A request that cannot be handled as promised is refused.
    fn fail(&self, what: &str, error: HostError) -> Action {
        host::log(Level::Error, &format!("keygate: {what} (host status {})", error.0));
        reply::deny(Reason::Misconfigured, false)
    }
}

/// Order: no table, no or no good credential, then what the grant says.
fn decide(table: &Table, check: &Check) -> Decision {
    let looked_up = table.check_available().and_then(|()| check.digest()).and_then(|digest| table.find(&digest));
    match looked_up {
        Ok(grant) => check.decide(grant.as_ref(), table.now()),
        Err(reason) => Decision::Deny(reason),
    }
}

/// Takes away what the client may not say, and says who it is.
fn rewrite(headers: &[Header<'_>], keep_credentials: bool, permit: Option<&Permit>) -> host::Result<()> {
    for (name, _) in headers {
        if is_identity_header(name) || (!keep_credentials && is_credential_header(name)) {
            host::remove_header(name)?;
        }
    }
    let Some(permit) = permit else { return Ok(()) };
    host::set_header("x-keygate-key", &permit.key().0.to_string())?;
    if let Some(account) = permit.account() {
        host::set_header("x-keygate-account", &account.0.to_string())?;
    }
    if let Some(environment) = permit.environment() {
        host::set_header("x-keygate-environment", environment.as_str())?;
    }
    host::set_header("x-keygate-access", permit.access().as_str())
}

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        self.judge()
    }
}
