//! Accounts, their passwords and memberships in the dialect of Rancher 1.6.

use super::*;

/// What members are, without what else is shown of them.
fn plain(collection: &Value) -> Vec<Value> {
    let members = collection["data"].as_array().unwrap().iter();
    members
        .map(|one| json!({"externalId": one["externalId"], "externalIdType": one["externalIdType"], "role": one["role"]}))
        .collect()
}

fn member(account: &str, role: &str) -> Value {
    json!({"externalId": account, "externalIdType": "rancher_id", "role": role})
}

#[tokio::test]
async fn an_admin_makes_accounts_and_gives_them_passwords() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let (admin, user, nobody) = (plane.rancher(&plane.admin), plane.rancher(&alice), plane.rancher(""));
    let made = admin.send("POST", "/v1/accounts", Some(json!({"name": "bob", "kind": "user", "state": "x"})), 201).await;
    assert_eq!((&made["state"], &made["name"], &made["actions"]), (&json!("registering"), &json!("bob"), &json!({})));
    let id = made["id"].as_str().unwrap();
    let own = format!("/v1/accounts/{id}");
    assert_eq!(admin.get(&own).await["state"], "active");
    for (body, code, field) in [
        (json!({"name": "BOB", "kind": "user"}), "NotUnique", "name"),
        (json!({"name": "a b", "kind": "user"}), "InvalidFormat", "name"),
        (json!({"name": "carl", "kind": "agent"}), "InvalidOption", "kind"),
        (json!({"kind": "user"}), "MissingRequired", "name"),
    ] {
        let refused = admin.send("POST", "/v1/accounts", Some(body.clone()), 422).await;
        assert_eq!((&refused["code"], &refused["fieldName"]), (&json!(code), &json!(field)), "{body}");
    }
    assert_eq!(
        user.send("POST", "/v1/accounts", Some(json!({"name": "eve", "kind": "admin"})), 405).await["code"],
        "Method not allowed"
    );

    let users_own = user.ids("/v1/accounts?kind=user").await.remove(0);
    user.send("DELETE", &format!("/v1/accounts/{users_own}"), None, 405).await;
    let schema = user.get("/v1/schemas/account").await;
    assert_eq!((&schema["collectionMethods"], &schema["resourceMethods"]), (&json!(["GET"]), &json!(["GET"])));
    assert_eq!(schema["resourceActions"], json!({}));

    let wish = json!({"accountId": id, "publicValue": "bob", "secretValue": PASSWORD});
    user.send("POST", "/v1/passwords", Some(json!({"secretValue": PASSWORD})), 405).await;
    let foreign = user.send("POST", "/v1/passwords", Some(wish.clone()), 405).await;
    assert!(!foreign.to_string().contains("bob"), "a user's accountId is not looked at");
    let password = admin.send("POST", "/v1/password", Some(wish.clone()), 201).await;
    assert_eq!((&password["type"], &password["secretValue"]), (&json!("password"), &Value::Null));
    assert_eq!(admin.send("POST", "/v1/passwords", Some(wish), 422).await["code"], "NotUnique");
    let other = json!({"accountId": id, "publicValue": "robert", "secretValue": PASSWORD});
    assert_eq!(admin.send("POST", "/v1/passwords", Some(other), 422).await["fieldName"], "publicValue");
    let bob = plane.rancher_login("bob").await;
    assert_eq!(bob.ids("/v1/passwords").await, [password["id"].as_str().unwrap()]);
    assert_eq!(user.ids("/v1/passwords").await, Vec::<String>::new());
    let path = format!("/v1/passwords/{}", password["id"].as_str().unwrap());
    user.send("GET", &path, None, 404).await;
    let change = format!("{path}?action=changesecret");
    user.send("POST", &change, Some(json!({"newSecret": "another horse battery"})), 404).await;
    for (body, status, code) in [
        (json!({"oldSecret": "wrong", "newSecret": "another horse battery"}), 400, "InvalidOldPassword"),
        (json!({"newSecret": "another horse battery"}), 422, "MissingRequired"),
        (json!({"oldSecret": PASSWORD}), 422, "MissingRequired"),
        (json!({"oldSecret": PASSWORD, "newSecret": "short"}), 422, "InvalidFormat"),
        (json!({"oldSecret": PASSWORD, "newSecret": ["x"]}), 422, "InvalidFormat"),
    ] {
        assert_eq!(bob.send("POST", &change, Some(body.clone()), status).await["code"], code, "{body}");
    }
    bob.send("POST", &change, Some(json!({"oldSecret": PASSWORD, "newSecret": "another horse battery"})), 202).await;
    nobody.send("POST", "/v1/token", Some(json!({"code": "bob:another horse battery"})), 201).await;
    nobody.send("POST", "/v1/token", Some(json!({"code": format!("bob:{PASSWORD}")})), 401).await;

    // Only an inactive account is removed, and its logins have ended with it.
    assert_eq!(admin.send("DELETE", &own, None, 405).await["code"], "Method not allowed");
    admin.send("POST", &format!("{own}?action=remove"), None, 422).await;
    assert_eq!(admin.send("POST", &format!("{own}?action=deactivate"), None, 202).await["state"], "deactivating");
    bob.send("GET", "/v1/accounts", None, 401).await;
    assert_eq!(admin.get(&own).await["actions"].as_object().unwrap().len(), 2);
    assert_eq!(admin.send("DELETE", &own, None, 200).await["state"], "removing");
    admin.send("GET", &own, None, 404).await;
    let record = plane.admin("GET", "audit?limit=1000", None, 200).await.body;
    let noted = |object: &str| record["data"].as_array().unwrap().iter().any(|one| one["object"] == object);
    assert!(noted("POST rancher-1.6 Account") && noted("POST rancher-1.6 Password action"), "{record}");
    assert!(!record.to_string().contains("horse"));
}

