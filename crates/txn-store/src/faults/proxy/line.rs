//! One connection through the proxy: its bytes, and where in them a strike falls.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use super::{
    super::strike::{Fate, Place, Strike},
    Shared,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What is known of where a strike is to fall on one connection.
#[derive(Default)]
pub(super) struct Aim {
    /// Bytes of the message that have been seen.
    matched: usize,
    /// The strike, once its message was seen here.
    strike: Option<Strike>,
    /// Messages of the client since.
    later: usize,
    /// Bytes of the server since.
    replied: usize,
    /// Whether the server spoke last.
    is_answered: bool,
    is_hung: bool,
}

pub(super) struct Line {
    pub(super) shared: Arc<Shared>,
    pub(super) number: u64,
    pub(super) from: SocketAddr,
    pub(super) aim: Mutex<Aim>,
}

impl Line {
    fn aim(&self) -> MutexGuard<'_, Aim> {
        self.aim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forwards until the connection ends. True when it was struck to hang, so that it stays.
    pub(super) fn pump(&self, side: Side, source: &mut TcpStream, sink: &mut TcpStream) -> io::Result<bool> {
        let mut buffer = vec![0; 16_384];
        loop {
            let read = source.read(&mut buffer)?;
            let piece = buffer.get(..read).unwrap_or_default();
            if read == 0 || !self.shared.pass() {
                return Ok(self.aim().is_hung);
            }
            if self.aim().is_hung {
                continue;
            }
            let struck = match side {
                Side::Client => self.request(piece),
                Side::Server => self.reply(piece),
            };
            let Some((behind, fate)) = struck else {
                sink.write_all(piece)?;
                self.shared.bytes.fetch_add(read as u64, Ordering::SeqCst);
                continue;
            };
            let (before, after) = piece.split_at(behind.min(read));
            sink.write_all(before)?;
            self.shared.strikes.fetch_add(1, Ordering::SeqCst);
            match fate {
                Fate::Cut => return Ok(false),
                Fate::Hang => self.aim().is_hung = true,
                Fate::Call(call) => {
                    call(self.from);
                    sink.write_all(after)?;
                }
            }
        }
    }

    /// Looks at a piece of the client's stream: behind how many of its bytes the strike falls, if it falls here.
    fn request(&self, piece: &[u8]) -> Option<(usize, Fate)> {
        let mut aim = self.aim();
        let is_next = std::mem::take(&mut aim.is_answered);
        if is_next {
            let mut state = self.shared.state();
            let trips = state.trips.entry(self.number).or_default();
            *trips = trips.saturating_add(1);
        }
        if aim.strike.is_some() {
            if is_next {
                aim.later = aim.later.saturating_add(1);
            }
            return aim.take_if(|aim, place| (place == Place::Later(aim.later)).then_some(0));
        }
        let mut state = self.shared.state();
        let message = state.strike.as_ref()?.message.clone();
        let found = find(&message, &mut aim.matched, piece)?;
        aim.strike = state.strike.take();
        drop(state);
        (aim.later, aim.replied, aim.is_answered, aim.matched) = (0, 0, false, 0);
        // Where a message came in two pieces, what came before is gone already.
        let begin = found.saturating_sub(message.len());
        aim.take_if(|_, place| match place {
            Place::Request(behind) => Some(begin.saturating_add(behind)),
            Place::Later(0) => Some(begin),
            Place::Reply(_) | Place::Later(_) => None,
        })
    }

    /// Looks at a piece of the server's stream.
    fn reply(&self, piece: &[u8]) -> Option<(usize, Fate)> {
        let mut aim = self.aim();
        aim.is_answered = true;
        let before = aim.replied;
        aim.replied = before.saturating_add(piece.len());
        aim.take_if(|aim, place| match place {
            Place::Reply(behind) if behind < aim.replied => Some(behind.saturating_sub(before)),
            _ => None,
        })
    }
}

impl Aim {
    fn take_if(&mut self, falls: impl FnOnce(&Self, Place) -> Option<usize>) -> Option<(usize, Fate)> {
        let place = self.strike.as_ref()?.place;
        let behind = falls(self, place)?;
        self.strike.take().map(|strike| (behind, strike.fate))
    }
}

/// Where in a piece the message ends, if it does; `matched` carries over what came of it in the piece before.
fn find(message: &[u8], matched: &mut usize, piece: &[u8]) -> Option<usize> {
    for (at, byte) in piece.iter().enumerate() {
        // The messages that are looked for begin with a byte that does not come again in them.
        *matched = match message.get(*matched) {
            Some(expected) if expected == byte => matched.saturating_add(1),
            _ => usize::from(message.first() == Some(byte)),
        };
        if *matched == message.len() {
            return Some(at.saturating_add(1));
        }
    }
    None
}
