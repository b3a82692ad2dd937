//! A process that may be killed at any moment: one test of the program that runs, in a process of its own.

use std::{
    env,
    fs::File,
    io,
    process::{Child, Command, Stdio},
};

/// A process. It does not outlive the value, nor the process that started it: its input ends then, and it must end with that.
#[derive(Debug)]
pub struct Mortal(Child);

impl Mortal {
    /// Runs this test of this very program, which knows by the variable, and by its value, that it is to live and die. What it complains of goes to `errors`.
    ///
    /// # Errors
    /// No process can be started.
    pub fn start(test: &str, variable: &str, value: &str, errors: File) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(variable, value);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(errors).spawn().map(Self)
    }

    /// Whether it has ended, killed or by itself.
    ///
    /// # Errors
    /// Those of [`Child::try_wait`].
    pub fn has_ended(&mut self) -> io::Result<bool> {
        self.0.try_wait().map(|status| status.is_some())
    }

    /// Kills it (`kill -9`), and waits until it is gone.
    ///
    /// # Errors
    /// Those of [`Child::kill`] and [`Child::wait`].
    pub fn die(&mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.die();
    }
}
