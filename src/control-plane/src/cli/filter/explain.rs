//! `keygate filter explain`: one request, made of the command's arguments as Envoy would hand it to the filter, and its verdict.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use keygate_decision::{Carrier, Header, Policy, Reason};
use keygate_wire::{FilterConfig, Source};

use super::super::client::{Client, Reference};
use super::super::connection::ConnectionArgs;
use super::super::failure::Failure;
use super::super::output::{self, OutputFormat};
use super::grant;
use super::report::Report;
use super::verdict::Verdict;
use crate::clock::Clock;

/// What to explain.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The filter's JSON, as for check
    pub(super) file: PathBuf,
    /// The method, such as GET
    pub(super) method: String,
    /// The path with its query, as the client sends it; empty for a CONNECT, which has none
    pub(super) path: String,
    /// A header, as often as needed; a credential in it is read, and never shown
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(super) headers: Vec<String>,
    /// Decide as if the request came with this key (its id); asks the control plane for its grant, unless the file carries the table
    #[arg(long = "as", value_name = "KEY_ID")]
    pub(super) key: Option<Reference>,
    /// List the rules that do not match, too
    #[arg(long)]
    pub(super) all: bool,
}

/// Explains a request.
pub(super) async fn run(
    config: &FilterConfig,
    args: &ExplainArgs,
    connection: &ConnectionArgs,
    output: OutputFormat,
) -> Result<(), Failure> {
    let key = match (&args.key, &config.source) {
        (None, _) => None,
        (Some(id), Source::Embedded { table, .. }) => Some(grant::embedded(table, id)),
        (Some(id), Source::ControlPlane(_)) => Some(grant::fetch(&Client::new(connection)?, id).await?),
    };
    let headers = request(&config.policy, args)?;
    let headers: Vec<Header<'_>> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let explanation = config.policy.explain(&headers);
    let verdict = Verdict::find(config, &headers, &explanation, key.as_ref(), Clock::system().now());
    let report = Report { config, headers: &headers, explanation: &explanation, verdict: &verdict, key: key.as_ref() };
    Ok(output::print_report(&report.json(), || report.text(args.all), output)?)
}

/// The request's header map. With a key to decide as, and no credential in the headers, one that stands for the key's is added.
///
/// # Errors
/// [`Failure::Usage`] for what is no header. It is not repeated, because it may be a credential.
pub(super) fn request(policy: &Policy, args: &ExplainArgs) -> Result<Vec<(String, String)>, Failure> {
    let mut headers = vec![(":method".to_owned(), args.method.clone())];
    if !args.path.is_empty() {
        headers.push((":path".to_owned(), args.path.clone()));
    }
    for line in &args.headers {
        let (name, value) = parse_header(line).map_err(|problem| Failure::Usage(format!("-H: {problem}")))?;
        match headers.iter_mut().find(|(own, _)| *own == name && name == "authorization") {
            // Envoy hands a repeated one over as one.
            Some((_, joined)) => *joined = format!("{joined},{value}"),
            None => headers.push((name, value)),
        }
    }
    let read = policy.read(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    if args.key.is_some() && read.credentials.digest() == Err(Reason::NoCredential) {
        stand_in(policy, &mut headers);
    }
    Ok(headers)
}

/// Presents some credential in the first carrier; by a special user only where there is no other.
fn stand_in(policy: &Policy, headers: &mut Vec<(String, String)>) {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let used = &policy.carriers.used;
    match used.iter().find(|carrier| !matches!(carrier, Carrier::BasicToken(_))).or(used.first()) {
        Some(Carrier::BasicToken(user)) => {
            headers.push(header("authorization", &format!("Basic {}", STANDARD.encode(format!("{user}:stand-in")))));
        }
        Some(Carrier::Basic) => headers.push(header("authorization", "Basic c3RhbmQ6aW4=")),
        Some(Carrier::Bearer) => headers.push(header("authorization", "Bearer stand-in")),
        Some(Carrier::Bare) => headers.push(header("authorization", "stand-in")),
        Some(Carrier::Header(name)) => headers.push(header(name, "stand-in")),
        Some(Carrier::Cookie(name)) => headers.push(header("cookie", &format!("{name}=stand-in"))),
        Some(Carrier::Query(name)) => {
            for (_, path) in headers.iter_mut().filter(|(name, _)| name == ":path") {
                let separator = if path.contains('?') { '&' } else { '?' };
                path.push_str(&format!("{separator}{name}=stand-in"));
            }
        }
        // A start alone carries nothing.
        Some(Carrier::Headers(_)) | None => {}
    }
}

fn parse_header(line: &str) -> Result<(String, String), &'static str> {
    let (colon, rest) = if line.starts_with(':') { line.split_at(1) } else { line.split_at(0) };
    let (name, value) = rest.split_once(':').ok_or("a header is NAME: VALUE")?;
    let name = format!("{colon}{}", name.to_ascii_lowercase());
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match name.as_str() {
        ":method" | ":path" => Err("method and path are arguments of their own"),
        // What clients call `Host`, Envoy calls `:authority`.
        "host" => Ok((":authority".to_owned(), value.trim().to_owned())),
        _ if name.len() > colon.len() && name.bytes().skip(colon.len()).all(is_token) => Ok((name, value.trim().to_owned())),
        _ => Err("what stands before the colon is no header's name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_names_and_values() {
        let parsed = |line: &str| parse_header(line).map(|(name, value)| format!("{name}|{value}"));
        assert_eq!(parsed("X-API-Key: a:b "), Ok("x-api-key|a:b".to_owned()));
        assert_eq!(parsed("Host: edge:443"), Ok(":authority|edge:443".to_owned()));
        assert_eq!(parsed(":protocol: websocket"), Ok(":protocol|websocket".to_owned()));
        assert_eq!(parsed("x_api_key:"), Ok("x_api_key|".to_owned()));
        for line in ["", "x", ": x", ":path: /", ":method: GET", "a b: c"] {
            assert!(parse_header(line).is_err(), "{line}");
        }
    }
}
