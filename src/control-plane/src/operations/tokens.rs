//! What is done with tokens of name and secret, as Rancher 2 has them: drawn, limited in time by the settings, listed beside the logins
//! of their account, and ended by whoever they belong to. A secret is drawn here, leaves in a [`Plain`], and is stored as a digest alone.

use std::fmt;

use keygate_decision::{AccountId, Digest, EnvironmentId, KeyId};

use super::audit::Refusals;
use super::keys::{self, HolderRef, TokenWish};
use super::logins::{self, Attempt};
use super::{Missing, Refusal, environments, may, require};
use crate::class::Class;
use crate::login::Gate;
use crate::model::{Account, AccountRef, Environment, Form, Key, Kind, Login, Purpose, State};
use crate::name::{Description, Label, Lifetime, Name};
use crate::permission::{Action, Caller, Standing};
use crate::random;
use crate::setting::{KUBECONFIG_GENERATE, KUBECONFIG_TTL, SESSION_TTL, TOKEN_MAX_TTL};
use crate::store::login::NewLogin;
use crate::store::{Change, Connection, Store, Written, key, login, setting as stored};

/// What the names of tokens begin with that nobody has named.
pub(crate) const DRAWN: &str = "token-";
/// So many characters of a name are drawn, and so many of a secret (256 bits).
const NAME_LEN: usize = 5;
const SECRET_LEN: usize = 54;

/// A token as it is presented, `name:secret`. Prints as `Plain(..)`.
pub(crate) struct Plain(String);

impl Plain {
    fn draw(name: &Label) -> Result<Self, Refusal> {
        Ok(Self(format!("{}:{}", name.as_str(), random::letters(SECRET_LEN)?)))
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }

    /// The plain text, for the one answer that shows it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain(..)")
    }
}

/// What an account may be shown of itself: whatever passes in its name.
#[derive(Clone, Debug)]
pub(crate) enum Token {
    /// A key or a token.
    Lasting(Key),
    /// What a password opened.
    Login(Login),
}

impl Token {
    fn account(&self) -> Option<AccountId> {
        match self {
            Self::Lasting(key) => key.holder.account(),
            Self::Login(login) => Some(login.account.id),
        }
    }

    fn has_given_name(&self) -> bool {
        matches!(self, Self::Lasting(Key { form: Form::Named(label), .. }) if !label.as_str().starts_with(DRAWN))
    }
}

/// Says which of the tokens is meant.
#[derive(Clone, Debug)]
pub(crate) enum TokenRef {
    /// The one of this name or access key, whatever the case.
    Named(Label),
    /// The key or token of this number.
    Key(KeyId),
    Login(KeyId),
}

/// What someone says of a token to be made.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// Whose it is; the caller's own if it says nothing.
    pub(crate) account: Option<AccountRef>,
    /// A name of one's own, which says what the token is for.
    pub(crate) name: Option<Label>,
    pub(crate) description: Option<Description>,
    /// `None` for ever, as far as the settings allow that.
    pub(crate) lifetime: Option<Lifetime>,
    /// The one environment that it is limited to.
    pub(crate) limit: Option<EnvironmentId>,
}

/// Makes a token. One that would live for longer than any may lives for as long as any may: that is silent, as in Rancher.
pub(crate) async fn create(change: &mut Change<'_>, caller: &Caller, wish: Wish) -> Result<(Key, Plain), Refusal> {
    let account = match wish.account {
        Some(account) => account,
        None => AccountRef::Id(caller.standing.account().ok_or(Refusal::Forbidden(FOR_ACCOUNTS))?),
    };
    let name = match wish.name {
        None => free_name(change.connection(), DRAWN).await?,
        Some(name) => {
            require(caller, Action::NameToken, || Missing::key(name.as_str()))?;
            given_name(name)?
        }
    };
    make(change, caller, account, name, wish.description, wish.lifetime, wish.limit).await
}

const FOR_ACCOUNTS: &str = "a key of or limited to an environment makes no tokens; use one of an account without a limit";

/// An environment with a token for kubectl in it, which reaches that environment alone; without a token if the settings say that kubectl
/// has to log in. A token that was made earlier cannot be shown again, so each has a name of its own; those that have expired go.
pub(crate) async fn for_kubectl(
    change: &mut Change<'_>,
    caller: &Caller,
    id: &EnvironmentId,
) -> Result<(Environment, Option<Plain>), Refusal> {
    let (environment, _) = environments::show(change.connection(), caller, id).await?;
    if !stored::value(change.connection(), &KUBECONFIG_GENERATE).await? {
        return Ok((environment, None));
    }
    let account = caller.standing.account().ok_or(Refusal::Forbidden(FOR_ACCOUNTS))?;
    let (_, plain) = kubeconfig(change, caller, account, None, Some(environment.id.clone())).await?;
    Ok((environment, Some(plain)))
}

