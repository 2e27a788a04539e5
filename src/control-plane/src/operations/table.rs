//! What is done with the table as a whole: an admin takes it along, to an edge without a control plane.

use keygate_decision::{Digest, Grant};
use keygate_wire::embedded::MAX_EMBEDDED_KEYS;

use super::{Missing, Refusal, require};
use crate::permission::{Action, Caller};
use crate::store::{Connection, compile, history};

/// The table, with the revision that it is of.
pub(crate) async fn export(connection: &mut Connection, caller: &Caller) -> Result<(u64, Vec<(Digest, Grant)>), Refusal> {
    require(caller, Action::ExportTable, || Missing::proxy("here"))?;
    let keys = compile::count(connection).await?;
    if keys > MAX_EMBEDDED_KEYS as u64 {
        let message = format!(
            "the table holds {keys} keys, and a filter's configuration carries {MAX_EMBEDDED_KEYS} at most: connect the edge to this \
             control plane instead"
        );
        return Err(Refusal::conflict("table_too_large", None, message));
    }
    Ok(history::table_at_revision(connection).await?)
}
