//! What schema-driven clients need.

use super::*;

#[tokio::test]
async fn a_client_finds_everything_from_the_root() {
    let plane = Plane::start().await;
    let alice = plane.user("alice").await;
    for (client, root, types) in [
        (&alice, "/v3", &["token", "user", "cluster", "setting"][..]),
        (&plane.rancher2(""), "/v3-public", &["authProvider", "localProvider", "basicLogin"]),
    ] {
        let answer = client.answer("GET", root, None, 200).await;
        assert_eq!(answer.body["type"], "apiRoot");
        assert_eq!(client.send("POST", root, None, 200).await, answer.body, "some clients try their credential so");
        let schemas = answer.headers["x-api-schemas"].to_str().unwrap().strip_prefix(&plane.url).unwrap().to_owned();
        let schemas = client.get(&schemas).await;
        let schemas = schemas["data"].as_array().unwrap();
        for wanted in types {
            let schema = schemas.iter().find(|schema| schema["id"] == *wanted).unwrap();
            assert_eq!(schema["type"], "schema");
            let own = schema["links"]["self"].as_str().unwrap().strip_prefix(&plane.url).unwrap();
            assert_eq!(client.get(own).await, *schema);
            assert_eq!(client.get(&own.to_lowercase()).await, *schema);
        }
    }
    assert_eq!(alice.refused("GET", "/v3/schemas/nothing", None, 404).await, "NotFound");
}

#[tokio::test]
async fn schemas_say_what_there_is_and_what_can_be_done() {
    let plane = Plane::start().await;
    let admin = plane.rancher2(&plane.admin);
    plane.environment("c-aaaaa").await;
    admin.make(json!({})).await;
    let token = admin.get("/v3/schemas/token").await;
    assert_eq!((&token["collectionMethods"], &token["resourceMethods"]), (&json!(["GET", "POST"]), &json!(["GET", "DELETE"])));
    assert_eq!(token["collectionActions"], json!({"logout": {}}));
    assert_eq!(
        (&token["resourceFields"]["ttl"]["type"], &token["resourceFields"]["ttl"]["create"]),
        (&json!("int"), &json!(true))
    );
    let cluster = admin.get("/v3/schemas/clusters").await;
    assert_eq!(cluster["resourceActions"], json!({"generateKubeconfig": {"output": "generateKubeConfigOutput"}}));
    let user = admin.get("/v3/schemas/user").await;
    assert_eq!(user["resourceActions"]["setpassword"], json!({"input": "setPasswordInput", "output": "user"}));
    assert_eq!(admin.get("/v3/schemas/setPasswordInput").await["resourceFields"]["newPassword"]["required"], true);

    // Everything that a thing shows is a field of its schema.
    for plural in ["tokens", "users", "clusters", "settings"] {
        let schema = admin.get(&format!("/v3/schemas/{plural}")).await;
        let list = admin.get(&format!("/v3/{plural}")).await;
        let things = list["data"].as_array().unwrap();
        assert!(!things.is_empty());
        for name in things[0].as_object().unwrap().keys() {
            let known = ["type", "baseType", "links", "actions"].contains(&name.as_str());
            assert!(known || schema["resourceFields"][name].is_object(), "{plural}: {name}");
        }
    }
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_paged() {
    let plane = Plane::start().await;
    let admin = plane.rancher2(&plane.admin);
    for name in ["b", "c", "a"] {
        admin.make(json!({"name": name, "description": "x"})).await;
    }
    assert_eq!(admin.ids("/v3/tokens?description=x&sort=name&order=desc").await, ["c", "b", "a"]);
    assert_eq!(admin.ids("/v3/tokens?name_in=a,c").await, ["c", "a"]);
    assert_eq!(admin.ids("/v3/tokens?name_unheard=a").await, [""; 0]);
    assert_eq!(admin.ids("/v3/tokens?id=c").await, ["c"]);
    let page = admin.get("/v3/tokens?description=x&limit=2").await;
    assert_eq!((page["data"].as_array().unwrap().len(), &page["pagination"]["total"]), (2, &json!(3)));
    let next = page["pagination"]["next"].as_str().unwrap().strip_prefix(&plane.url).unwrap();
    let last = admin.get(next).await;
    assert_eq!((&last["data"][0]["id"], &last["pagination"]["next"]), (&json!("a"), &Value::Null));
    for (limit, most) in [("-1", 1000), ("0", 1000), ("10000", 10_000), ("10001", 10_000), ("9223372036854775807", 10_000)] {
        let all = admin.get(&format!("/v3/tokens?limit={limit}&all=true&description=x")).await;
        assert_eq!((all["data"].as_array().unwrap().len(), &all["pagination"]["limit"]), (3, &json!(most)), "{limit}");
    }
}