#[tokio::test]
async fn accounts_are_switched_by_admins_alone() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let (admin, client) = (plane.rancher(&plane.admin), plane.rancher(&alice));
    assert_eq!(admin.get("/v1/accounts?kind=admin").await["data"].as_array().unwrap().len(), 1);
    let id = client.ids("/v1/accounts").await.remove(0);
    assert_eq!(client.get(&format!("/v1/accounts/{id}")).await["actions"], json!({}));
    client.send("POST", &format!("/v1/accounts/{id}?action=deactivate"), None, 422).await;
    let off = admin.send("POST", &format!("/v1/accounts/{id}?action=deactivate"), None, 202).await;
    assert_eq!(off["state"], "deactivating");
    client.send("GET", "/v1/accounts", None, 401).await;
    admin.send("POST", &format!("/v1/accounts/{id}?action=activate"), None, 202).await;
    client.get("/v1/accounts").await;
    let root = admin.ids("/v1/accounts?kind=admin").await.remove(0);
    assert_eq!(
        admin.send("POST", &format!("/v1/accounts/{root}?action=deactivate"), None, 405).await["code"],
        "LastAdminAccount"
    );
    let records = plane.admin("GET", "audit", None, 200).await.body;
    let refused = records["data"].as_array().unwrap().iter().find(|record| record["action"] == "request.refuse").unwrap();
    assert_eq!(refused["object"], "GET rancher-1.6 Account");
}

