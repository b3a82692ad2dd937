//! The way to a server, on which answers to a COMMIT are lost.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// Of so many answers that are lost, the server hears one COMMIT.
const HEARD: u64 = 2;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// COMMITs that were seen, and answers that were lost.
    commits: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

impl Proxy {
    /// Loses every so manyth COMMIT: in turn before and after the server has heard it.
    pub(crate) fn start(server: SocketAddr, every: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), commits: Arc::default(), lost: Arc::default() };
        let (commits, lost) = (Arc::clone(&proxy.commits), Arc::clone(&proxy.lost));
        // It ends with the process.
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok((client, server)) = client.and_then(|client| Ok((client, TcpStream::connect(server)?))) else {
                    continue;
                };
                let (commits, lost) = (Arc::clone(&commits), Arc::clone(&lost));
                let (to, from) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || answer(server, client));
                thread::spawn(move || ask(from, to, &commits, &lost, every));
            }
        });
        proxy
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::SeqCst)
    }
}

fn answer(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

fn ask(mut from: TcpStream, mut to: TcpStream, commits: &AtomicU64, lost: &AtomicU64, every: u64) {
    let mut bytes = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let asked = &bytes[..count];
        let is_commit = asked.windows(6).any(|word| word == b"COMMIT");
        let nth = if is_commit { commits.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
        if is_commit && nth.is_multiple_of(every) {
            lost.fetch_add(1, Ordering::SeqCst);
            let _ = from.shutdown(Shutdown::Both);
            if (nth / every).is_multiple_of(HEARD) {
                let _ = to.write_all(asked);
                thread::sleep(Duration::from_millis(5));
            }
            break;
        }
        if to.write_all(asked).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
