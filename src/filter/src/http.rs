//! One request: from its header map to its forwarding or its refusal. This file reads top down in the order of the checks.

use std::rc::Rc;

use keygate_decision::credentials::Credentials;
use keygate_decision::identity;
use keygate_decision::request::is_forbidden_header;
use keygate_decision::{Carriers, Decision, Demand, Grant, Header, Permit, Reason, Request, Ruling, UnixSeconds};
use proxy_wasm::types::Action;

use crate::host::{self, HostError, Level};
use crate::metrics::Outcome;
use crate::reply;
use crate::root::Plugin;
use crate::table::{Found, Table};

/// Where the access log finds it: `%FILTER_STATE(wasm.keygate:PLAIN)%`.
const LOG: &str = "keygate";

/// The filter of one request.
pub(crate) struct Http {
    plugin: Option<Rc<Plugin>>,
}

impl Http {
    pub(crate) fn new(plugin: Option<Rc<Plugin>>) -> Self {
        Self { plugin }
    }

    /// Judges its headers.
    pub(crate) fn judge(&self) -> Action {
        let Some(plugin) = self.plugin.as_deref() else { return reply::deny(Reason::Misconfigured, None) };
        match plugin.judge() {
            Ok(action) => action,
            // A request that cannot be handled as promised is refused.
            Err(error) => {
                host::log(Level::Error, &format!("keygate: a request's headers could not be handled (host status {})", error.0));
                plugin.metrics.count(Outcome::Denied(Reason::Misconfigured));
                reply::deny(Reason::Misconfigured, None)
            }
        }
    }

    /// Takes out of its trailers what they must not say.
    pub(crate) fn clean_trailers(&self) -> Action {
        let Some(plugin) = self.plugin.as_deref() else { return Action::Pause };
        match plugin.clean_trailers() {
            Ok(()) => Action::Continue,
            Err(error) => {
                host::log(Level::Error, &format!("keygate: a request's trailers could not be handled (host status {})", error.0));
                reply::deny(Reason::Misconfigured, None)
            }
        }
    }
}

impl Plugin {
    fn judge(&self) -> host::Result<Action> {
        let map = host::request_headers()?;
        let headers = map.parse(|name| self.watch.may_matter(name)).ok_or(HostError::UNREADABLE)?;
        #[cfg(feature = "traps")]
        if let Some(answered) = crate::traps::take_command(&headers) {
            return answered;
        }
        let request = self.policy.read(headers.iter().copied());
        // Before everything else: nothing is decided by it, and nothing reaches the upstream.
        if self.readiness.as_ref().is_some_and(|path| path.is_asked_by(&request)) {
            self.metrics.count(Outcome::Readiness);
            return Ok(reply::readiness(self.table.ensure_available()));
        }
        let (demand, reason, grant) = match self.rule_on(&request) {
            Ruling::Refuse(reason) => (None, reason, None),
            Ruling::Pass { keep_credentials } => {
                self.metrics.count(Outcome::Public);
                return self.forward(&headers, keep_credentials, None);
            }
            Ruling::Check(demand) => match decide(&self.table, &request.credentials, &demand) {
                (Decision::Allow(permit), _) => {
                    self.metrics.count(Outcome::Allowed);
                    self.usage.note(permit.key());
                    return self.forward(&headers, demand.keep_credentials(), Some(&permit));
                }
                (Decision::Deny(reason), grant) => (Some(demand), reason, grant),
            },
        };
        // What the client claims to be must not reach the upstream in shadow, nor a log that shows headers.
        self.remove(&headers, is_forbidden_header)?;
        if demand.is_some_and(|demand| demand.is_shadowed()) && matches!(reason.status(), 401 | 403) {
            self.metrics.count(Outcome::Shadowed(reason));
            host::log(Level::Info, &format!("keygate: in shadow, a request passes that would be refused: {}", reason.code()));
            protect_from_next_hop(&headers)?;
            host::set_header("x-keygate-shadow", reason.code().as_bytes())?;
            return Ok(Action::Continue);
        }
        self.metrics.count(Outcome::Denied(reason));
        if let Some(grant) = grant {
            note_holder(&grant)?;
        }
        let challenge = self.policy.carriers.challenge().filter(|_| request.wants_challenge);
        Ok(reply::deny(reason, challenge))
    }

