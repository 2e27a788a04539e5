//! Lists of which a part is asked for: which parameters are filters, and where another page is. What a modifier means is each dialect's own.

use serde_json::{Map, Value, json};

/// The filters of a query, in its order.
#[derive(Debug)]
pub(crate) struct Filters<'q>(Vec<Filter<'q>>);

#[derive(Debug)]
struct Filter<'q> {
    field: &'q str,
    modifier: &'q str,
    wanted: &'q str,
}

/// More than people ask for: each takes its time for each thing.
const MOST_FILTERS: usize = 16;

impl<'q> Filters<'q> {
    /// Those parameters that are `name` or `name_ne`, of a field that the things have; `is_known` says which those are.
    ///
    /// # Errors
    /// What is wrong with a list of so many.
    pub(crate) fn of(
        query: impl IntoIterator<Item = &'q (String, String)>,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<Self, &'static str> {
        let filter = |(name, wanted): &'q (String, String)| {
            let (field, modifier) = match name.rsplit_once('_') {
                _ if is_known(name) => (name.as_str(), "eq"),
                Some((field, modifier)) if is_known(field) => (field, modifier),
                _ => return None,
            };
            Some(Filter { field, modifier, wanted })
        };
        let filters: Vec<Filter<'q>> = query.into_iter().filter_map(filter).collect();
        if filters.len() > MOST_FILTERS {
            return Err("must not be filtered by more than 16 parameters at once");
        }
        Ok(Self(filters))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a thing is asked for; `passes` says whether a value does, by a modifier and what is wanted.
    pub(crate) fn take(&self, thing: &Value, passes: fn(&Value, &str, &str) -> bool) -> bool {
        let value = |field: &str| thing.get(field).unwrap_or(&Value::Null);
        self.0.iter().all(|filter| passes(value(filter.field), filter.modifier, filter.wanted))
    }

    /// As a list shows them.
    pub(crate) fn shown(&self) -> Value {
        let mut shown = Map::new();
        for Filter { field, modifier, wanted } in &self.0 {
            let said: &mut Value = shown.entry(*field).or_insert_with(|| json!([]));
            if let Some(said) = said.as_array_mut() {
                said.push(json!({"modifier": modifier, "value": wanted}));
            }
        }
        shown.into()
    }
}

/// A value as filters compare it; null has no text.
pub(crate) fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The URL of another page of the same list.
pub(crate) fn page_url(url: &str, query: &[(String, String)], limit: usize, marker: &str) -> String {
    let mut other = form_urlencoded::Serializer::new(String::new());
    other.extend_pairs(query.iter().filter(|(name, _)| name != "marker" && name != "limit"));
    other.append_pair("limit", &limit.to_string()).append_pair("marker", marker);
    format!("{url}?{}", other.finish())
}
