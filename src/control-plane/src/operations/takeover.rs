//! Taking over accounts and their tokens from another system, all of them in one change or none. A token is taken over by its digest:
//! whoever has it goes on with it, and nobody issues it again.
//!
//! What was withdrawn here stays withdrawn, and nobody reaches more than they did: what is there already is named, and whoever asks
//! says what is meant.

use std::collections::BTreeSet;

use keygate_decision::Digest;

use super::keys::{self, TokenWish};
use super::{Missing, Refusal, accounts, require};
use crate::model::{Account, AccountRef, Form, Kind, Purpose};
use crate::name::{AccountName, Label, Name};
use crate::permission::{Action, Caller};
use crate::store::{Change, Connection, account, caller, key};

/// An account that is to be taken over.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer {
    pub(crate) name: AccountName,
    /// What it was in the other system.
    pub(crate) kind: Kind,
    /// An account of this name that is here already is meant: its kind stays, and it gets the tokens.
    pub(crate) existing: bool,
    pub(crate) tokens: Vec<Token>,
}

/// A token of one string, of which only the digest is known.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) name: Name,
    /// What of it is no secret.
    pub(crate) label: Label,
    pub(crate) digest: Digest,
}

/// What came of one of them.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) account: Account,
    /// The account was not here before.
    pub(crate) made: bool,
    /// So many tokens pass from now on.
    pub(crate) tokens: usize,
    /// So many were taken over before.
    pub(crate) known: usize,
    /// So many were taken over before and deleted since: they stay so.
    pub(crate) deleted: usize,
}

/// Takes over all of them.
pub(crate) async fn take_over(change: &mut Change<'_>, caller: &Caller, newcomers: Vec<Newcomer>) -> Result<Vec<Taken>, Refusal> {
    require(caller, Action::CreateAccount, || Missing::account("here"))?;
    refuse_namesakes(change.connection(), &newcomers).await?;
    let mut taken = Vec::new();
    for newcomer in newcomers {
        taken.push(take(change, caller, newcomer).await?);
    }
    Ok(taken)
}

/// All of them are named at once. Two of one name are two people there: neither gets what is the other's.
async fn refuse_namesakes(connection: &mut Connection, newcomers: &[Newcomer]) -> Result<(), Refusal> {
    let mut given = BTreeSet::new();
    if let Some(twice) = newcomers.iter().find(|newcomer| !given.insert(newcomer.name.as_str().to_ascii_lowercase())) {
        let message = format!("names {} twice (case does not matter); choose another name for one of them", twice.name);
        return Err(Refusal::invalid("accounts", message));
    }
    let mut names = Vec::new();
    for newcomer in newcomers.iter().filter(|newcomer| !newcomer.existing) {
        if account::find(connection, &AccountRef::Name(newcomer.name.clone())).await?.is_some() {
            names.push(newcomer.name.as_str());
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    let message = format!(
        "accounts of these names are here already: {}; those that are the same must be marked as existing, the others need other names",
        names.join(", ")
    );
    Err(Refusal::conflict("name_taken", Some("accounts"), message))
}

async fn take(change: &mut Change<'_>, caller: &Caller, newcomer: Newcomer) -> Result<Taken, Refusal> {
    let Newcomer { name, kind, tokens, .. } = newcomer;
    let found = account::find(change.connection(), &AccountRef::Name(name.clone())).await?;
    let made = found.is_none();
    let account = match found {
        Some(account) if account.kind == Kind::Admin && kind == Kind::User => {
            let message =
                format!("{name} is an admin here and was none there: its tokens would reach everything; choose another name");
            return Err(Refusal::conflict("would_elevate", Some("accounts"), message));
        }
        Some(account) => account,
        None => accounts::create(change, caller, &name, kind).await?,
    };
    let mut taken = Taken { account, made, tokens: 0, known: 0, deleted: 0 };
    for token in tokens {
        match standing(change.connection(), &token, &taken.account).await? {
            Standing::New => {
                let account = AccountRef::Id(taken.account.id);
                let Token { name, label, digest } = token;
                let form = Form::Whole(label);
                let wish = TokenWish { account, form, digest, name, description: None, lifetime: None, limit: None };
                keys::create_token(change, caller, wish).await?;
                taken.tokens += 1;
            }
            Standing::Known => taken.known += 1,
            Standing::Deleted => taken.deleted += 1,
        }
    }
    Ok(taken)
}

enum Standing {
    New,
    Known,
    Deleted,
}

async fn standing(connection: &mut Connection, token: &Token, account: &Account) -> Result<Standing, Refusal> {
    let Some(known) = caller::recognize(connection, &token.digest).await? else { return Ok(Standing::New) };
    // Whosever it was: it never passes again.
    if known.purpose != Purpose::Login && key::find(connection, known.key).await?.is_none() {
        return Ok(Standing::Deleted);
    }
    if known.purpose == Purpose::Login || known.standing.account() != Some(account.id) {
        let (label, name) = (token.label.as_str(), &account.name);
        let message = format!(
            "the token {label} of {name} is here already and belongs to another account or to an environment, or is a login's"
        );
        return Err(Refusal::conflict("token_taken", Some("accounts"), message));
    }
    Ok(Standing::Known)
}
