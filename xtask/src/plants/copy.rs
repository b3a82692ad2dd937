//! A copy of the tree as a commit of everything in it would be: tracked and new files, nothing ignored.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

/// Stands outside every repository and disappears with the value.
///
/// Files get the time of copying, never their own: a build left over from an earlier planted copy must look old.
pub(super) struct Copy {
    root: PathBuf,
}

impl Copy {
    pub(super) fn of(tree: &Path) -> Result<Self, String> {
        static COPIES: AtomicU32 = AtomicU32::new(0);
        let number = COPIES.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("txn-plants-{}-{number}", process::id()));
        let copy = Self { root };
        for file in files(tree)? {
            let (from, to) = (tree.join(&file), copy.root.join(&file));
            let folder = to.parent().unwrap_or(&copy.root);
            let copied = fs::create_dir_all(folder).and_then(|()| fs::copy(&from, &to));
            copied.map_err(|error| format!("copying {file}: {error}"))?;
        }
        Ok(copy)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the patch applied; if not, nothing changed and `log` says why.
    pub(super) fn apply(&self, patch: &Path, log: &Path) -> Result<bool, String> {
        self.git_apply(&[], patch, log)
    }

    pub(super) fn revert(&self, patch: &Path, log: &Path) -> Result<(), String> {
        match self.git_apply(&["--reverse"], patch, log)? {
            true => Ok(()),
            false => Err(format!("{} cannot be taken back; see {}", patch.display(), log.display())),
        }
    }

    fn git_apply(&self, flags: &[&str], patch: &Path, log: &Path) -> Result<bool, String> {
        let mut git = Command::new("git");
        git.arg("apply").arg("--whitespace=nowarn").args(flags).arg(patch).current_dir(&self.root);
        // Inside a repository `git apply` skips files in silence; a hook of git's names its own repository.
        git.env("GIT_CEILING_DIRECTORIES", self.root.parent().unwrap_or(&self.root));
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
            git.env_remove(variable);
        }
        let output = git.output().map_err(|error| format!("git does not start: {error}"))?;
        let mut log = OpenOptions::new().append(true).create(true).open(log).map_err(|error| error.to_string())?;
        log.write_all(&output.stderr).map_err(|error| error.to_string())?;
        Ok(output.status.success())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // A copy that stays behind is litter in the temporary folder, not a failure.
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn files(tree: &Path) -> Result<Vec<String>, String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]).current_dir(tree);
    let output = git.output().map_err(|error| format!("git does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let listed = String::from_utf8(output.stdout).map_err(|_| "a file name is not UTF-8".to_owned())?;
    // A tracked file may have been deleted in the work tree.
    let there = listed.split('\0').filter(|file| !file.is_empty() && tree.join(file).is_file());
    Ok(there.map(str::to_owned).collect())
}
