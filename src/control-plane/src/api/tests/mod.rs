//! The API over real HTTP on a real database. This file holds what the tests share; nothing is faked but the clock.

mod audit; // every action and every refusal, and never a secret
mod hostile; // what callers try who mean harm, or are cut off
mod input; // what is refused, and in which words
mod lifecycle; // on, off, gone, expired, recovered
mod login; // passwords, logins, and how fast they may be guessed
mod metrics; // what those who watch see
mod openapi; // the page that describes the APIs
mod permissions; // who may do what
mod portainer; // the dialect of Portainer, as its clients speak it
mod proxy_tokens; // join tokens: made, listed, revoked, forgotten
mod publishing; // what reaches the push, and in which order
mod rancher16; // the dialect of Rancher 1.6, as its clients speak it
mod rancher2; // the dialect of Rancher 2, as its clients speak it
mod records; // settings, and what the audit record shows
mod takeover; // accounts and tokens of another system

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use keygate_decision::{Digest, Grant};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{App, routes, serve};
use crate::clock::Clock;
use crate::login::Gate;
use crate::metrics::Metrics;
use crate::model::{KeyHolder, Kind};
use crate::name::{AccountName, Name};
use crate::operations::audit::Refusals;
use crate::operations::keys;
use crate::push::Publisher;
use crate::random;
use crate::store::{Actor, Change, DataFolder, Store, StoreError, WriterThread, account, history};
use crate::tls::{self, Incoming, Roots};

/// The second at which tests begin.
const START: u64 = 1_800_000_000;
/// Good enough for anybody.
const PASSWORD: &str = "correct horse battery";

/// A control plane of its own for one test.
struct Plane {
    url: String,
    client: reqwest::Client,
    app: App,
    store: Store,
    writer: WriterThread,
    seconds: Arc<AtomicU64>,
    pushed: Arc<Mutex<Pushed>>,
    /// The admin's token.
    admin: String,
    folder: Scratch,
    /// Stops the API's server.
    stop: Arc<Notify>,
    server: JoinHandle<()>,
}

/// What the writer has published: every revision with the number of its digests, and the table that follows.
#[derive(Default)]
struct Pushed {
    revisions: Vec<(u64, usize)>,
    table: HashMap<Digest, Grant>,
}

/// An answer of the API.
#[derive(Debug)]
struct Answer {
    status: u16,
    revision: Option<u64>,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

impl Plane {
    async fn start() -> Self {
        let folder = Scratch::new();
        let data = DataFolder::create(&folder.0).unwrap();
        let seconds = Arc::new(AtomicU64::new(START));
        let (store, mut writer) = Store::open(data.database(), Clock::manual(seconds.clone())).await.unwrap();
        let epoch = random::bytes().unwrap();
        let start = history::begin_epoch(writer.connection().await.unwrap(), epoch).await.unwrap();
        let publisher =
            Publisher::new(epoch, start.history, start.table, store.proxy_register(), store.token_lookup(), store.usage_sink());
        let pushed = Arc::new(Mutex::new(Pushed::default()));
        let (sink, push) = (pushed.clone(), publisher.clone());
        let writer = writer
            .spawn(move |revision, grants| {
                sink.lock().unwrap().take(revision, &grants);
                push.publish(revision, grants)
            })
            .unwrap();
        let (metrics, gate, refusals) = (Metrics::new(&store, &publisher), Gate::new(), Refusals::default());
        let sync_is_up = Arc::new(AtomicBool::new(true));
        let app = App { store: store.clone(), publisher, gate, refusals, sync_is_up, metrics };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = Arc::new(Notify::new());
        let server = tokio::spawn(serve(Incoming::new(listener, None), routes(app.clone()), stop.clone().notified_owned()));
        let admin = make_admin(&store).await;
        Self { url, client: http_client(), app, store, writer, seconds, pushed, admin, folder, stop, server }
    }

    /// Calls the API with a token, or with none if it is empty.
    async fn call(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        read_with(self.request(token, method, &format!("/keygate/v1/{path}")), body).await
    }

