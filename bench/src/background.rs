//! A listener that serves on a thread of its own until it is dropped.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// Connections that wait to be accepted; the kernel may allow fewer.
const BACKLOG: i32 = 4_096;

pub struct Background {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    pub fn start<F: Future<Output = ()> + 'static>(
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> io::Result<Background> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        // Again, for more than the library asks for: a thousand sessions may connect at once.
        rustix::net::listen(&listener, BACKLOG)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let accepting = accept(listener, Rc::new(serve));
            LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    _ = stopped => {}
                    Err(error) = accepting => eprintln!("nothing is accepted any more: {error}"),
                }
            });
        });
        Ok(Background {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

async fn accept<F: Future<Output = ()> + 'static>(
    listener: std::net::TcpListener,
    serve: Rc<impl Fn(TcpStream) -> F + 'static>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(serve(stream));
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, that has been printed.
            let _ended = thread.join();
        }
    }
}