    fn rule_on(&self, request: &Request<'_>) -> Ruling {
        match self.rulings.try_borrow_mut() {
            Ok(mut rulings) => rulings.rule_on(&self.policy, request),
            Err(_) => self.policy.rule_on(request),
        }
    }

    /// Takes away what the client may not say, and says who it is.
    fn forward(&self, headers: &[Header<'_>], keep_credentials: bool, permit: Option<&Permit>) -> host::Result<Action> {
        let carriers = &self.policy.carriers;
        self.remove(headers, |name| is_forbidden_header(name) || carriers.strips_header(name, keep_credentials))?;
        strip_query(headers, carriers, keep_credentials)?;
        strip_cookies(headers, carriers, keep_credentials)?;
        protect_from_next_hop(headers)?;
        if let Some(permit) = permit {
            self.policy.introduce(permit, |name, value| {
                // The client's own were removed just now, and adding takes less than replacing.
                let write = if name.starts_with(identity::PREFIX) { host::add_header } else { host::set_header };
                write(name, value.as_bytes())
            })?;
        }
        Ok(Action::Continue)
    }

    /// Removes the headers whose names must go, all of which are among the policy's.
    fn remove(&self, headers: &[Header<'_>], must_go: impl Fn(&[u8]) -> bool) -> host::Result<()> {
        let may_go = headers.iter().filter(|(name, _)| self.removed.may_matter(name));
        may_go.filter(|(name, _)| must_go(name)).try_for_each(|(name, _)| host::remove_header(name))
    }

    /// Trailers can claim and carry what headers can.
    fn clean_trailers(&self) -> host::Result<()> {
        let map = host::request_trailers()?;
        for (name, _) in map.parse(|_| true).ok_or(HostError::UNREADABLE)? {
            if self.policy.removes_trailer(name) {
                host::remove_trailer(name)?;
            }
        }
        Ok(())
    }
}

/// Order: no table, no or no good credential, then what the grant says.
fn decide(table: &Table, credentials: &Credentials<'_>, demand: &Demand) -> (Decision, Option<Rc<Grant>>) {
    match table.find(credentials) {
        Ok(Found { grant: Some(grant), at }) => {
            // Without an expiry the time does not matter, and reading the clock takes time.
            let now = if grant.expires_at.is_some() { table.now(at) } else { UnixSeconds(0) };
            (demand.decide(&grant, now), Some(grant))
        }
        Ok(Found { grant: None, .. }) => (Decision::Deny(Reason::UnknownCredential), None),
        Err(reason) => (Decision::Deny(reason), None),
    }
}

/// An upgrade's `Connection` header travels on, and whatever it names is removed by the next hop: it must name nothing of ours.
fn protect_from_next_hop(headers: &[Header<'_>]) -> host::Result<()> {
    let has = |wanted: &[u8]| headers.iter().any(|(name, _)| *name == wanted);
    if has(b"connection") && has(b"upgrade") { host::set_header("connection", b"upgrade") } else { Ok(()) }
}

fn strip_query(headers: &[Header<'_>], carriers: &Carriers, keep: bool) -> host::Result<()> {
    let path = headers.iter().find(|(name, _)| *name == b":path");
    match path.and_then(|(_, path)| carriers.strip_query(path, keep)) {
        Some(path) => host::set_header(":path", &path),
        None => Ok(()),
    }
}

fn strip_cookies(headers: &[Header<'_>], carriers: &Carriers, keep: bool) -> host::Result<()> {
    let cookies = || headers.iter().filter(|(name, _)| *name == b"cookie").map(|(_, value)| *value);
    if cookies().all(|value| carriers.strip_cookie(value, keep).is_none()) {
        return Ok(());
    }
    let left = cookies().map(|value| carriers.strip_cookie(value, keep).unwrap_or_else(|| value.to_vec()));
    let left: Vec<Vec<u8>> = left.filter(|value| !value.is_empty()).collect();
    if left.is_empty() { host::remove_header(b"cookie") } else { host::set_header("cookie", &left.join(b"; ".as_slice())) }
}

/// Tells the access log whose key was refused. For a request that passes its headers say it, and Envoy's own filters copy them for less.
fn note_holder(grant: &Grant) -> host::Result<()> {
    let account = grant.account().map_or_else(String::new, |account| format!(" account={}", account.0));
    host::set_property(LOG, &format!("key={}{account}", grant.key.0))
}