    /// A request at a path, with a token or with none if it is empty.
    fn request(&self, token: &str, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.client.request(method, format!("{}{path}", self.url));
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }

    /// Calls the API as the admin and expects this status.
    async fn admin(&self, method: &str, path: &str, body: Option<Value>, status: u16) -> Answer {
        let answer = self.call(&self.admin, method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        answer
    }

    /// Makes an account and a key of it; the key's id and token.
    async fn account(&self, name: &str, kind: &str) -> (String, String) {
        self.admin("POST", "accounts", Some(json!({"name": name, "kind": kind})), 201).await;
        self.key(json!({"account": name, "name": "test"})).await
    }

    /// Makes a key as the admin; its id and token.
    async fn key(&self, wish: Value) -> (String, String) {
        let key = self.admin("POST", "keys", Some(wish), 201).await.body;
        (key["id"].as_str().unwrap().to_owned(), key["token"].as_str().unwrap().to_owned())
    }

    /// Sets a password as the admin.
    async fn password(&self, account: &str, password: &str) {
        self.admin("PUT", &format!("accounts/{account}/password"), Some(json!({"password": password})), 204).await;
    }

    async fn environment(&self, id: &str) {
        self.admin("POST", "environments", Some(json!({"id": id, "name": id})), 201).await;
    }

    async fn member(&self, environment: &str, account: &str, role: &str) -> Answer {
        self.admin("PUT", &format!("environments/{environment}/members/{account}"), Some(json!({"role": role})), 200).await
    }

    /// The grant that proxies have of a token.
    fn grant(&self, token: &str) -> Option<Grant> {
        let digest = keygate_decision::key::KeyPair::parse_token(token).unwrap().digest();
        self.pushed.lock().unwrap().table.get(&digest).cloned()
    }

    /// Turns the clock.
    fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Stops the API's server and waits until it has ended.
    async fn end(&self) {
        self.stop.notify_one();
        while !self.server.is_finished() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    fn database(&self) -> PathBuf {
        self.folder.0.join("keygate.db")
    }
}

impl Pushed {
    fn take(&mut self, revision: u64, grants: &[(Digest, Option<Grant>)]) {
        self.revisions.push((revision, grants.len()));
        for (digest, grant) in grants {
            match grant {
                Some(grant) => self.table.insert(*digest, grant.clone()),
                None => self.table.remove(digest),
            };
        }
    }
}

/// A client that speaks plain HTTP.
fn http_client() -> reqwest::Client {
    reqwest::Client::builder().tls_backend_preconfigured(tls::client(Roots::Nobody).unwrap()).build().unwrap()
}

/// The answer to a request with this body.
async fn read_with(request: RequestBuilder, body: Option<Value>) -> Answer {
    read(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

/// The ids of the things in a list, as the dialects of Rancher show it.
fn ids(collection: &Value) -> Vec<String> {
    assert_eq!(collection["type"], "collection");
    collection["data"].as_array().unwrap().iter().map(|thing| thing["id"].as_str().unwrap().to_owned()).collect()
}

async fn read(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let revision = headers.get("keygate-revision").map(|value| value.to_str().unwrap().parse().unwrap());
    let text = response.text().await.unwrap();
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    Answer { status, revision, headers, body }
}

async fn make_admin(store: &Store) -> String {
    let pair = random::key_pair().unwrap();
    let stored = pair.clone();
    let make = async move |change: &mut Change<'_>| {
        let admin = account::create(change, &AccountName::parse("root").unwrap(), Kind::Admin).await?;
        let holder = KeyHolder::Account { id: admin.id, name: admin.name };
        keys::issue(change, holder, Name::parse("init").unwrap(), None, None, &stored).await
    };
    store.write::<_, StoreError, _>(Actor::Local, make).await.unwrap();
    pair.token()
}

/// A folder that goes with the value.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let name = format!("keygate-test-{}", hex::encode(random::bytes::<8>().unwrap()));
        Self(std::env::temp_dir().join(name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
