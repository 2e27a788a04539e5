//! For tests alone, and only in a module that is built with the feature `traps`: a request's header makes VMs of the filter trap, at a
//! tick or in the middle of a write. The module that people run knows nothing of it.
//!
//! The header `x-keygate-test-trap` says who traps: `leader`, the worker that holds the lease, at its next tick; `all`, every VM that is
//! there by now, each at its next tick; `write:N`, whoever has written a bucket, N times; `off` ends what is left. Such a request is
//! answered with 200 at once.

use keygate_decision::Header;
use proxy_wasm::types::Action;

use crate::host::{self, Level};

/// Stands in for a minute.
pub(crate) const QUARANTINE_SECONDS: u64 = 4;

/// Another period for each VM. With one for all, the VM that comes in the place of a leader which died at its tick would tick first after
/// the lease, lead again, and so on for ever.
pub(crate) fn tick_ms() -> u32 {
    400 + host::random::<1>().map_or(0, |[byte]| u32::from(byte))
}

const HEADER: &[u8] = b"x-keygate-test-trap";
/// The command in force, beside the table's names; `all` with the moment of the monotonic clock when it came.
const NAME: &str = "kg-traps";

/// Takes a command from a request, and answers it.
pub(crate) fn take_command(headers: &[Header<'_>]) -> Option<host::Result<Action>> {
    let (_, command) = headers.iter().find(|(name, _)| *name == HEADER)?;
    Some(put_command(command).map(|()| Action::Pause))
}

fn put_command(command: &[u8]) -> host::Result<()> {
    let mut value = command.to_vec();
    if command == b"all" {
        value.extend_from_slice(format!(":{}", host::monotonic_ns()?).as_bytes());
    }
    host::replace_shared_data(NAME, &host::shared_data(NAME)?, &value)?;
    host::send_local_response(200, "keygate_test_trap", "{}", &[])
}

/// Traps if that was commanded for this VM, which is there since `born_ns` of the monotonic clock.
pub(crate) fn at_tick(born_ns: u64, leads: bool) {
    let Ok(shared) = host::shared_data(NAME) else { return };
    match std::str::from_utf8(&shared.value).unwrap_or_default().split_once(':') {
        None if shared.value == b"leader" && leads && host::replace_shared_data(NAME, &shared, b"off").is_ok() => {
            trap("the leader");
        }
        Some(("all", since)) if since.parse().is_ok_and(|since: u64| born_ns < since) => trap("one of all"),
        _ => {}
    }
}

/// Traps if that was commanded for the middle of a write.
pub(crate) fn in_write() {
    let Ok(shared) = host::shared_data(NAME) else { return };
    let Some(("write", left)) = std::str::from_utf8(&shared.value).unwrap_or_default().split_once(':') else { return };
    let left = left.parse().unwrap_or(0_u64).checked_sub(1);
    if let Some(left) = left
        && host::replace_shared_data(NAME, &shared, format!("write:{left}").as_bytes()).is_ok()
    {
        trap("a writer");
    }
}

fn trap(who: &str) {
    host::log(Level::Warn, &format!("keygate: trapping on command: {who}"));
    std::process::abort();
}