/// Logs in by Rancher 2's API: the login, whose token has a name, and that token.
pub(crate) async fn log_in(
    store: &Store,
    gate: &Gate,
    refusals: &Refusals,
    attempt: Attempt,
    description: Option<Description>,
) -> Result<(Login, Plain), Refusal> {
    let opened = logins::open(store, gate, refusals, attempt, async move |change, account| {
        let label = free_name(change.connection(), DRAWN).await?;
        let plain = Plain::draw(&label)?;
        let expires = stored::value(change.connection(), &SESSION_TTL).await?.end(change.now());
        let new = NewLogin { digest: plain.digest(), label: Some(label), description, expires };
        Ok((login::create(change, account, new).await?, plain))
    });
    opened.await.map(|Written { value, .. }| value)
}

/// Makes a token for kubectl of an account's password, for one environment or for all that the account reaches.
pub(crate) async fn log_in_for_kubectl(
    store: &Store,
    gate: &Gate,
    refusals: &Refusals,
    attempt: Attempt,
    limit: Option<EnvironmentId>,
) -> Result<(Key, Plain), Refusal> {
    let opened = logins::open(store, gate, refusals, attempt, async move |change, account| {
        let lifetime = stored::value(change.connection(), &KUBECONFIG_TTL).await?;
        kubeconfig(change, &by_password(account), account.id, lifetime, limit).await
    });
    opened.await.map(|Written { value, .. }| value)
}

/// Who has said an account's password may what a login of it may. There is no key, and no key has this number.
fn by_password(account: &Account) -> Caller {
    let standing = match account.kind {
        Kind::Admin => Standing::Admin(account.id),
        Kind::User => Standing::User(account.id),
    };
    Caller { key: KeyId(0), purpose: Purpose::Login, standing }
}

async fn kubeconfig(
    change: &mut Change<'_>,
    caller: &Caller,
    account: AccountId,
    lifetime: Option<Lifetime>,
    limit: Option<EnvironmentId>,
) -> Result<(Key, Plain), Refusal> {
    let of_account = format!("kubeconfig-{}", user_id(account));
    let of_limit = limit.as_ref().map(|limit| format!(".{}", plain_part(limit))).unwrap_or_default();
    let prefix = format!("{of_account}{of_limit}-");
    // They pass nowhere; that they go keeps names free and lists short.
    let now = change.now();
    for key in key::expired(change.connection(), account, limit.as_ref(), &prefix, now).await? {
        key::remove(change, &key).await?;
    }
    let name = free_name(change.connection(), &prefix).await?;
    make(change, caller, AccountRef::Id(account), name, None, lifetime, limit).await
}

/// An account's id as Rancher 2 has them.
pub(crate) fn user_id(account: AccountId) -> String {
    format!("user-{}", account.0)
}

/// An environment's id as a part of a name, in which less is allowed.
fn plain_part(id: &EnvironmentId) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    id.as_str().chars().map(plain).collect()
}

async fn make(
    change: &mut Change<'_>,
    caller: &Caller,
    account: AccountRef,
    name: Label,
    description: Option<Description>,
    lifetime: Option<Lifetime>,
    limit: Option<EnvironmentId>,
) -> Result<(Key, Plain), Refusal> {
    let most = stored::value(change.connection(), &TOKEN_MAX_TTL).await?;
    let plain = Plain::draw(&name)?;
    let form = Form::Named(name.clone());
    let described = || Class::of(&form).and_then(|class| Description::parse(class.about()).ok().flatten());
    let description = description.or_else(described);
    let wish = TokenWish {
        account,
        digest: plain.digest(),
        name: Name::parse(name.as_str()).map_err(|why| Refusal::invalid("name", why))?,
        description,
        lifetime: clamp(lifetime, most),
        limit,
        form,
    };
    Ok((keys::create_token(change, caller, wish).await?, plain))
}

/// The shorter of two lifetimes; none is the longest.
fn clamp(asked: Option<Lifetime>, most: Option<Lifetime>) -> Option<Lifetime> {
    match (asked, most) {
        (Some(asked), Some(most)) => Some(asked.min(most)),
        (asked, most) => asked.or(most),
    }
}

/// A name of one's own: as names in Kubernetes are, and not as those that are drawn.
fn given_name(name: Label) -> Result<Label, Refusal> {
    let text = name.as_str();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let ends_well = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if text.starts_with(DRAWN) {
        Err(Refusal::invalid("name", "must not begin with token-, as the names that are drawn do"))
    } else if text.bytes().all(allowed) && ends_well(text.bytes().next()) && ends_well(text.bytes().last()) {
        Ok(name)
    } else {
        Err(Refusal::invalid("name", "must be of a-z 0-9 - . and begin and end with a letter or digit"))
    }
}

