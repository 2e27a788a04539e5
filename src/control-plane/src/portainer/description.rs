//! What `/openapi.json` says of this dialect. A test compares it with the routes.

use serde_json::{Value, json};

use crate::openapi::{Api, Body, Field, Operation};

/// What any request may be told.
const ERRORS: [u16; 8] = [400, 401, 403, 404, 405, 408, 413, 503];

/// The dialect of Portainer.
pub(crate) fn description() -> Api {
    let text = |name| Field::text(name, true);
    let role = || Field { schema: json!({"type": "integer", "enum": [1, 2]}), ..text("role") };
    let credentials = || vec![text("username"), text("password")];
    let one = "/api/users/{id}";
    let operations = vec![
        open(taking(credentials(), also(&[422], operation("POST", "/api/auth", "Logs in", 200)))),
        open(operation("POST", "/api/auth/logout", "Ends the login that is shown, if one is", 204)),
        open(operation("GET", "/api/status", "Shows which Portainer it is like", 200)),
        open(operation("GET", "/api/system/status", "Shows which Portainer it is like", 200)),
        open(operation("GET", "/api/settings/public", "Shows how people log in", 200)),
        open(operation("GET", "/api/users/admin/check", "Whether there is an administrator", 204)),
        open(taking(credentials(), also(&[409], operation("POST", "/api/users/admin/init", ADMIN_INIT, 200)))),
        operation("GET", "/api/users", "Lists the users, to administrators", 200),
        taking(
            [credentials(), vec![role()]].concat(),
            also(&[409], operation("POST", "/api/users", "Makes a user, for administrators", 200)),
        ),
        operation("GET", "/api/users/me", "Shows who asks", 200),
        operation("GET", one, "Shows a user", 200),
        taking(
            vec![Field::text("password", false), Field::text("newPassword", false)],
            also(&[409], operation("PUT", one, "Gives a user another password", 200)),
        ),
        also(&[409], operation("DELETE", one, "Deletes a user with all tokens, for administrators", 204)),
        taking(
            vec![text("password"), text("newPassword")],
            also(&[409], operation("PUT", "/api/users/{id}/passwd", "Changes a password", 204)),
        ),
        operation("GET", "/api/users/{id}/tokens", "Lists a user's tokens", 200),
        taking(
            vec![text("password"), text("description")],
            operation("POST", "/api/users/{id}/tokens", "Makes a token of the own user; it takes a login", 201),
        ),
        // As Portainer says that there is no such token.
        also(&[500], operation("DELETE", "/api/users/{id}/tokens/{keyID}", "Deletes a token", 204)),
    ];
    Api { name: "Portainer", carriers: &["bearer", "apiKey"], error: error(), operations }
}

/// There is an administrator before anything is served.
const ADMIN_INIT: &str = "Refused (409): the first administrator is made with keygate init";

fn operation(method: &'static str, path: &str, summary: &str, success: u16) -> Operation {
    Operation {
        method,
        path: path.to_owned(),
        summary: summary.to_owned(),
        query: Vec::new(),
        body: None,
        success,
        errors: ERRORS.to_vec(),
        headers: &[],
        needs_credential: true,
    }
}

fn open(operation: Operation) -> Operation {
    Operation { needs_credential: false, ..operation }
}

fn taking(fields: Vec<Field>, operation: Operation) -> Operation {
    Operation { body: Some(Body { fields, types: &["application/json"], required: true }), ..operation }
}

fn also(errors: &[u16], operation: Operation) -> Operation {
    Operation { errors: [&operation.errors, errors].concat(), ..operation }
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["message", "details"],
        "properties": {
            "message": {"type": "string", "description": "What is wrong, in Portainer's words"},
            "details": {"type": "string", "description": "Why, or what would be taken"},
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::portainer::request::Route;

    #[test]
    fn every_method_of_every_path_is_described_once() {
        let operations = description().operations;
        let described: BTreeSet<_> = operations.iter().map(|one| (one.path.as_str(), one.method)).collect();
        assert_eq!(described.len(), operations.len(), "each stands there once");
        let paths: BTreeSet<_> = operations.iter().map(|one| one.path.as_str()).collect();
        let taken: BTreeSet<_> = paths
            .into_iter()
            .flat_map(|path| {
                let route = Route::find(&path.replace(['{', '}'], "")).unwrap();
                route
                    .methods()
                    .split(", ")
                    .filter(|method| *method != "HEAD")
                    .map(move |method| (path, method))
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(described, taken);
    }
}
