//! `/openapi.json`: what can be asked of this server and what it answers, for people, for makers of clients and for testers that try
//! everything. Owns the shape of the page; what stands on it comes from the tables that each API works by, never from here.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// An API: paths that share one shape of errors.
#[derive(Debug)]
pub(crate) struct Api {
    /// What it is called on the page: the tag of its operations.
    pub(crate) name: &'static str,
    /// Where it looks for credentials: some of `basic`, `bearer` and `apiKey`.
    pub(crate) carriers: &'static [&'static str],
    /// The JSON schema of its errors.
    pub(crate) error: Value,
    pub(crate) operations: Vec<Operation>,
}

/// One method of one path.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// In capitals.
    pub(crate) method: &'static str,
    /// With its variables in braces, such as `/v1/apikeys/{id}`; each of them is a text.
    pub(crate) path: String,
    /// What it does, in one line.
    pub(crate) summary: String,
    /// The parameters of the query.
    pub(crate) query: Vec<Field>,
    pub(crate) body: Option<Body>,
    /// The status of an answer that is no error.
    pub(crate) success: u16,
    /// The headers of that answer that say more than its body, and what.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// The statuses of its errors.
    pub(crate) errors: Vec<u16>,
    /// Whether it asks for a credential.
    pub(crate) needs_credential: bool,
}

/// A field of a body, or a parameter.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// The JSON schema of its values.
    pub(crate) schema: Value,
    pub(crate) required: bool,
}

/// What a request carries.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) fields: Vec<Field>,
    /// The media types that it may have.
    pub(crate) types: &'static [&'static str],
    /// Whether a request without one is refused.
    pub(crate) required: bool,
}

impl Field {
    /// One that holds a text.
    pub(crate) fn text(name: &'static str, required: bool) -> Self {
        Self { name, schema: json!({"type": "string"}), required }
    }
}

/// The page.
pub(crate) fn page(apis: &[Api]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let mut errors = Map::new();
    for api in apis {
        errors.insert(schema_name(api), api.error.clone());
        for operation in &api.operations {
            let path = paths.entry(operation.path.clone()).or_insert_with(|| json!({"parameters": variables(&operation.path)}));
            if let Some(path) = path.as_object_mut() {
                path.insert(operation.method.to_ascii_lowercase(), describe(api, operation));
            }
        }
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Keygate", "version": env!("CARGO_PKG_VERSION"),
            "description": "The control plane's own API, and the APIs of the systems that it stands in for.",
        },
        "servers": [{"url": "/"}],
        "tags": apis.iter().map(|api| json!({"name": api.name})).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": errors,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic", "description": "Access key and secret key"},
                "bearer": {"type": "http", "scheme": "bearer", "description": "A key in one string, a token, or a login's token"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A key in one string, or a token"},
            },
        },
    })
}

fn describe(api: &Api, operation: &Operation) -> Value {
    let Operation { method, path, summary, query, body, success, headers, errors, needs_credential } = operation;
    let mut answers = Map::new();
    let mut done = match success {
        204 => json!({"description": "Done; there is nothing to show"}),
        _ => json!({"description": "Done", "content": {"application/json": {"schema": {"type": "object"}}}}),
    };
    if let Some(done) = done.as_object_mut().filter(|_| !headers.is_empty()) {
        let header = |says: &str| json!({"description": says, "schema": {"type": "string"}});
        let headers: Map<String, Value> = headers.iter().map(|(name, says)| ((*name).to_owned(), header(says))).collect();
        done.insert("headers".to_owned(), headers.into());
    }
    answers.insert(success.to_string(), done);
    let error = json!({"$ref": format!("#/components/schemas/{}", schema_name(api))});
    for status in errors.iter().collect::<BTreeSet<_>>() {
        let answer = json!({"description": meaning(*status), "content": {"application/json": {"schema": error}}});
        answers.insert(status.to_string(), answer);
    }
    let parameters = query
        .iter()
        .map(|field| json!({"name": field.name, "in": "query", "required": field.required, "schema": field.schema}))
        .collect::<Vec<_>>();
    let carriers = api.carriers.iter().filter(|_| *needs_credential);
    let security: Value = carriers.map(|carrier| Value::Object(Map::from_iter([((*carrier).to_owned(), json!([]))]))).collect();
    let mut described = json!({
        "operationId": operation_id(method, path), "summary": summary, "tags": [api.name], "parameters": parameters,
        "responses": answers,
        "security": security,
    });
    if let (Some(described), Some(body)) = (described.as_object_mut(), body) {
        let schema = schema_of(&body.fields);
        let content: Map<String, Value> =
            body.types.iter().map(|media_type| ((*media_type).to_owned(), json!({"schema": schema}))).collect();
        described.insert("requestBody".to_owned(), json!({"required": body.required, "content": content}));
    }
    described
}

