//! What callers try who mean harm, and what becomes of those who are cut off.

use std::time::{Duration, Instant};

use keygate_decision::{AccountId, KeyId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;
use crate::model::Purpose;
use crate::permission::{Caller, Standing};

async fn raw(plane: &Plane, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(plane.url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

async fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A connection that is dropped may end with a reset.
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

fn posting(token: &str, length: usize) -> String {
    format!(
        "POST /keygate/v1/keys HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_request_parked_with_half_a_body_is_judged_when_it_is_complete() {
    let plane = Plane::start().await;
    let (id, token) = plane.account("alice", "user").await;
    let body = json!({"account": "alice", "name": "stolen"}).to_string();
    let mut parked = raw(&plane, &posting(&token, body.len())).await;
    parked.write_all(&body.as_bytes()[..10]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    plane.admin("POST", &format!("keys/{id}/deactivate"), None, 200).await;
    parked.write_all(&body.as_bytes()[10..]).await.unwrap();
    let answer = rest(parked).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test]
async fn a_change_in_the_queue_behind_its_own_revocation_is_not_made() {
    let plane = Plane::start().await;
    let (id, token) = plane.account("alice", "user").await;
    let (go, gate) = oneshot::channel::<()>();
    let block = plane.store.write(Actor::Local, async move |_: &mut Change<'_>| {
        drop(gate.await);
        Ok::<_, StoreError>(())
    });
    let path = format!("keys/{id}/deactivate");
    let revocation = plane.call(&plane.admin, "POST", &path, None);
    let abuse = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        plane.call(&token, "POST", "keys", Some(json!({"account": "alice", "name": "stolen"}))).await
    };
    let release = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        go.send(()).unwrap();
    };
    let (blocked, revoked, abused, ()) = tokio::join!(block, revocation, abuse, release);
    blocked.unwrap();
    assert_eq!((revoked.status, abused.status), (200, 401), "{}", abused.body);
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let plane = Plane::start().await;
    let host = plane.url.trim_start_matches("http://").to_owned();
    let own = format!("http://{host}");
    for (method, headers, status) in [
        ("POST", vec![("sec-fetch-site", "cross-site")], 403),
        ("POST", vec![("sec-fetch-site", "same-site"), ("origin", "http://other.example")], 403),
        ("POST", vec![("origin", "null")], 403),
        ("POST", vec![("origin", "http://other.example")], 403),
        ("POST", vec![("sec-fetch-site", "same-origin"), ("origin", own.as_str())], 200),
        ("POST", vec![("sec-fetch-site", "none")], 200),
        ("GET", vec![("sec-fetch-site", "cross-site"), ("origin", "http://other.example")], 200),
    ] {
        let path = if method == "GET" { "keys/1" } else { "keys/1/activate" };
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = plane.client.request(method, format!("{}/keygate/v1/{path}", plane.url)).bearer_auth(&plane.admin);
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let answer = read(request).await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_revoked_caller_is_identified_again_inside_the_change() {
    let plane = Plane::start().await;
    let (id, _) = plane.key(json!({"account": "root", "name": "short", "ttlSeconds": 60})).await;
    let caller = Caller { key: KeyId(id.parse().unwrap()), purpose: Purpose::Key, standing: Standing::Admin(AccountId(1)) };
    let change = || plane.app.change(caller.clone(), async |_, _| Ok(()));
    assert!(change().await.is_ok());
    plane.pass(60);
    assert!(matches!(change().await, Err(crate::operations::Refusal::Unauthorized)));
}

#[tokio::test]
async fn a_half_open_request_does_not_hold_up_the_end() {
    let plane = Plane::start().await;
    let half_a_head = raw(&plane, "GET /healthz HTTP/1.1\r\nhost:").await;
    let half_a_body = raw(&plane, &posting(&plane.admin, 1000)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    plane.end().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    drop((half_a_head, half_a_body));
}

#[tokio::test]
async fn a_request_that_was_received_is_answered_before_the_end() {
    let plane = Plane::start().await;
    let (go, gate) = oneshot::channel::<()>();
    let block = plane.store.write(Actor::Local, async move |_: &mut Change<'_>| {
        drop(gate.await);
        Ok::<_, StoreError>(())
    });
    let change = plane.admin("POST", "keys", Some(json!({"account": "root", "name": "x"})), 201);
    let end = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        plane.end().await;
    };
    let release = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        go.send(()).unwrap();
    };
    let (blocked, _, (), ()) = tokio::join!(block, change, end, release);
    blocked.unwrap();
}

#[tokio::test]
async fn the_head_of_a_request_has_to_arrive() {
    let plane = Plane::start().await;
    let slow = raw(&plane, "GET /healthz HTTP/1.1\r\nhost:").await;
    let silent = raw(&plane, "").await;
    let ended = tokio::time::timeout(Duration::from_secs(15), async { tokio::join!(rest(slow), rest(silent)) }).await;
    let (slow, silent) = ended.expect("both are dropped");
    assert!(!slow.contains("200") && silent.is_empty(), "{slow}{silent}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let plane = Plane::start().await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(raw(&plane, "").await);
    }
    let client = http_client();
    let health = read(client.get(format!("{}/healthz", plane.url)));
    tokio::pin!(health);
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut health).await.is_err());
    drop(idle);
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), health).await.expect("its turn").status, 200);
}
