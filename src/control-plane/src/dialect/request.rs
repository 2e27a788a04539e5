//! Bodies and queries, as leniently as the dialects read them, and within bounds. What is wrong is said in words that name no status.

use serde_json::{Map, Value};

/// Longest query, in bytes, and the most parameters in it: each may be a filter that every thing of a list goes through.
const LONGEST_QUERY: usize = 8 * 1024;
const MOST_PARAMETERS: usize = 64;

/// The query, if it is within bounds; those are the error.
pub(crate) fn short_query(query: &str) -> Result<&str, String> {
    if query.len() > LONGEST_QUERY || query.split('&').count() > MOST_PARAMETERS {
        return Err(format!("the query may have {MOST_PARAMETERS} parameters and {LONGEST_QUERY} bytes"));
    }
    Ok(query)
}

/// The fields of a JSON body, whatever its media type says; an empty body has none.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice::<Value>(body) {
        _ if body.trim_ascii().is_empty() => Ok(Map::new()),
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("the body must be a JSON object".to_owned()),
        Err(error) => Err(format!("the body is not JSON: {error}")),
    }
}
