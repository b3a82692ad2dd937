//! Which account a server runs as: our own, or an unprivileged one when we are root.
//!
//! PostgreSQL refuses to run as root, and no server needs to.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// A user and its group, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// None says that we stay who we are. As root it is the first of `names` that this machine has.
    pub(super) fn unprivileged(names: &[&str]) -> Result<Option<Self>, String> {
        if !is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
        match names.iter().find_map(|name| Self::named(&users, name)) {
            Some(account) => Ok(Some(account)),
            None => Err(format!("a server does not run as root, and there is no user {}", names.join(" or "))),
        }
    }

    /// `users` has the format of passwd(5): name, password, uid, gid and more, between colons.
    fn named(users: &str, name: &str) -> Option<Self> {
        let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        fields.into_iter().find_map(|fields| match fields.as_slice() {
            [user, _, uid, gid, ..] if *user == name => Some(Self { uid: uid.parse().ok()?, gid: gid.parse().ok()? }),
            _ => None,
        })
    }

    /// Makes a program run as this account, without the groups of ours.
    #[cfg(unix)]
    pub(super) fn assume(self, command: &mut Command) {
        use std::os::unix::process::CommandExt;
        command.uid(self.uid).gid(self.gid);
    }

    #[cfg(not(unix))]
    pub(super) fn assume(self, _: &mut Command) {}

    /// Makes a file this account's own.
    #[cfg(unix)]
    pub(super) fn own(self, path: &Path) -> io::Result<()> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
    }

    #[cfg(not(unix))]
    pub(super) fn own(self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Asked of `id`, since the standard library does not say.
pub(super) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::Account;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users =
            "root:x:0:0:root:/root:/bin/bash\npostgresql:x:7:7::/:/bin/sh\nbroken\npostgres:x:104:107:,,,:/:/bin/sh\n";
        assert_eq!(Account::named(users, "postgres"), Some(Account { uid: 104, gid: 107 }));
        assert_eq!(Account::named(users, "nobody"), None);
    }
}
