//! What `ext_authz` asks: a service that makes the same decision as the filter, by the same crates, over the same number of keys. It is this
//! program again, started with `authorizer PORT KEYS`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::{Process, free_port};
use keygate_decision::{Access, Reason};
use keygate_decision::{
    AccountId, Decision, Digest, EnvironmentId, Grant, Holder, KeyId, Permit, Policy, Reach, Screening, UnixSeconds,
};
use keygate_wire::FilterConfig;
use prost::Message;
use tonic::codegen::BoxFuture;
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::keys::{HOME, Keys};
use crate::{data, grpc, peers};

/// How long it may take to get its keys ready.
const STARTING: Duration = Duration::from_secs(60);

/// Starts one with these keys, ready when this returns; its log stays in `folder`. Its port and its process's number, too.
pub(crate) async fn start(folder: &Path, keys: Keys) -> Result<(Process, u16, u32)> {
    let port = free_port()?;
    let (program, count) = (std::env::current_exe()?, keys.count.to_string());
    let arguments = ["authorizer", &port.to_string(), &count];
    let mut process = Process::start("the authorizer", &program, &arguments, &folder.join("authorizer.log"))?;
    let listening = async {
        while tokio::net::TcpStream::connect(harness::loopback(port)).await.is_err() {
            process.ensure_running()?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(STARTING, listening).await.context("waiting for the authorizer")??;
    let pid = process.id();
    Ok((process, port, pid))
}

/// Serves until it is killed.
pub(crate) async fn serve(port: u16, keys: Keys) -> Result<()> {
    let config = FilterConfig::parse(peers::rules("authorizer").to_string().as_bytes())?;
    let authorizer = Authorizer(Arc::new(State { policy: config.policy, grants: grants(keys)? }));
    grpc::serve(port, move |request| {
        let authorizer = authorizer.clone();
        Box::pin(async move {
            let codec = ProstCodec::<CheckResponse, CheckRequest>::default();
            Ok(Grpc::new(codec).unary(authorizer, request).await)
        })
    })
    .await
}

struct State {
    policy: Policy,
    grants: HashMap<Digest, Grant>,
}

fn grants(keys: Keys) -> Result<HashMap<Digest, Grant>> {
    let home = EnvironmentId::parse(HOME)?;
    let grant = |key: usize| -> Result<(Digest, Grant)> {
        let reach = Reach::only([(home.reference(), Access::Write)]);
        let account = AccountId(u64::try_from(keys.account(key))?);
        let holder = Holder::Account { account, limited: false, reach };
        Ok((keys.pair(key)?.digest(), Grant { key: KeyId(u64::try_from(data::key_id(key))?), holder, expires_at: None }))
    };
    (0..keys.count).map(grant).collect()
}

#[derive(Clone)]
struct Authorizer(Arc<State>);

impl UnaryService<CheckRequest> for Authorizer {
    type Response = CheckResponse;
    type Future = BoxFuture<Response<CheckResponse>, Status>;

    fn call(&mut self, request: Request<CheckRequest>) -> Self::Future {
        let state = Arc::clone(&self.0);
        Box::pin(async move {
            let request = state.http(request.into_inner()).context("a check without a request");
            let request = request.map_err(|error| Status::invalid_argument(error.to_string()))?;
            Ok(Response::new(match state.judge(&request) {
                Ok(permit) => CheckResponse::allow(&permit),
                Err(reason) => CheckResponse::deny(reason),
            }))
        })
    }
}

impl State {
    fn http(&self, request: CheckRequest) -> Option<Http> {
        request.attributes?.request?.http
    }

    fn judge(&self, http: &Http) -> Result<Permit, Reason> {
        let headers = http.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let request = self.policy.read(headers);
        let check = match self.policy.screen(&request) {
            Screening::Check(check) => check,
            Screening::Refuse(reason) => return Err(reason),
            // Nothing public is asked for here.
            Screening::Pass { .. } => return Err(Reason::NoRule),
        };
        match check.decide(self.grants.get(&check.digest()?), UnixSeconds(0)) {
            Decision::Allow(permit) => Ok(permit),
            Decision::Deny(reason) => Err(reason),
        }
    }
}

impl CheckResponse {
    fn allow(permit: &Permit) -> Self {
        let header = |key: &str, value: String| HeaderOption { header: Some(Header { key: key.to_owned(), value }) };
        let account = permit.account().map(|account| header("x-keygate-account", account.0.to_string()));
        let environment = permit.environment().map(|environment| header("x-keygate-environment", environment.to_string()));
        let headers = [
            header("x-keygate-key", permit.key().0.to_string()),
            header("x-keygate-access", permit.access().as_str().to_owned()),
        ];
        let headers = headers.into_iter().chain(account).chain(environment).collect();
        let headers_to_remove = ["authorization", "x-api-key"].map(str::to_owned).to_vec();
        Self { status: Some(Code { code: 0 }), denied: None, ok: Some(Allowed { headers, headers_to_remove }) }
    }

    fn deny(reason: Reason) -> Self {
        let status = Some(HttpStatus { code: i32::from(reason.status()) });
        let denied = Denied { status, body: reason.body().to_owned() };
        Self { status: Some(Code { code: PERMISSION_DENIED }), denied: Some(denied), ok: None }
    }
}

const PERMISSION_DENIED: i32 = 7;

// What is needed of envoy.service.auth.v3 and google.rpc.Status; the field numbers are theirs.

#[derive(Clone, PartialEq, Message)]
struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<Attributes>,
}

#[derive(Clone, PartialEq, Message)]
struct Attributes {
    #[prost(message, optional, tag = "4")]
    request: Option<AttributesRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributesRequest {
    #[prost(message, optional, tag = "2")]
    http: Option<Http>,
}

#[derive(Clone, PartialEq, Message)]
struct Http {
    /// Pseudo-headers are among them.
    #[prost(map = "string, string", tag = "3")]
    headers: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<Code>,
    #[prost(message, optional, tag = "2")]
    denied: Option<Denied>,
    #[prost(message, optional, tag = "3")]
    ok: Option<Allowed>,
}

#[derive(Clone, PartialEq, Message)]
struct Code {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Denied {
    #[prost(message, optional, tag = "1")]
    status: Option<HttpStatus>,
    #[prost(string, tag = "3")]
    body: String,
}

#[derive(Clone, PartialEq, Message)]
struct HttpStatus {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Allowed {
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderOption>,
    #[prost(string, repeated, tag = "5")]
    headers_to_remove: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderOption {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}
