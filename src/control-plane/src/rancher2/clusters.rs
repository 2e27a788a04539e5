//! `clusters`: environments, to be read by those who see them, and the kubeconfig files that lead to them.

use keygate_decision::EnvironmentId;
use serde_json::{Value, json};

use super::collection;
use super::error::Error;
use super::kubeconfig::{self, Access, Leads};
use super::render;
use super::request::{Asked, Kind};
use super::resource::{self, Verb};
use crate::api::App;
use crate::dialect::Answer;
use crate::model::{AccountRef, Environment};
use crate::operations::{accounts, environments, tokens};
use crate::permission::Caller;
use crate::setting::{CA_CERTS, SERVER_URL};
use crate::store::setting;

/// Everything about clusters.
pub(super) async fn answer(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let operation = resource::of(Kind::Cluster).operation(asked)?;
    match (operation.verb, asked.cluster()) {
        (Verb::List, _) => {
            let environments = environments::list(&mut *app.store.read().await?, caller).await?;
            let shown = environments.iter().map(|(environment, _)| view(asked, environment));
            collection::answer(asked, Kind::Cluster, shown.collect())
        }
        (Verb::Show, Some(id)) => {
            let (environment, _) = environments::show(&mut *app.store.read().await?, caller, &id).await?;
            Ok(Answer::ok(view(asked, &environment)))
        }
        (Verb::Act(_), Some(id)) => generate(app, caller, asked, id).await,
        _ => Err(Error::not_found()),
    }
}

async fn generate(app: &App, caller: &Caller, asked: &Asked, id: EnvironmentId) -> Result<Answer, Error> {
    // All that a file needs is read in the change: were anything to fail behind it, there would be a token that nobody has.
    let made = app.change(caller.clone(), async move |change, caller| {
        let (environment, plain) = tokens::for_kubectl(change, caller, &id).await?;
        let reader = change.connection();
        let user = match caller.standing.account() {
            Some(own) => Some(accounts::show(reader, caller, &AccountRef::Id(own)).await?.name),
            None => None,
        };
        let url = setting::value(reader, &SERVER_URL).await?;
        Ok((environment, plain, user, url, setting::value(reader, &CA_CERTS).await?))
    });
    let (environment, plain, user, url, ca_certs) = made.await?.value;
    let origin = if url.is_empty() { asked.base.site().to_string() } else { url };
    let leads = Leads { origin: &origin, environment: &environment, ca_certs: &ca_certs };
    let access = match &plain {
        Some(plain) => Access::Token(plain.expose()),
        None => Access::Login(user.as_ref()),
    };
    let config = kubeconfig::write(&leads, &access);
    Ok(Answer::ok(json!({"type": "generateKubeConfigOutput", "baseType": "generateKubeConfigOutput", "config": config})))
}

fn view(asked: &Asked, environment: &Environment) -> Value {
    let fields = json!({
        "name": environment.name.as_str(), "description": "", "state": "active", "transitioning": "no", "transitioningMessage": "",
    });
    render::resource(&asked.base, Kind::Cluster, environment.id.as_str(), Some(environment.created), fields)
}
