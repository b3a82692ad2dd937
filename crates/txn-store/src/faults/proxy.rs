//! A TCP proxy between a store and its server, that hurts the connections that pass through it. It knows nothing of the protocol but byte strings to look for.

mod line;

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::strike::Strike;
use line::{Line, Side};

#[derive(Default)]
struct State {
    strike: Option<Strike>,
    is_held: bool,
    is_refusing: bool,
    is_over: bool,
    delay: Duration,
    open: Vec<(u64, TcpStream, TcpStream)>,
    trips: BTreeMap<u64, u64>,
}

struct Shared {
    server: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    connections: AtomicU64,
    strikes: AtomicU64,
    bytes: AtomicU64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while packets vanish. False when the proxy has ended.
    fn pass(&self) -> bool {
        let state = self.changed.wait_while(self.state(), |state| state.is_held && !state.is_over);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let (delay, is_over) = (state.delay, state.is_over);
        drop(state);
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        !is_over
    }
}

/// A proxy on a port of its own. Ends with the value, and all connections with it.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Proxy {
    /// Begins to forward to a server.
    ///
    /// # Errors
    /// What the system says when no port can be had.
    pub fn to(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server,
            state: Mutex::default(),
            changed: Condvar::new(),
            connections: AtomicU64::new(0),
            strikes: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::Builder::new().name("faults-proxy".into()).spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.state().is_over {
                    return;
                }
                accept(&accepting, client);
            }
        })?;
        Ok(Self { shared, address })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Strikes once; an earlier strike that has not fallen yet is forgotten.
    pub fn strike(&self, strike: Strike) {
        self.shared.state().strike = Some(strike);
    }

    /// Lets packets vanish, on connections that are there and on new ones, until [`Proxy::flow`].
    pub fn hold(&self) {
        self.shared.state().is_held = true;
    }

    /// Takes no connections, and ends those that are there, until [`Proxy::flow`].
    pub fn refuse(&self) {
        self.shared.state().is_refusing = true;
        self.cut();
    }

    /// Forwards again.
    pub fn flow(&self) {
        let mut state = self.shared.state();
        (state.is_held, state.is_refusing) = (false, false);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Ends all connections that are there; how many.
    pub fn cut(&self) -> usize {
        let open = std::mem::take(&mut self.shared.state().open);
        for (_, client, server) in &open {
            end(client, server);
        }
        open.len()
    }

    /// Makes every piece of either side wait this long.
    pub fn delay(&self, by: Duration) {
        self.shared.state().delay = by;
    }

    /// How many strikes have fallen.
    #[must_use]
    pub fn strikes(&self) -> u64 {
        self.shared.strikes.load(Ordering::SeqCst)
    }

    /// How many connections have been made.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How often the client of each connection, numbered from 0, has spoken after the server: its round trips.
    #[must_use]
    pub fn trips(&self) -> BTreeMap<u64, u64> {
        self.shared.state().trips.clone()
    }

    /// How many bytes have passed, both ways.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .field("strikes", &self.strikes())
            .finish_non_exhaustive()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_all();
        self.cut();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn end(client: &TcpStream, server: &TcpStream) {
    // One that has ended already cannot be ended.
    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
}

fn accept(shared: &Arc<Shared>, client: TcpStream) {
    if shared.state().is_refusing {
        return;
    }
    let number = shared.connections.fetch_add(1, Ordering::SeqCst);
    let connect = || -> io::Result<()> {
        let server = TcpStream::connect(shared.server)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let from = server.local_addr()?;
        let line = Arc::new(Line { shared: Arc::clone(shared), number, from, aim: Mutex::default() });
        shared.state().open.push((number, client.try_clone()?, server.try_clone()?));
        for (side, mut source, mut sink) in
            [(Side::Client, client.try_clone()?, server.try_clone()?), (Side::Server, server, client)]
        {
            let line = Arc::clone(&line);
            thread::Builder::new().name("faults-pump".into()).spawn(move || {
                // Whatever ended it, the other side is told.
                if !matches!(line.pump(side, &mut source, &mut sink), Ok(true)) {
                    end(&source, &sink);
                    line.shared.state().open.retain(|(number, ..)| *number != line.number);
                }
            })?;
        }
        Ok(())
    };
    // A server that cannot be reached is a connection that ends at once.
    let _ = connect();
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::faults::strike::{Fate, Place};

    /// A server that answers every piece with the same.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut buffer = [0; 64];
                    while let Ok(read @ 1..) = client.read(&mut buffer) {
                        client.write_all(&buffer[..read]).unwrap();
                    }
                });
            }
        });
        address
    }

    fn ask(client: &mut TcpStream, what: &[u8]) -> Vec<u8> {
        client.write_all(what).unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while answer.len() < what.len() && matches!(client.read(&mut byte), Ok(1)) {
            answer.extend(byte);
        }
        answer
    }

    #[test]
    fn a_strike_falls_once_and_where_it_was_aimed() {
        let proxy = Proxy::to(echo()).unwrap();
        let strike = |place| Strike { message: b"COMMIT".to_vec(), place, fate: Fate::Cut };
        for (place, echoed) in [
            (Place::Request(0), &b""[..]),
            (Place::Request(4), b"COMM"),
            (Place::Reply(2), b"CO"),
            (Place::Later(0), b""),
            (Place::Later(1), b"COMMIT"),
        ] {
            let before = proxy.strikes();
            proxy.strike(strike(place));
            let mut client = TcpStream::connect(proxy.address()).unwrap();
            assert_eq!(ask(&mut client, b"hello"), b"hello");
            let answer = ask(&mut client, b"COMMIT");
            // What was echoed may be lost with the connection.
            assert!(echoed.starts_with(&answer), "{place:?}: {answer:?}");
            assert_eq!(ask(&mut client, b"more"), b"", "{place:?}");
            assert_eq!(proxy.strikes(), before + 1, "{place:?}");
            let mut client = TcpStream::connect(proxy.address()).unwrap();
            assert_eq!(ask(&mut client, b"COMMIT"), b"COMMIT");
        }
    }
}
