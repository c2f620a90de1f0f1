//! The lines on stdout that tell scripts and tests where a process listens, and when it is ready.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// One part of a process, as its supervisor hears it. Clones speak for the same part.
#[derive(Clone)]
pub struct Announce {
    process: Arc<Process>,
    said_ready: Arc<AtomicBool>,
}

struct Process {
    out: Mutex<Box<dyn Write + Send>>,
    /// Parts that have not said that they are ready.
    unready: AtomicUsize,
    bound: watch::Sender<Vec<(String, SocketAddr)>>,
}

impl Announce {
    pub fn stdout() -> Announce {
        Announce::to(io::stdout())
    }

    pub fn to(out: impl Write + Send + 'static) -> Announce {
        let process = Process {
            out: Mutex::new(Box::new(out)),
            unready: AtomicUsize::new(1),
            bound: watch::Sender::new(Vec::new()),
        };
        Announce {
            process: Arc::new(process),
            said_ready: Arc::default(),
        }
    }

    /// A further part of the same process: `ready` is printed once every part has said so.
    pub fn part(&self) -> Announce {
        self.process.unready.fetch_add(1, Ordering::SeqCst);
        Announce {
            process: self.process.clone(),
            said_ready: Arc::default(),
        }
    }

    /// Prints `listening <kind> <address>`. To be called right after the bind, with the address that it gave.
    pub fn listening(&self, kind: &str, address: SocketAddr) {
        self.print(&format!("listening {kind} {address}\n"));
        self.process
            .bound
            .send_modify(|bound| bound.push((kind.to_owned(), address)));
    }

    /// This part would answer 200 to `/readyz`. Only the first time counts.
    pub fn ready(&self) {
        if self.said_ready.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.process.unready.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.print("ready\n");
        }
    }

    /// Waits until any part listens as `kind`. It may be forever: the caller sets the deadline.
    pub async fn bound(&self, kind: &str) -> SocketAddr {
        let mut bound = self.process.bound.subscribe();
        loop {
            let found = bound
                .borrow_and_update()
                .iter()
                .find(|(name, _)| name == kind)
                .map(|(_, address)| *address);
            match found {
                Some(address) => return address,
                // The sender lives in `self`, so this cannot fail; a yield keeps the loop honest if it ever did.
                None => drop(bound.changed().await),
            }
        }
    }

    /// A reader that has gone away must not stop a proxy, so a failed write is only logged.
    fn print(&self, line: &str) {
        let mut out = self.process.out.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
            tracing::warn!(%error, line = line.trim_end(), "stdout cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn ready_is_said_once_by_all_parts_together() {
        let page = Page::default();
        let control = Announce::to(page.clone());
        let proxy = control.part();
        control.listening("admin", "127.0.0.1:8182".parse().unwrap());
        control.ready();
        control.clone().ready();
        assert_eq!(page.text(), "listening admin 127.0.0.1:8182\n");
        proxy.listening("http", "[::1]:8080".parse().unwrap());
        proxy.ready();
        proxy.ready();
        assert_eq!(
            page.text(),
            "listening admin 127.0.0.1:8182\nlistening http [::1]:8080\nready\n"
        );
    }

    #[tokio::test]
    async fn a_part_learns_where_another_listens() {
        let control = Announce::to(io::sink());
        let proxy = control.part();
        let address: SocketAddr = "127.0.0.1:4711".parse().unwrap();
        let ((), bound) = tokio::join!(async { control.listening("admin", address) }, proxy.bound("admin"));
        assert_eq!(bound, address);
        assert_eq!(proxy.bound("admin").await, address);
    }
}
