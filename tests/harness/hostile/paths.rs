//! Fuzz target: a `:path`. No spelling leads a key of one environment into another one, or into the administration.

use keygate_decision::{
    Access, AccountId, Decision, EnvironmentId, Grant, Header, Holder, KeyId, Policy, Reach, Screening, UnixSeconds,
};

use super::border::{self, OWN, path_crossing};

/// The bytes are a `:path`.
pub fn paths(data: &[u8]) {
    let policy = border::policy();
    let headers: [Header<'_>; 3] = [(b":method", b"GET"), (b":path", data), (b"x-api-key", b"any")];
    // Whatever can be asked can be explained.
    let _ = policy.explain(&headers);
    if holders().into_iter().any(|holder| passes(policy, &headers, holder)) {
        let crossing = path_crossing(data);
        assert!(crossing.is_none(), "{} passes and may be read as {crossing:?}", data.escape_ascii());
    }
}

/// An environment key, an account's key and a limited one, all of the one environment alone.
fn holders() -> [Holder; 3] {
    let id = EnvironmentId::parse(OWN).expect("the border's environment has an id");
    let reach = Reach::only([(id.reference(), Access::Write)]);
    let account = |limited| Holder::Account { account: AccountId(1), limited, reach: reach.clone() };
    [account(false), account(true), Holder::Environment(id)]
}

fn passes(policy: &Policy, headers: &[Header<'_>], holder: Holder) -> bool {
    match policy.screen(&policy.read(headers.iter().copied())) {
        Screening::Check(check) => {
            let grant = Grant { key: KeyId(1), holder, expires_at: None };
            matches!(check.decide(Some(&grant), UnixSeconds(0)), Decision::Allow(_))
        }
        Screening::Pass { .. } => true,
        Screening::Refuse(_) => false,
    }
}
