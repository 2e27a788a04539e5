//! Lists, schemas and links in the dialect of Rancher 1.6.

use super::*;

#[tokio::test]
async fn lists_are_filtered_sorted_and_paged() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let client = plane.rancher(&alice);
    for name in ["b-two", "a-one", "c-three"] {
        client.send("POST", "/v1/apikey", Some(json!({"name": name})), 201).await;
    }
    let names = async |query: &str| {
        let body = client.get(&format!("/v1/apikeys?{query}")).await;
        body["data"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("name=a-one").await, ["a-one"]);
    assert_eq!(names("name_prefix=b").await, ["b-two"]);
    assert_eq!(names("name_like=%25t%25&name_ne=test").await, ["b-two", "c-three"]);
    assert_eq!(names("sort=name&order=desc").await, ["test", "c-three", "b-two", "a-one"]);
    assert_eq!(names("state=inactive").await, Vec::<String>::new());
    assert_eq!(names("unheard=of").await.len(), 4, "what no key has is no filter");
    let first = client.get("/v1/apikeys?limit=3").await;
    let page = &first["pagination"];
    assert_eq!((&first["data"][0]["name"], &page["total"], &page["partial"]), (&json!("test"), &json!(4), &json!(true)));
    let next = client.get(page["next"].as_str().unwrap().strip_prefix(&plane.url).unwrap()).await;
    assert_eq!((next["data"].as_array().unwrap().len(), &next["data"][0]["name"]), (1, &json!("c-three")));
    assert_eq!(next["pagination"]["previous"], page["first"].as_str().unwrap());
    assert_eq!(client.get("/v1/apikeys?marker=9").await["data"], json!([]));
    let first = client.get("/v1/apikeys?limit=3&sort=name").await;
    assert_eq!((&first["pagination"]["partial"], &first["data"][0]["name"]), (&json!(true), &json!("a-one")));
    let next = first["pagination"]["next"].as_str().unwrap().strip_prefix(&plane.url).unwrap();
    let second = client.get(next).await;
    assert_eq!((second["data"].as_array().unwrap().len(), &second["pagination"]["next"]), (1, &Value::Null));
    assert_eq!(client.get("/v1/apikeys").await["pagination"], Value::Null);
    client.send("GET", "/v1/apikeys?limit=x", None, 422).await;
    // As Rancher's command line asks for everything.
    for unlimited in ["-2", "-1", "0", "1001", "9223372036854775807"] {
        let all = client.get(&format!("/v2-beta/apikeys?limit={unlimited}&removed_null=1&state_ne=removing")).await;
        assert_eq!((all["data"].as_array().unwrap().len(), &all["pagination"]["limit"]), (4, &json!(1000)), "{unlimited}");
    }
}

#[tokio::test]
async fn schemas_say_what_each_caller_may_write() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let client = plane.rancher(&alice);
    let answer = read(client.request("GET", "/v1")).await;
    assert_eq!(answer.headers["x-api-schemas"], format!("{}/v1/schemas", plane.url));
    let schemas = client.get("/v1/schemas").await;
    let key = schemas["data"].as_array().unwrap().iter().find(|schema| schema["id"] == "apiKey").unwrap().clone();
    assert_eq!(key["links"]["collection"], format!("{}/v1/apikeys", plane.url));
    assert_eq!(key["collectionMethods"], json!(["GET", "POST"]));
    let own = schemas["data"].as_array().unwrap().iter().find(|schema| schema["id"] == "schema").unwrap().clone();
    assert_eq!(own["links"]["collection"], format!("{}/v1/schemas", plane.url), "by it `rancher config` finds the schemas");
    assert_eq!(client.get("/v1/schemas/schema").await, own);
    let change = client.get("/v1/schemas/password").await["resourceActions"]["changesecret"]["input"].clone();
    let input = client.get(&format!("/v1/schemas/{}", change.as_str().unwrap().to_lowercase())).await;
    assert_eq!((&input["id"], &input["resourceFields"]["newSecret"]["required"]), (&change, &json!(true)), "{input}");
    assert!(schemas["data"].as_array().unwrap().contains(&input), "command lines look for it in the list");
    assert_eq!(key["resourceFields"]["name"]["update"], true);
    assert_eq!(key["resourceFields"]["accountId"]["create"], false);
    let admin = plane.rancher(&plane.admin).get("/v1/schemas/apikey").await;
    assert_eq!(admin["resourceFields"]["accountId"]["create"], true);
    plane.environment("1a5").await;
    plane.member("1a5", "alice", "owner").await;
    let scoped = client.get("/v1/projects/1a5/schemas/apiKey").await;
    assert_eq!(scoped["links"]["collection"], format!("{}/v1/projects/1a5/apikeys", plane.url));
    let projects = client.get("/v1/projects/1a5/schemas/project").await;
    assert_eq!(projects["links"]["collection"], format!("{}/v1/projects", plane.url), "a project is in no project");
}