async fn free_name(connection: &mut Connection, prefix: &str) -> Result<Label, Refusal> {
    // So many that even with millions of tokens one of them is free.
    const TRIES: usize = 100;
    for _ in 0..TRIES {
        let name = format!("{prefix}{}", random::letters(NAME_LEN)?);
        let name = Label::parse(&name).map_err(|why| Refusal::invalid("name", why))?;
        if !key::is_taken(connection, &name).await? {
            return Ok(name);
        }
    }
    Err(Refusal::conflict("no_free_name", None, format!("there are too many tokens {prefix}...; delete some")))
}

/// What passes, or has passed, in the name of the caller's account: its keys, tokens and logins, also those that have expired.
pub(crate) async fn list(connection: &mut Connection, caller: &Caller) -> Result<Vec<Token>, Refusal> {
    let Some(account) = caller.standing.account() else { return Ok(Vec::new()) };
    let keys = keys::list(connection, caller, Some(HolderRef::Account(AccountRef::Id(account)))).await?;
    let logins = logins::list(connection, caller, Some(&AccountRef::Id(account)), login::ALSO_EXPIRED).await?;
    Ok(keys.into_iter().map(Token::Lasting).chain(logins.into_iter().map(Token::Login)).collect())
}

/// A token of the caller's account, also one that has expired; or by the name that an admin gave it one of whomever the caller manages
/// the keys of. One whose name was drawn is for its owner alone.
pub(crate) async fn find(connection: &mut Connection, caller: &Caller, reference: &TokenRef) -> Result<Token, Refusal> {
    let found = match reference {
        TokenRef::Named(label) => match key::named(connection, label).await? {
            Some(key) => Some(Token::Lasting(key)),
            None => login::named(connection, label).await?.map(Token::Login),
        },
        TokenRef::Key(id) => key::find(connection, *id).await?.map(Token::Lasting),
        TokenRef::Login(id) => login::find(connection, *id, login::ALSO_EXPIRED).await?.map(Token::Login),
    };
    let missing = || Missing::key("of such a name");
    let token = found.ok_or_else(missing)?;
    let account = token.account().ok_or_else(missing)?;
    let is_own = caller.standing.account() == Some(account);
    let is_shown = is_own || (token.has_given_name() && may(caller, Action::ManageAccountKey(account)));
    if is_shown { Ok(token) } else { Err(missing().into()) }
}

/// Ends a token, whatever it is.
pub(crate) async fn end(change: &mut Change<'_>, caller: &Caller, token: &Token) -> Result<(), Refusal> {
    match token {
        Token::Login(login) => logins::end_expired(change, caller, login.id).await,
        Token::Lasting(key) => {
            if key.form.purpose() == Purpose::Key && key.state == State::Active {
                keys::deactivate(change, caller, key.id).await?;
            }
            keys::delete(change, caller, key.id).await
        }
    }
}

/// Ends the token that the caller presents.
pub(crate) async fn log_out(change: &mut Change<'_>, caller: &Caller) -> Result<(), Refusal> {
    match caller.purpose {
        Purpose::Login => logins::end(change, caller, caller.key).await,
        Purpose::Token => keys::delete(change, caller, caller.key).await,
        Purpose::Key => Err(Refusal::conflict(
            "not_a_login",
            None,
            "this is a key, not a token of a login; delete it by its id if it must not pass any more",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_lives_longer_than_the_most() {
        let life = |seconds| Lifetime::from_seconds(seconds).ok();
        for (asked, most, granted) in [
            (None, None, None),
            (life(60), None, life(60)),
            (None, life(60), life(60)),
            (life(61), life(60), life(60)),
            (life(59), life(60), life(59)),
        ] {
            assert_eq!(clamp(asked, most), granted);
        }
    }

    #[test]
    fn a_given_name_is_never_taken_for_a_drawn_one() {
        let name = |text: &str| given_name(Label::parse(text).unwrap());
        for good in ["kubectl-shell-user-vqkqt", "telemetry", "p-x-pipeline", "a", "a.b", "7"] {
            assert!(name(good).is_ok(), "{good}");
        }
        for bad in ["token-x7k2p", "token-", "-a", "a-", "A", "a_b", "a/b", "ABCDEFABCDEFABCDEF01", "..", "."] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_never_prints() {
        let plain = Plain::draw(&Label::parse("token-x7k2p").unwrap()).unwrap();
        assert_eq!(format!("{plain:?}"), "Plain(..)");
        assert_eq!(plain.expose().len(), "token-x7k2p:".len() + 54);
    }
}
