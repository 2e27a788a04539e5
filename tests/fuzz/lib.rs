//! The bodies of the fuzz targets, compiled with a fuzzer's instruments. They are the harness's.

#[path = "../harness/hostile/mod.rs"]
pub mod hostile;
