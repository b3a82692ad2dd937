//! Names and passwords that nobody guesses, from the system's source of randomness.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

/// A name in the system's temporary folder that nothing has yet.
pub(super) fn path(prefix: &str) -> Result<PathBuf, String> {
    Ok(std::env::temp_dir().join(format!("{prefix}-{}", hex(8)?)))
}

/// So many random bytes as twice as many hexadecimal digits.
pub(super) fn hex(bytes: usize) -> Result<String, String> {
    let mut buffer = vec![0; bytes];
    let filled = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut buffer));
    filled.map_err(|error| format!("/dev/urandom: {error}"))?;
    let mut text = String::new();
    for byte in buffer {
        write!(text, "{byte:02x}").map_err(|error| error.to_string())?;
    }
    Ok(text)
}