#[tokio::test]
async fn a_client_that_begins_with_a_projects_url_works_in_that_project() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    plane.environment("1a5").await;
    plane.member("1a5", "alice", "owner").await;
    let client = plane.rancher(&alice);
    let schemas = async |path: &str| {
        let headers = read(client.request("GET", path)).await.headers;
        headers["x-api-schemas"].to_str().unwrap().strip_prefix(&plane.url).unwrap().to_owned()
    };
    for path in ["/v2-beta/projects/1a5", "/v2-beta/project/1a5/", "/v2-beta/projects/1a5/apikeys"] {
        assert_eq!(schemas(path).await, "/v2-beta/projects/1a5/schemas", "{path}");
    }
    for path in ["/v1", "/v1/projects", "/v1/projects/%22"] {
        assert_eq!(schemas(path).await, "/v1/schemas", "{path}");
    }
}

#[tokio::test]
async fn the_version_leads_only_to_what_the_caller_may_see() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    plane.environment("1a5").await;
    plane.member("1a5", "alice", "owner").await;
    let (_, machine) = plane.key(json!({"environment": "1a5", "name": "m"})).await;
    let limited = read(plane.request(&alice, "POST", "/v3/tokens").json(&json!({"clusterId": "1a5"}))).await;
    let limited = limited.body["token"].as_str().unwrap().to_owned();
    for token in [&alice, &machine, &limited] {
        let client = plane.rancher(token);
        let links = client.get("/v1").await["links"].as_object().unwrap().clone();
        for (name, link) in &links {
            let answer = read(client.request("GET", link.as_str().unwrap().strip_prefix(&plane.url).unwrap())).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        }
        let schemas = client.ids("/v1/schemas").await;
        let has_keys = *token == alice;
        assert_eq!((schemas.contains(&"apiKey".to_owned()), links.contains_key("apiKeys")), (has_keys, has_keys));
        for (method, path) in [("GET", "/v1/apikeys"), ("POST", "/v1/apikeys"), ("GET", "/v1/projects/1a5/apikeys")] {
            let status = read(client.request(method, path)).await.status;
            assert_eq!(status < 300, has_keys, "{method} {path}: {status}");
        }
    }
    assert!(plane.rancher(&plane.admin).get("/v1").await["links"]["settings"].is_string());
}

#[tokio::test]
async fn a_project_leads_only_to_what_the_caller_may_see() {
    let plane = Plane::start().await;
    let [olga, mark, machine] = plane.staffed().await;
    for (token, manages) in [(&plane.admin, true), (&olga, true), (&mark, false), (&machine, false)] {
        let client = plane.rancher(token);
        let links = client.get("/v1/projects/1a5").await["links"].as_object().unwrap().clone();
        for (name, link) in &links {
            let answer = read(client.request("GET", link.as_str().unwrap().strip_prefix(&plane.url).unwrap())).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        }
        assert_eq!(links.contains_key("apiKeys"), manages, "{links:?}");
    }
}