#[tokio::test]
async fn a_project_is_an_account_too() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    for environment in ["1a5", "1a6"] {
        plane.environment(environment).await;
    }
    plane.member("1a5", "alice", "member").await;
    let (_, machine) = plane.key(json!({"environment": "1a5", "name": "m"})).await;
    let [admin, user, machine] = [&plane.admin, &alice, &machine].map(|token| plane.rancher(token));
    let shown = admin.get("/v1/accounts?kind=project").await;
    assert_eq!(ids(&shown), ["1a5", "1a6"]);
    assert_eq!((&shown["data"][0]["type"], &shown["data"][0]["kind"]), (&json!("project"), &json!("project")));
    assert_eq!(admin.get("/v1/accounts").await["data"].as_array().unwrap().len(), 4, "two people, two projects");
    assert_eq!(user.get("/v1/accounts").await["data"][0]["name"], "alice");
    assert_eq!(user.ids("/v1/accounts").await.len(), 1);
    // Whoever acts as a project is that project.
    assert_eq!(user.ids("/v1/projects/1a5/accounts").await, ["1a5"]);
    assert_eq!(machine.ids("/v1/accounts").await, ["1a5"]);
    user.send("GET", "/v1/projects/1a6/accounts", None, 403).await;
    assert_eq!(user.get("/v1/accounts/1a5").await["links"]["self"], format!("{}/v1/projects/1a5", plane.url));
    user.send("GET", "/v1/accounts/1a6", None, 404).await;
    // It is changed where projects are.
    admin.send("DELETE", "/v1/accounts/1a5", None, 404).await;
    admin.send("POST", "/v1/accounts/1a5?action=deactivate", None, 404).await;
    admin.get("/v1/projects/1a5").await;
}

#[tokio::test]
async fn an_admin_makes_projects_with_members_and_owners_change_those() {
    let plane = Plane::start().await;
    let (_, olga) = plane.account("olga", "user").await;
    let (_, mark) = plane.account("mark", "user").await;
    let (_, eve) = plane.account("eve", "user").await;
    let [admin, owner, one, stranger] = [&plane.admin, &olga, &mark, &eve].map(|token| plane.rancher(token));
    let olga = owner.ids("/v1/accounts").await.remove(0);
    let mark = one.ids("/v1/accounts").await.remove(0);
    let both = json!([member(&olga, "owner"), member(&mark, "member")]);

    owner.send("POST", "/v1/projects", Some(json!({"id": "1a5", "members": both})), 405).await;
    let schema = owner.get("/v1/schemas/project").await;
    assert_eq!(schema["collectionMethods"], json!(["GET"]));
    assert_eq!(admin.send("POST", "/v1/projects", Some(json!({"name": "x"})), 422).await["fieldName"], "id");
    let bad = json!({"id": "1a5", "members": [member(&olga, "king")]});
    admin.send("POST", "/v1/projects", Some(bad), 422).await;
    admin.send("GET", "/v1/projects/1a5", None, 404).await;
    let made = admin.send("POST", "/v1/projects", Some(json!({"id": "1a5", "name": "Default", "members": both})), 201).await;
    assert_eq!((&made["id"], &made["state"]), (&json!("1a5"), &json!("registering")));
    assert_eq!(admin.send("POST", "/v1/projects", Some(json!({"id": "1A5"})), 422).await["code"], "NotUnique");

    let project = owner.get("/v1/projects/1a5").await;
    let members = project["links"]["projectMembers"].as_str().unwrap().strip_prefix(&plane.url).unwrap().to_owned();
    assert_eq!(json!(plain(&owner.get(&members).await)), both);
    assert_eq!(json!(plain(&owner.get("/v1/projectmembers?projectId=1a5").await)), both);
    assert_eq!(json!(plain(&one.get("/v1/projectMembers").await)), both, "those of all that the caller sees");
    assert_eq!(plain(&stranger.get("/v1/projectMembers").await), Vec::<Value>::new());
    stranger.send("GET", &members, None, 404).await;
    let set = project["actions"]["setmembers"].as_str().unwrap().strip_prefix(&plane.url).unwrap().to_owned();
    assert_eq!(one.get("/v1/projects/1a5").await["actions"], json!({}));
    one.send("POST", &set, Some(json!({"members": both})), 403).await;
    one.send("DELETE", "/v1/projects/1a5", None, 403).await;
    stranger.send("POST", &set, Some(json!({"members": both})), 404).await;
    for wrong in [
        json!({}),
        json!({"members": null}),
        json!({"members": []}),
        json!({"members": "x"}),
        json!({"members": [7]}),
        json!({"members": [member(&mark, "member")]}),
        json!({"members": [member(&olga, "owner"), member(&olga, "member")]}),
        json!({"members": [member(&olga, "owner"), member("1a1999999", "member")]}),
        json!({"members": [member(&olga, "owner"), {"externalId": mark, "externalIdType": "github_user", "role": "member"}]}),
    ] {
        owner.send("POST", &set, Some(wrong.clone()), 422).await;
        assert_eq!(json!(plain(&owner.get(&members).await)), both, "{wrong}");
    }
    let turned = json!([member(&mark, "owner")]);
    owner.send("POST", &set, Some(json!({"members": turned})), 202).await;
    owner.send("GET", "/v1/projects/1a5", None, 404).await;
    assert_eq!(json!(plain(&one.get(&members).await)), turned);

    // One by one; an identity that was looked up is a member, too.
    assert_eq!(stranger.get("/v1/identities?name=olga").await["data"], json!([]), "who owns nothing lets nobody in");
    stranger.send("GET", &format!("/v1/identities/rancher_id:{olga}"), None, 404).await;
    one.get(&format!("/v1/identities/rancher_id:{olga}")).await;
    assert_eq!(one.get("/v1/identities?all=olg").await["data"], json!([]));
    let mut identity = one.get("/v1/identities?name=olga").await["data"][0].clone();
    identity["role"] = json!("readonly");
    let made = one.send("POST", &members, Some(identity), 201).await;
    let own = format!("/v1/projectmembers/{}", made["id"].as_str().unwrap());
    assert_eq!(made["links"]["self"], format!("{}{own}", plane.url));
    assert_eq!(owner.get(&own).await["role"], "readonly");
    stranger.send("GET", &own, None, 404).await;
    owner.send("PUT", &own, Some(json!({"role": "owner"})), 403).await;
    assert_eq!(one.send("PUT", &own, Some(json!({"role": "restricted"})), 200).await["role"], "restricted");
    one.send("PUT", &own, Some(json!({"role": "king"})), 422).await;
    assert_eq!(one.send("DELETE", &own, None, 200).await["state"], "removing");
    owner.send("GET", &own, None, 404).await;
    one.send("GET", "/v1/projectmembers/garbageId", None, 404).await;
    let mut other = member("1a1", "member");
    other["projectId"] = json!("1a6");
    let refused = one.send("POST", "/v1/projects/1a5/projectmembers", Some(other), 422).await;
    assert_eq!(refused["fieldName"], "projectId", "whoever names another project means that one");
    assert_eq!(one.send("POST", "/v1/projects/1a5?action=remove", None, 202).await["state"], "removing");
    one.send("GET", "/v1/projects/1a5", None, 404).await;
}

