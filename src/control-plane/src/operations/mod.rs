//! Everything that people do, one function each: who may, what must hold, then the change. The native API and whatever stands beside
//! it translate to and from these; they hold no SQL and know no HTTP.

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod callers;
pub(crate) mod environments;
pub(crate) mod keys;
pub(crate) mod logins;
pub(crate) mod members;
pub(crate) mod passwords;
pub(crate) mod proxies;
pub(crate) mod proxy_tokens;
mod refusal;
pub(crate) mod settings;
pub(crate) mod table;
pub(crate) mod takeover;
pub(crate) mod tokens;

pub(crate) use refusal::{BUSY_SECONDS, Missing, Refusal};

use crate::permission::{Action, Caller, Verdict, judge};

/// Whether the caller may do this, for those who show what may be done.
pub(crate) fn may(caller: &Caller, action: Action) -> bool {
    judge(&caller.standing, action) == Verdict::Allowed
}

/// Ends an operation unless the caller may do this. `missing` is what a caller is told for whom the thing does not exist.
fn require(caller: &Caller, action: Action, missing: impl FnOnce() -> Missing) -> Result<(), Refusal> {
    match judge(&caller.standing, action) {
        Verdict::Allowed => Ok(()),
        Verdict::Forbidden => Err(Refusal::Forbidden(way_out(action))),
        Verdict::Hidden => Err(missing().into()),
    }
}

fn way_out(action: Action) -> &'static str {
    match action {
        Action::CreateAccount | Action::SeeAccount(_) | Action::ManageAccount(_) => "only an admin manages accounts",
        Action::CreateEnvironment => "only an admin creates environments",
        Action::SeeEnvironment(_) | Action::ManageEnvironment(_) => {
            "only an owner of the environment or an admin changes it, its members and its keys"
        }
        Action::ManageAccountKey(_) | Action::ManageEnvironmentKey(_) => {
            "only the account itself, an owner of the environment or an admin manages a key"
        }
        Action::NameToken => "only an admin chooses a token's name; leave it out, and one is drawn",
        Action::ManageLogins(_) => "only the account itself or an admin sets its password and sees its logins",
        Action::SetFirstPassword(_) => "only an admin gives an account its first password",
        Action::SupplySecret => "only an admin says what the access key or the secret of a key is",
        Action::ManageSettings => "only an admin sees and changes settings",
        Action::SeeAudit => "only an admin sees what was done",
        Action::ManageProxies => "only an admin manages proxies and their join tokens",
        Action::ExportTable => "only an admin exports the table",
        Action::AwaitRevision => "an environment key does not see proxies; use a key of an account",
    }
}
