//! A blow to a connection: where it falls, and what happens there.

use std::{fmt, net::SocketAddr};

/// Where on a connection a strike falls: counted from a message of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Behind so many bytes of the message.
    Request(usize),
    /// Behind so many bytes of what the server says to it.
    Reply(usize),
    /// Before the so-manieth message behind it: 1 is the next one, 0 the message itself.
    Later(usize),
}

/// What happens there.
pub enum Fate {
    /// Both sides are told that the connection is gone.
    Cut,
    /// The connection stays, and nothing passes any more.
    Hang,
    /// Somebody is called, with the address from which the server sees the connection; then all goes on.
    Call(Box<dyn FnOnce(SocketAddr) + Send>),
}

impl fmt::Debug for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "Cut",
            Self::Hang => "Hang",
            Self::Call(_) => "Call",
        })
    }
}

/// One blow, to the first connection whose client sends `message`.
#[derive(Debug)]
pub struct Strike {
    /// What to look for.
    pub message: Vec<u8>,
    /// Where.
    pub place: Place,
    /// What.
    pub fate: Fate,
}

impl Strike {
    /// A strike at PostgreSQL's `COMMIT`, as a simple query: 12 bytes.
    #[must_use]
    pub fn at_commit(place: Place, fate: Fate) -> Self {
        Self { message: b"Q\0\0\0\x0bCOMMIT\0".to_vec(), place, fate }
    }

    /// A strike counted from PostgreSQL's `BEGIN`.
    #[must_use]
    pub fn from_begin(place: Place, fate: Fate) -> Self {
        Self { message: b"Q\0\0\0\x0aBEGIN\0".to_vec(), place, fate }
    }
}
