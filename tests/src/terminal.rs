//! A command in a terminal, as a person starts it: a pseudo-terminal is its stdin, stdout and stderr.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::eventually;
use crate::process::PATIENCE;

pub struct Terminal {
    child: Child,
    controller: File,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    pub fn run(mut command: Command) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = openpt(flags).expect("there are pseudo-terminals");
        unlockpt(&controller).expect("it can be unlocked");
        let terminal = ioctl_tiocgptpeer(&controller, flags).expect("it has another end");
        let end = || Stdio::from(terminal.try_clone().expect("a descriptor can be duplicated"));
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let controller = File::from(controller);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut reader, text) = (controller.try_clone().expect("a descriptor"), shown.clone());
        // Until all other ends are closed: that of the command, and those here.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        Terminal {
            child,
            controller,
            shown,
        }
    }

    /// All that was written so far, with what steers the terminal.
    pub fn shown(&self) -> String {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub async fn shows(&self, text: &str) {
        eventually(&format!("the terminal shows {text:?}"), async || {
            self.shown().contains(text)
        })
        .await;
    }

    pub fn press(&mut self, keys: &str) {
        self.controller
            .write_all(keys.as_bytes())
            .expect("somebody has the other end");
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits for the command to end by itself.
    pub async fn exit(&mut self) -> Option<i32> {
        let begun = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status.code();
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "it has not ended; it shows {:?}",
                self.shown()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