#[tokio::test]
async fn a_projects_schemas_offer_what_the_caller_may_do_there() {
    let plane = Plane::start().await;
    plane.environment("1a5").await;
    let mut callers = vec![(plane.admin.clone(), true)];
    for (name, role) in [("olga", "owner"), ("mark", "member"), ("rita", "readonly")] {
        callers.push((plane.account(name, "user").await.1, role == "owner"));
        plane.member("1a5", name, role).await;
    }
    let (_, machine) = plane.key(json!({"environment": "1a5", "name": "m"})).await;
    callers.push((machine.clone(), false));
    for (token, manages) in &callers {
        let client = plane.rancher(token);
        let schemas = client.get("/v1/projects/1a5/schemas").await;
        let of = |id: &str| schemas["data"].as_array().unwrap().iter().find(|schema| schema["id"] == id);
        assert_eq!(of("apiKey").is_some(), *manages, "{schemas}");
        client.send("GET", "/v1/projects/1a5/schemas/apikey", None, if *manages { 200 } else { 404 }).await;
        for (method, status) in [("GET", 200), ("POST", 201)] {
            client.send(method, "/v1/projects/1a5/apikeys", None, if *manages { status } else { 403 }).await;
        }
        let member = of("projectMember").unwrap();
        assert_eq!(member["collectionMethods"], if *manages { json!(["GET", "POST"]) } else { json!(["GET"]) });
        for schema in [member, of("project").unwrap()] {
            let all = json!(["GET", "PUT", "DELETE"]);
            assert_eq!(schema["resourceMethods"], if *manages { all } else { json!(["GET"]) }, "{schema}");
            assert_eq!(schema["resourceActions"].get("remove").is_some(), *manages, "{schema}");
        }
        // Named by a header, the project is the same.
        let named = client.request("GET", "/v1/schemas/apikey").header("x-api-project-id", "1a5");
        assert_eq!(read(named).await.status, if *manages { 200 } else { 404 });
    }
    // A key acts as its environment wherever it asks.
    let own = plane.rancher(&machine).get("/v1/schemas/projectmember").await;
    assert_eq!((&own["collectionMethods"], &own["resourceMethods"]), (&json!(["GET"]), &json!(["GET"])));
    // What a member may do elsewhere is not known before they say where.
    let mark = plane.rancher(&callers[2].0);
    assert_eq!(mark.get("/v1/schemas/projectmember").await["collectionMethods"], json!(["GET", "POST"]));
    assert_eq!(mark.get("/v1/schemas/apikey").await["collectionMethods"], json!(["GET", "POST"]), "those of their own");
}

#[tokio::test]
async fn everything_that_is_shown_can_be_viewed_by_its_own_link() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    plane.environment("1a5").await;
    plane.environment("Prod.1").await;
    plane.member("Prod.1", "alice", "owner").await;
    plane.key(json!({"environment": "Prod.1", "name": "m"})).await;
    plane.member("1a5", "alice", "owner").await;
    plane.key(json!({"environment": "1a5", "name": "m"})).await;
    plane.password("alice", PASSWORD).await;
    let admin = plane.rancher(&plane.admin);
    let path = |link: &Value| link.as_str().unwrap().strip_prefix(&plane.url).unwrap().to_owned();
    let mut seen = Vec::new();
    for (name, link) in admin.get("/v1").await["links"].as_object().unwrap() {
        let body = admin.get(&path(link)).await;
        for thing in body["data"].as_array().into_iter().flatten().filter(|thing| thing["links"].get("self").is_some()) {
            assert_eq!(admin.get(&path(&thing["links"]["self"])).await["id"], thing["id"], "{name}");
            seen.push(thing["type"].as_str().unwrap().to_owned());
        }
    }
    for name in ["apiKey", "account", "project", "projectMember", "password", "identity", "setting", "schema"] {
        assert!(seen.iter().any(|seen| seen == name), "{name}: {seen:?}");
    }
    let made = admin.send("POST", "/v1/projects/1a5/apikeys", None, 201).await;
    let project = admin.get(&path(&made["links"]["project"])).await;
    for link in ["apiKeys", "schemas", "projectMembers"] {
        admin.get(&path(&project["links"][link])).await;
    }
}
