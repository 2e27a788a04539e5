//! What is kept: data that outlives kills, full disks and mistakes, and the way back to an older state.

// Asking the control plane's API directly, for what happens while it is killed, stopped or out of space.
mod client;

// Killed in the middle of many changes: what was reported done holds, nothing half-exists.
mod killed;

// Backup and restore: the edge follows the state that was put back; a restore that is killed leaves the old state or the new.
mod restored;

// A disk that fills up under load, and has room again.
mod full;

// What `serve` refuses to start with, and says.
mod refused;

// SIGTERM under load.
mod stopped;

// How many files it may open.
mod files;

// The port for those who watch.
mod watched;
