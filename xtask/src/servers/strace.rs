//! The program with which the fault tests make system calls fail.

use super::binaries::Binaries;

/// Finds it, or installs it where we may.
pub(crate) fn find() -> Result<(), String> {
    let strace = Binaries {
        server: "strace",
        variable: "TXN_STRACE_BIN",
        programs: &["strace"],
        folders: Vec::new(),
        package: "strace",
        before: None,
    };
    strace.find_or_install().map(drop)
}
