//! Where files are written: a real disk.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// A folder on a disk, and the file system it is on.
pub(crate) struct Medium {
    pub(crate) folder: PathBuf,
    pub(crate) name: String,
}

/// The folder asked for, or else the first of the temporary and the current one that is on a disk.
pub(crate) fn folder(asked: Option<PathBuf>) -> Result<Medium, String> {
    let candidates = asked.map_or_else(|| vec![env::temp_dir(), PathBuf::from(".")], |folder| vec![folder]);
    let mut refused = String::new();
    for folder in candidates {
        let folder = fs::canonicalize(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        if !folder.is_dir() {
            return Err(format!("{} is not a folder", folder.display()));
        }
        let name = file_system(&folder);
        if !matches!(name.as_str(), "tmpfs" | "ramfs") {
            return Ok(Medium { folder, name });
        }
        refused = format!(
            "{} is in memory ({name}), where a flush costs nothing; choose another with --dir",
            folder.display()
        );
    }
    Err(refused)
}

/// The type of the file system, as Linux tells it; elsewhere it is not known.
fn file_system(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.nth(1)?, words.next()?))
    });
    let at = mounts.filter(|(mount, _)| folder.starts_with(mount)).max_by_key(|(mount, _)| mount.len());
    at.map_or("unknown file system", |(_, name)| name).into()
}
