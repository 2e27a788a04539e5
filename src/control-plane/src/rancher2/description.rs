//! What `/openapi.json` says of this dialect. All of it follows from the tables in `resource.rs`.

use serde_json::{Value, json};

use super::resource::{self, Resource, USUAL_STATUSES, Verb};
use crate::dialect::described_body;
use crate::openapi::{Api, Field, Operation};

/// Bodies are JSON, whatever they are said to be.
const TYPES: &[&str] = &["application/json"];

/// The dialect of Rancher 2, with the part that needs no credential.
pub(crate) fn description() -> Api {
    let mut operations = Vec::new();
    for (version, public) in [("/v3", false), ("/v3-public", true)] {
        operations.push(operation("GET", version.to_owned(), "Shows where everything is", &[200], public));
        operations.push(operation("POST", version.to_owned(), "Shows the same", &[200], public));
        operations.push(operation("GET", format!("{version}/schemas"), "Lists the schemas", &[200], public));
        operations.push(operation("GET", format!("{version}/schemas/{{id}}"), "Shows a schema", &[200], public));
        for resource in resource::ALL.iter().filter(|resource| resource.public == public) {
            of_resource(version, resource, &mut operations);
        }
    }
    Api { name: "Rancher 2", carriers: &["basic", "bearer"], error: error(), operations }
}

fn of_resource(version: &str, resource: &Resource, operations: &mut Vec<Operation>) {
    let all = format!("{version}/{}", resource.plural);
    let one = format!("{all}/{{id}}");
    for own in resource.operations {
        let described = |path: &str| operation(own.verb.method(), path.to_owned(), own.about, own.statuses, resource.public);
        operations.push(match own.verb {
            Verb::List => described(&all),
            Verb::Create => Operation { body: Some(described_body(resource.fields, true, TYPES)), ..described(&all) },
            Verb::Show | Verb::Remove => described(&one),
            Verb::Update => Operation { body: Some(described_body(resource.fields, false, TYPES)), ..described(&one) },
            Verb::Act(action) => Operation {
                query: vec![Field { schema: json!({"type": "string", "enum": [action]}), ..Field::text("action", true) }],
                body: own.input.map(|(_, fields)| described_body(fields, true, TYPES)),
                ..described(&one)
            },
            // A path has one POST on the page, and these share theirs with what makes things.
            Verb::ActOnAll(_) => continue,
        });
    }
}

fn operation(method: &'static str, path: String, summary: &str, statuses: &[u16], public: bool) -> Operation {
    let errors =
        [400, 408, 413].into_iter().chain(USUAL_STATUSES).chain(statuses.iter().copied().filter(|status| *status >= 400));
    Operation {
        method,
        path,
        summary: summary.to_owned(),
        query: Vec::new(),
        body: None,
        success: statuses.iter().copied().filter(|status| *status < 300).max().unwrap_or(200),
        errors: errors.collect(),
        headers: &[],
        needs_credential: !public,
    }
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["type", "status", "message"],
        "properties": {
            "type": {"type": "string", "enum": ["error"]},
            "baseType": {"type": "string", "enum": ["error"]},
            "status": {"description": "A number; a text where no credential passed", "oneOf": [{"type": "integer"}, {"type": "string"}]},
            "code": {"type": "string"},
            "message": {"type": "string"},
            "detail": {"type": "string", "description": "For people: why, and the way out"},
            "fieldName": {"type": "string", "description": "The field or parameter that is at fault"},
        },
    })
}