#[tokio::test]
async fn a_member_shows_the_action_that_the_caller_may_take() {
    let plane = Plane::start().await;
    let [olga, mark, machine] = plane.staffed().await;
    for (token, may) in [(&plane.admin, true), (&olga, true), (&mark, false), (&machine, false)] {
        let client = plane.rancher(token);
        for id in client.ids("/v1/projectmembers?projectId=1a5").await {
            let all = client.get("/v1/projectmembers").await;
            let listed = all["data"].as_array().unwrap().iter().find(|member| member["id"] == id.as_str()).unwrap().clone();
            let shown = client.get(&format!("/v1/projectmembers/{id}")).await;
            let is_last_owner = shown["role"] == "owner";
            for member in [listed, shown] {
                assert_eq!(member["actions"].get("remove").is_some(), may && !is_last_owner, "{member}");
            }
            if !may || is_last_owner {
                let status = if may { 409 } else { 403 };
                client.send("POST", &format!("/v1/projectmembers/{id}?action=remove"), None, status).await;
            }
        }
    }
    // Whoever makes themselves a mere member may not remove anybody any more.
    plane.member("1a5", "mark", "owner").await;
    let owner = plane.rancher(&olga);
    let own = format!("/v1/projectmembers/1a5-{}", owner.ids("/v1/accounts").await.remove(0));
    assert_eq!(owner.send("PUT", &own, Some(json!({"role": "member"})), 200).await["actions"], json!({}));
}

