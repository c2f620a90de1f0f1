//! A blind TCP relay that counts what passes and can be cut: the network between two processes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub struct Relay {
    pub address: SocketAddr,
    back: Arc<AtomicU64>,
    is_cut: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Relay {
    pub async fn to(target: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let back = Arc::new(AtomicU64::new(0));
        let counted = back.clone();
        let (is_cut, mut cut) = watch::channel(false);
        let task = tokio::spawn(async move {
            // Dropped with the task, and its connections with it.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    Ok(()) = cut.changed() => {
                        connections.abort_all();
                        continue;
                    }
                };
                let Ok((client, _)) = accepted else { return };
                if *cut.borrow() {
                    continue;
                }
                let counted = counted.clone();
                connections.spawn(async move {
                    let Ok(server) = TcpStream::connect(target).await else {
                        return;
                    };
                    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
                    let ((client_read, client_write), (server_read, server_write)) =
                        (client.into_split(), server.into_split());
                    let forth = Arc::new(AtomicU64::new(0));
                    tokio::join!(
                        pump(client_read, server_write, forth),
                        pump(server_read, client_write, counted)
                    );
                });
            }
        });
        Relay {
            address,
            back,
            is_cut,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends every connection, and all that come, until `mend`.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    pub fn mend(&self) {
        self.is_cut.send_replace(false);
    }

    /// Bytes that came back from the target so far.
    pub fn returned(&self) -> u64 {
        self.back.load(SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, counted: Arc<AtomicU64>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        counted.fetch_add(read as u64, SeqCst);
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
