//! `/takeover`: accounts and tokens of another system. It takes digests alone: a secret has no place in it.

use axum::extract::State;
use axum::response::Response;
use keygate_decision::Digest;
use serde_json::{Map, Value, json};

use super::input::Body;
use super::{App, Error, reply};
use crate::model::Kind;
use crate::name::{AccountName, Label, Name};
use crate::operations::takeover::{Newcomer, Taken, Token, take_over};
use crate::permission::Caller;

/// Where it is; a body may be larger here than elsewhere.
pub(super) const PATH: &str = "/keygate/v1/takeover";

/// POST /takeover
pub(super) async fn create(State(app): State<App>, caller: Caller, body: Body) -> Result<Response, Error> {
    let newcomers = body.read(|fields| fields.required("accounts", |value| each(value, "", newcomer)))?;
    let written = app.change(caller, async move |change, caller| take_over(change, caller, newcomers).await).await?;
    Ok(reply::created(&written, |taken| json!({"accounts": taken.iter().map(view).collect::<Vec<_>>()})))
}

/// The items of a list; whatever is wrong is told with where it stands, such as `[3].tokens[0].digest`.
fn each<T>(value: &Value, at: &str, parse: fn(&mut Item<'_>) -> Result<T, String>) -> Result<Vec<T>, String> {
    let items = value.as_array().ok_or_else(|| format!("{at} must be a list"))?;
    let parse = |(index, value): (usize, &Value)| {
        let at = format!("{at}[{index}]");
        let fields = value.as_object().cloned().ok_or_else(|| format!("{at} must be an object"))?;
        let mut item = Item { at: &at, fields };
        let parsed = parse(&mut item)?;
        match item.fields.keys().next() {
            Some(unknown) => Err(format!("{at}.{unknown} is unknown")),
            None => Ok(parsed),
        }
    };
    items.iter().enumerate().map(parse).collect()
}

/// An object of a list, and where it stands.
struct Item<'a> {
    at: &'a str,
    fields: Map<String, Value>,
}

impl Item<'_> {
    fn take<T>(&mut self, field: &str, parse: impl FnOnce(&Value) -> Result<T, String>) -> Result<T, String> {
        let value = self.fields.remove(field).unwrap_or_default();
        parse(&value).map_err(|why| format!("{}.{field} {why}", self.at))
    }

    fn text<T>(&mut self, field: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, String> {
        self.take(field, |value| value.as_str().ok_or_else(|| "must be a string".to_owned()).and_then(parse))
    }
}

fn newcomer(item: &mut Item<'_>) -> Result<Newcomer, String> {
    let tokens_at = format!("{}.tokens", item.at);
    Ok(Newcomer {
        name: item.text("name", AccountName::parse)?,
        kind: item.text("kind", Kind::parse)?,
        existing: item.take("existing", |value| match value {
            Value::Null => Ok(false),
            value => value.as_bool().ok_or_else(|| "must be true or false".to_owned()),
        })?,
        tokens: each(&item.fields.remove("tokens").unwrap_or_default(), &tokens_at, token)?,
    })
}

fn token(item: &mut Item<'_>) -> Result<Token, String> {
    Ok(Token {
        name: item.text("name", Name::parse)?,
        label: item.text("prefix", Label::parse)?,
        digest: item.text("digest", parse_digest)?,
    })
}

fn parse_digest(text: &str) -> Result<Digest, String> {
    let mut bytes = [0; 32];
    let parsed = hex::decode_to_slice(text, &mut bytes).map(|()| Digest::from_bytes(bytes));
    parsed.map_err(|_| "must be a SHA-256 in 64 hexadecimal digits".to_owned())
}

fn view(taken: &Taken) -> Value {
    let Taken { account, made, tokens, known, deleted } = taken;
    json!({
        "id": account.id.0.to_string(), "account": account.name.as_str(), "kind": account.kind.as_str(), "made": made,
        "tokens": tokens, "known": known, "deleted": deleted,
    })
}