#[tokio::test]
async fn the_last_owner_of_a_project_stays_one() {
    let plane = Plane::start().await;
    let (_, olga) = plane.account("olga", "user").await;
    plane.environment("1a5").await;
    plane.member("1a5", "olga", "owner").await;
    let owner = plane.rancher(&olga);
    let own = format!("/v1/projectmembers/1a5-{}", owner.ids("/v1/accounts").await.remove(0));
    for (method, path, body) in [
        ("DELETE", own.clone(), None),
        ("POST", format!("{own}?action=remove"), None),
        ("PUT", own.clone(), Some(json!({"role": "member"}))),
    ] {
        let refused = owner.send(method, &path, body, 409).await;
        assert!(refused["detail"].as_str().unwrap().contains("last owner"), "{refused}");
    }
    assert_eq!(owner.get(&own).await["role"], "owner");
}

#[tokio::test]
async fn one_of_the_members_that_are_set_is_an_owner_who_can_act() {
    let plane = Plane::start().await;
    let (_, olga) = plane.account("olga", "user").await;
    let (_, otto) = plane.account("otto", "user").await;
    plane.environment("1a5").await;
    plane.member("1a5", "olga", "owner").await;
    let (owner, admin) = (plane.rancher(&olga), plane.rancher(&plane.admin));
    let olga = owner.ids("/v1/accounts").await.remove(0);
    let otto = plane.rancher(&otto).ids("/v1/accounts").await.remove(0);
    plane.admin("POST", "accounts/otto/deactivate", None, 200).await;
    let set = "/v1/projects/1a5?action=setmembers";
    let alone = json!({"members": [member(&otto, "owner")]});
    for client in [&owner, &admin] {
        let refused = client.send("POST", set, Some(alone.clone()), 422).await;
        assert!(refused["detail"].as_str().unwrap().contains("account is active"), "{refused}");
    }
    let made = json!({"id": "1a6", "members": alone["members"]});
    admin.send("POST", "/v1/projects", Some(made), 422).await;
    let both = json!([member(&olga, "owner"), member(&otto, "owner")]);
    owner.send("POST", set, Some(json!({"members": both})), 202).await;
    assert_eq!(json!(plain(&owner.get("/v1/projects/1a5/projectmembers").await)), both);
    let own = format!("/v1/projectmembers/1a5-{olga}");
    assert_eq!(owner.get(&own).await["actions"], json!({}), "otto cannot act");
    owner.send("DELETE", &own, None, 409).await;
}

#[tokio::test]
async fn a_project_whose_members_were_set_offers_what_is_left_to_the_caller() {
    let plane = Plane::start().await;
    let (_, nina) = plane.account("nina", "user").await;
    let (_, olga) = plane.account("olga", "user").await;
    let (owner, other) = (plane.rancher(&nina), plane.rancher(&olga));
    let [nina, olga] = [owner.ids("/v1/accounts").await.remove(0), other.ids("/v1/accounts").await.remove(0)];
    plane.environment("1a5").await;
    let olgas = member(&olga, "owner");
    // Both own it; then nina is a mere member; or is gone.
    for (set, manages) in [
        (json!([member(&nina, "owner"), olgas]), true),
        (json!([member(&nina, "member"), olgas]), false),
        (json!([olgas]), false),
    ] {
        plane.member("1a5", "nina", "owner").await;
        let shown = owner.send("POST", "/v1/projects/1a5?action=setmembers", Some(json!({"members": set})), 202).await;
        assert_eq!(shown["actions"].get("setmembers").is_some(), manages, "{shown}");
        assert_eq!(shown["links"].get("apiKeys").is_some(), manages, "{shown}");
    }
}
