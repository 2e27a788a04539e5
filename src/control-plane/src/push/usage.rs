//! Reports of use, taken in: who reports must prove a name as whoever opens a stream does. What becomes of a report is not known here.

use std::sync::Arc;
use std::time::Duration;

use keygate_decision::KeyId;
use keygate_wire::config::is_name;
use keygate_wire::usage::{MAX_KEYS, UsageNoted, UsageReport};
use tonic::Status;

use super::guest::Visitor;
use super::identity::identify;
use super::stream::shorten;
use super::{Proof, Shared, TABLE};

/// Takes which keys have passed, and how long ago each did; false if there is no room for more at the moment.
pub(crate) type UsageSink = Arc<dyn Fn(Vec<(KeyId, Duration)>) -> bool + Send + Sync>;

/// Takes a report in.
///
/// # Errors
/// As for a Hello, INVALID_ARGUMENT for a report that nobody sends who is in order, and RESOURCE_EXHAUSTED if it has to come again.
pub(super) async fn take(shared: &Shared, visitor: &Visitor, proof: Proof, report: UsageReport) -> Result<UsageNoted, Status> {
    let name = shorten(&report.proxy);
    take_in(shared, visitor, proof, report).await.inspect_err(|status| {
        shared.traffic.usage_reports_refused.inc();
        tracing::debug!(proxy = name, "a report of use was refused: {}", status.message());
    })
}

async fn take_in(shared: &Shared, visitor: &Visitor, proof: Proof, report: UsageReport) -> Result<UsageNoted, Status> {
    if !is_name(&report.proxy) || report.table != TABLE {
        return Err(Status::invalid_argument("the report's proxy or table is none that could have a stream here"));
    }
    identify(shared, &visitor.peer, proof, &report.proxy, &report.token).await?;
    visitor.admit();
    let uses = report.uses().ok_or_else(|| {
        Status::invalid_argument(format!("a report tells an age for each of its keys, of which there are at most {MAX_KEYS}"))
    })?;
    if !(shared.usage)(uses) {
        return Err(Status::resource_exhausted("more use is reported than can be stored, report it later"));
    }
    shared.traffic.usage_reports.inc();
    Ok(UsageNoted {})
}
