//! Join tokens: shown once, stored as a digest, and what a name stands with after each change.

use keygate_decision::Digest;
use keygate_wire::JoinToken;
use serde_json::json;

use super::Plane;
use crate::push::TokenStanding;

impl Plane {
    async fn standing(&self, proxy: &str, token: Option<&str>) -> TokenStanding {
        let digest = token.map(Digest::of);
        self.store.token_lookup()(proxy.to_owned(), digest).await.unwrap()
    }
}

#[tokio::test]
async fn a_token_is_shown_once_and_counts_for_its_name_until_it_is_revoked() {
    let plane = Plane::start().await;
    assert_eq!(plane.standing("edge-1", None).await, TokenStanding::Untold);
    let made = plane.admin("POST", "proxies/edge-1/tokens", Some(json!({"description": "rack 7"})), 201).await.body;
    let token = made["token"].as_str().unwrap().to_owned();
    assert!(JoinToken::parse(&token).is_some(), "{made}");
    assert_eq!((&made["id"], &made["proxy"], &made["state"]), (&json!("1"), &json!("edge-1"), &json!("active")));
    let other = plane.admin("POST", "proxies/edge-2/tokens", Some(json!({})), 201).await.body;
    assert_eq!(other["description"], json!(null));

    for (path, count) in [("proxy-tokens", 2), ("proxies/edge-1/tokens", 1), ("proxies/edge-3/tokens", 0)] {
        let listed = plane.admin("GET", path, None, 200).await.body;
        assert_eq!(listed["data"].as_array().unwrap().len(), count, "{path}");
        assert!(!listed.to_string().contains("kgj_"), "{listed}");
    }
    let stored = std::fs::read(plane.database()).unwrap();
    let log = std::fs::read(plane.database().with_extension("db-wal")).unwrap_or_default();
    for bytes in [stored, log] {
        assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()), "the token is on disk");
    }

    assert_eq!(plane.standing("edge-1", Some(&token)).await, TokenStanding::Active(1));
    assert_eq!(plane.standing("edge-2", Some(&token)).await, TokenStanding::OfAnother);
    assert_eq!(plane.standing("edge-1", Some("kgj_")).await, TokenStanding::Unknown);
    assert_eq!(plane.standing("edge-1", None).await, TokenStanding::Lacking);

    plane.admin("DELETE", "proxy-tokens/1", None, 204).await;
    plane.admin("DELETE", "proxy-tokens/1", None, 204).await;
    assert_eq!(plane.standing("edge-1", Some(&token)).await, TokenStanding::Revoked(1));
    assert_eq!(plane.standing("edge-1", None).await, TokenStanding::Lacking, "a revoked token does not open the name");
    assert_eq!(plane.admin("GET", "proxies/edge-1/tokens", None, 200).await.body["data"][0]["state"], "revoked");
}

#[tokio::test]
async fn forgetting_a_proxy_drops_its_tokens_even_if_it_never_came() {
    let plane = Plane::start().await;
    let made = plane.admin("POST", "proxies/edge-1/tokens", Some(json!({})), 201).await.body;
    plane.admin("DELETE", "proxies/edge-1", None, 204).await;
    plane.admin("DELETE", "proxies/edge-1", None, 404).await;
    assert_eq!(plane.standing("edge-1", made["token"].as_str()).await, TokenStanding::Unknown);
    assert_eq!(plane.standing("edge-1", None).await, TokenStanding::Untold);
    plane.admin("DELETE", "proxy-tokens/1", None, 404).await;
    // An id is never given out twice.
    assert_eq!(plane.admin("POST", "proxies/edge-1/tokens", Some(json!({})), 201).await.body["id"], "2");
}

#[tokio::test]
async fn what_cannot_be_a_token_of_a_proxy_is_refused_with_the_field() {
    let plane = Plane::start().await;
    let answer = plane.admin("POST", "proxies/a%20b/tokens", Some(json!({})), 422).await.body;
    assert_eq!(answer["field"], "proxy");
    let answer = plane.admin("POST", "proxies/edge-1/tokens", Some(json!({"token": "kgj_"})), 422).await.body;
    assert_eq!((&answer["code"], &answer["field"]), (&json!("unknown_field"), &json!("token")));
    for id in ["7", "x", "+1"] {
        let answer = plane.admin("DELETE", &format!("proxy-tokens/{id}"), None, 404).await.body;
        assert!(answer["message"].as_str().unwrap().contains("keygate proxy token list"), "{answer}");
    }
}