fn schema_of(fields: &[Field]) -> Value {
    let properties: Map<String, Value> = fields.iter().map(|field| (field.name.to_owned(), field.schema.clone())).collect();
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut schema = json!({"type": "object", "properties": properties});
    // An empty list is not allowed there.
    if let Some(schema) = schema.as_object_mut()
        && !required.is_empty()
    {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}

fn variables(path: &str) -> Vec<Value> {
    let names = path.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    names
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}))
        .collect()
}

fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method.to_ascii_lowercase(), |id, word| format!("{id}_{word}"))
}

fn schema_name(api: &Api) -> String {
    let words: String = api.name.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{words}Error")
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "What is asked cannot be read, or there are two different credentials",
        401 => "A valid credential, or the right password, is missing",
        403 => "The caller may not do that",
        404 => "There is no such thing that the caller may see",
        405 => "This cannot be done to it, or not in this state",
        408 => "The body did not arrive in time",
        409 => "It would contradict what is there",
        413 => "The body is too large",
        415 => "The body is not of a media type that is read here",
        422 => "A field or parameter has a value that cannot be taken",
        429 => "Too many wrong passwords; Retry-After says when to try again",
        500 => "There is no token to end",
        503 => "Not now; Retry-After may say when to try again",
        _ => "It was not done",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_variables_errors_and_bodies() {
        let operation = Operation {
            method: "PUT",
            path: "/things/{id}/parts/{part}".to_owned(),
            summary: "Puts a part".to_owned(),
            query: vec![Field::text("wait", false)],
            body: Some(Body { fields: vec![Field::text("name", true)], types: &["application/json"], required: true }),
            success: 204,
            headers: &[("x-part", "Which part")],
            errors: vec![404, 404, 503],
            needs_credential: false,
        };
        let secured = Operation { method: "DELETE", needs_credential: true, headers: &[], ..operation.clone() };
        let operations = vec![operation, secured];
        let api = Api { name: "Some 1.6", carriers: &["bearer", "apiKey"], error: json!({"type": "object"}), operations };
        let page = page(&[api]);
        let path = &page["paths"]["/things/{id}/parts/{part}"];
        assert_eq!([&path["parameters"][0]["name"], &path["parameters"][1]["name"]], ["id", "part"]);
        let put = &path["put"];
        assert_eq!((&put["operationId"], &put["security"]), (&json!("put_things_id_parts_part"), &json!([])));
        assert_eq!(path["delete"]["security"], json!([{"bearer": []}, {"apiKey": []}]));
        assert_eq!(put["responses"]["204"]["headers"]["x-part"]["description"], "Which part");
        assert!(path["delete"]["responses"]["204"].get("headers").is_none());
        assert_eq!(put["requestBody"]["content"]["application/json"]["schema"]["required"], json!(["name"]));
        assert_eq!(put["responses"].as_object().unwrap().keys().collect::<Vec<_>>(), ["204", "404", "503"]);
        let error = &put["responses"]["404"]["content"]["application/json"]["schema"]["$ref"];
        assert_eq!(error, "#/components/schemas/Some16Error");
        assert!(page["components"]["schemas"]["Some16Error"].is_object());
    }
}
