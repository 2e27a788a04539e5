//! The heart: may this grant reach this target now? Everything that is not allowed here is denied.

use crate::environment::EnvironmentId;
use crate::grant::{Access, AccountId, Grant, Holder, KeyId, Reach, UnixSeconds};
use crate::reason::Reason;
use crate::target::{Place, Target};

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It passes, as whom the permit says.
    Allow(Permit),
    /// It is refused.
    Deny(Reason),
}

/// Proof that a grant covers a target; only [`decide`] makes one. Its fields are what the upstream is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    key: KeyId,
    account: Option<AccountId>,
    environment: Option<EnvironmentId>,
    access: Access,
}

impl Permit {
    /// The key that was presented.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The account it belongs to; `None` for an environment key.
    pub fn account(&self) -> Option<AccountId> {
        self.account
    }

    /// The environment that the request is in, if it is in one.
    pub fn environment(&self) -> Option<&EnvironmentId> {
        self.environment.as_ref()
    }

    /// What the key may do there. A request that only reads may come with a key that may write.
    pub fn access(&self) -> Access {
        self.access
    }
}

/// Judges one grant against one target at one second.
///
/// A grant is expired from the very second of its expiry on. An environment key has all access to its environment and none
/// elsewhere; places outside every environment are for accounts' unlimited keys, administration for those that reach all.
/// Without a target, for the given reason, nothing is allowed.
pub fn decide(grant: &Grant, target: Result<&Target, Reason>, now: UnixSeconds) -> Decision {
    if grant.expires_at.is_some_and(|expires_at| now >= expires_at) {
        return Decision::Deny(Reason::Expired);
    }
    let target = match target {
        Ok(target) => target,
        Err(reason) => return Decision::Deny(reason),
    };
    let permit = |account: Option<AccountId>, environment: Option<&EnvironmentId>, access: Access| {
        Decision::Allow(Permit { key: grant.key, account, environment: environment.cloned(), access })
    };
    match (&grant.holder, target.place()) {
        (Holder::Environment(own), Place::Own { named: None, prefix, .. }) if own.as_str().starts_with(prefix) => {
            permit(None, Some(own), Access::Write)
        }
        (Holder::Environment(own), Place::Environment(asked) | Place::Own { named: Some(asked), .. }) if own == asked => {
            permit(None, Some(own), Access::Write)
        }
        (Holder::Environment(_), _) => Decision::Deny(Reason::OutOfScope),

        (Holder::Account { limited: true, .. }, Place::Account(_) | Place::Admin | Place::Own { named: None, .. }) => {
            Decision::Deny(Reason::OutOfScope)
        }
        (
            Holder::Account { account, reach, .. },
            Place::Environment(asked) | Place::Account(Some(asked)) | Place::Own { named: Some(asked), .. },
        ) => match target.environment().and_then(|environment| reach.access(environment)) {
            Some(access) if access >= target.access() => permit(Some(*account), Some(asked), access),
            Some(_) => Decision::Deny(Reason::ReadOnly),
            None => Decision::Deny(Reason::OutOfScope),
        },
        (Holder::Account { account, .. }, Place::Account(None) | Place::Own { named: None, any_account: true, .. })
        | (Holder::Account { account, reach: Reach::All, .. }, Place::Admin | Place::Own { named: None, .. }) => {
            permit(Some(*account), None, Access::Write)
        }
        (Holder::Account { .. }, Place::Admin | Place::Own { named: None, .. }) => Decision::Deny(Reason::OutOfScope),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_000);

    fn id(text: &str) -> EnvironmentId {
        EnvironmentId::parse(text).unwrap()
    }

    fn own() -> Place {
        Place::Own { named: None, prefix: String::new(), any_account: true }
    }

    fn grant(holder: Holder) -> Grant {
        Grant { key: KeyId(7), holder, expires_at: None }
    }

    fn account(limited: bool, reach: Reach) -> Grant {
        grant(Holder::Account { account: AccountId(3), limited, reach })
    }

    fn verdict(grant: &Grant, place: Place, access: Access) -> Result<(), Reason> {
        match decide(grant, Ok(&Target::new(place, access)), NOW) {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(reason) => Err(reason),
        }
    }

    #[test]
    fn a_key_expires_at_the_very_second() {
        let mut key = account(false, Reach::All);
        let target = Target::new(Place::Account(None), Access::Read);
        key.expires_at = Some(NOW);
        for (now, expired) in [(999, false), (1_000, true), (1_001, true)] {
            let denied = decide(&key, Ok(&target), UnixSeconds(now)) == Decision::Deny(Reason::Expired);
            assert_eq!(denied, expired, "{now}");
        }
    }

    #[test]
    fn an_environment_key_never_leaves_its_environment() {
        let key = grant(Holder::Environment(id("1a5")));
        for access in [Access::Read, Access::Write] {
            assert_eq!(verdict(&key, Place::Environment(id("1a5")), access), Ok(()));
            assert_eq!(verdict(&key, own(), access), Ok(()));
            for place in [Place::Environment(id("1a6")), Place::Environment(id("1A5")), Place::Account(None), Place::Admin] {
                assert_eq!(verdict(&key, place.clone(), access), Err(Reason::OutOfScope), "{place:?}");
            }
        }
    }

    #[test]
    fn a_users_key_reaches_what_its_memberships_say() {
        let reach = Reach::only([(id("1a5").reference(), Access::Write), (id("1a6").reference(), Access::Read)]);
        let key = account(false, reach);
        assert_eq!(verdict(&key, Place::Environment(id("1a5")), Access::Write), Ok(()));
        assert_eq!(verdict(&key, Place::Environment(id("1a6")), Access::Read), Ok(()));
        assert_eq!(verdict(&key, Place::Environment(id("1a6")), Access::Write), Err(Reason::ReadOnly));
        assert_eq!(verdict(&key, Place::Environment(id("1a7")), Access::Read), Err(Reason::OutOfScope));
        assert_eq!(verdict(&key, Place::Account(None), Access::Write), Ok(()));
        assert_eq!(verdict(&key, own(), Access::Write), Ok(()));
        assert_eq!(verdict(&key, Place::Admin, Access::Read), Err(Reason::OutOfScope));
    }

    #[test]
    fn a_limited_token_is_nobody_outside_its_environments() {
        let key = account(true, Reach::only([(id("1a5").reference(), Access::Write)]));
        assert_eq!(verdict(&key, Place::Environment(id("1a5")), Access::Write), Ok(()));
        for place in [Place::Account(None), own(), Place::Admin, Place::Environment(id("1a6"))] {
            assert_eq!(verdict(&key, place, Access::Read), Err(Reason::OutOfScope));
        }
    }

    #[test]
    fn an_environment_of_another_upstream_has_no_own_place_here() {
        let place = |named: Option<&str>| Place::Own { named: named.map(id), prefix: "b-".to_owned(), any_account: true };
        assert_eq!(verdict(&grant(Holder::Environment(id("4"))), place(None), Access::Read), Err(Reason::OutOfScope));
        assert_eq!(verdict(&grant(Holder::Environment(id("b-4"))), place(None), Access::Read), Ok(()));
        assert_eq!(verdict(&grant(Holder::Environment(id("b-4"))), place(Some("b-4")), Access::Read), Ok(()));
    }

    #[test]
    fn what_belongs_to_an_environment_that_is_not_named_is_its_own_keys_and_the_admins() {
        let place = |named: Option<&str>| Place::Own { named: named.map(id), prefix: String::new(), any_account: false };
        let user = account(false, Reach::only([(id("1a5").reference(), Access::Read)]));
        assert_eq!(verdict(&user, place(None), Access::Read), Err(Reason::OutOfScope));
        assert_eq!(verdict(&user, place(Some("1a5")), Access::Read), Ok(()));
        assert_eq!(verdict(&user, place(Some("1a5")), Access::Write), Err(Reason::ReadOnly));
        assert_eq!(verdict(&user, place(Some("1a6")), Access::Read), Err(Reason::OutOfScope));
        let limited = account(true, Reach::All);
        assert_eq!(verdict(&limited, place(None), Access::Read), Err(Reason::OutOfScope));
        let own = grant(Holder::Environment(id("1a5")));
        assert_eq!(verdict(&own, place(None), Access::Write), Ok(()));
        assert_eq!(verdict(&own, place(Some("1a6")), Access::Read), Err(Reason::OutOfScope));
        assert_eq!(verdict(&account(false, Reach::All), place(None), Access::Write), Ok(()));
    }

    #[test]
    fn an_admin_goes_everywhere() {
        let key = account(false, Reach::All);
        for place in [Place::Account(None), own(), Place::Admin, Place::Environment(id("any"))] {
            assert_eq!(verdict(&key, place, Access::Write), Ok(()));
        }
    }

    #[test]
    fn the_strongest_of_several_memberships_wins() {
        let environment = id("1a5").reference();
        for order in [[Access::Read, Access::Write], [Access::Write, Access::Read]] {
            let reach = Reach::only(order.map(|access| (environment, access)));
            assert_eq!(reach.access(environment), Some(Access::Write));
        }
    }
}
