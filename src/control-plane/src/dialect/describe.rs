//! What `/openapi.json` says of bodies that a table of fields describes.

use serde_json::json;

use super::field::{Field, Write};
use crate::openapi;

/// The body that writes these fields, where something is made or edited.
pub(crate) fn described_body<'f>(
    fields: impl IntoIterator<Item = &'f Field>,
    creates: bool,
    types: &'static [&'static str],
) -> openapi::Body {
    let may = |field: &&Field| field.write == Write::Always || (creates && field.write != Write::Never);
    let fields: Vec<openapi::Field> = fields.into_iter().filter(may).map(|field| describe(field, creates)).collect();
    openapi::Body { required: creates && fields.iter().any(|field| field.required), fields, types }
}

fn describe(field: &Field, creates: bool) -> openapi::Field {
    let schema = match field.kind {
        "boolean" => json!({"type": "boolean", "nullable": true}),
        "int" => json!({"type": "integer", "minimum": 0, "nullable": true}),
        kind if kind.starts_with("array[") => json!({"type": "array", "items": {"type": "object"}, "nullable": true}),
        _ => json!({"type": "string", "nullable": true}),
    };
    openapi::Field { name: field.name, schema, required: field.required && creates }
}
