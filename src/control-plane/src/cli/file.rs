//! Files that are named on the command line. It never opens one.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};

/// Reads the name of a file that is made, replaced or kept. What others take for standard output or input would become a file of that
/// name, and nobody would look for it there.
pub(crate) fn file_argument() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|file| {
        if file.as_os_str() == "-" {
            return Err("takes a file, not standard output or input: name one (./- for one that is called -)");
        }
        if file.as_os_str().as_bytes().ends_with(b"/") {
            return Err("takes a file, and this is the name of a folder: name a file in it");
        }
        Ok(file)
    })
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    #[test]
    fn standard_output_is_no_file() {
        let read =
            |text: &str| Command::new("x").arg(Arg::new("file").value_parser(file_argument())).try_get_matches_from(["x", text]);
        assert!(read("-").unwrap_err().to_string().contains("./-"));
        assert!(read("backups/").unwrap_err().to_string().contains("a file in it"));
        assert_eq!(read("./-").unwrap().get_one::<PathBuf>("file"), Some(&PathBuf::from("./-")));
    }
}
