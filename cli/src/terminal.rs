//! The terminal, where there is one: how wide it is, a screen that is drawn again and again, and keys.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

/// Where it cannot be asked.
const WIDTH: usize = 80;
const HEIGHT: usize = 24;

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Columns, at least one.
pub fn width(terminal: &impl AsFd) -> usize {
    size(terminal).0
}

fn size(terminal: &impl AsFd) -> (usize, usize) {
    match tcgetwinsize(terminal) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (WIDTH, HEIGHT),
    }
}

/// Whether anybody still reads what is printed; for those who print seldom.
pub fn is_read() -> bool {
    let stdout = io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut polled, Some(&at_once)) {
        Ok(_) => !polled[0]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL),
        Err(_) => true,
    }
}

/// A screen of its own, until it is dropped: what stood there before is back then.
pub struct Screen {
    /// What stdin was like, where it is a terminal too.
    before: Option<Termios>,
    ends: Receiver<()>,
}

impl Screen {
    /// None where stdout is no terminal.
    pub fn open() -> io::Result<Option<Screen>> {
        if !io::stdout().is_terminal() {
            return Ok(None);
        }
        let (end, ends) = channel();
        on_signals(end.clone())?;
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut unbuffered = before.clone();
            unbuffered.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            tcsetattr(io::stdin(), OptionalActions::Now, &unbuffered)?;
            thread::spawn(move || on_key(&end));
        }
        let screen = Screen { before, ends };
        let mut out = io::stdout().lock();
        out.write_all(ENTER.as_bytes()).and_then(|()| out.flush())?;
        drop(out);
        Ok(Some(screen))
    }

    /// Draws the text over what was there, as far as it fits.
    pub fn show(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(frame(text, size(&io::stdout())).as_bytes())?;
        out.flush()
    }

    /// Waits so long, or until somebody ends it: by a key or by a signal.
    pub fn is_ended_within(&self, time: Duration) -> bool {
        !matches!(self.ends.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
        let mut out = io::stdout().lock();
        let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
    }
}

fn frame(text: &str, (width, height): (usize, usize)) -> String {
    let mut frame = "\x1b[H".to_owned();
    let lines: Vec<&str> = text.lines().collect();
    // The last line would scroll if it were ended.
    let fit = height.saturating_sub(1);
    let shown = if lines.len() > fit {
        fit.saturating_sub(1)
    } else {
        lines.len()
    };
    let mut draw = |line: &str| {
        frame.extend(line.chars().take(width));
        frame.push_str("\x1b[K\n");
    };
    lines[..shown].iter().for_each(|line| draw(line));
    if shown < lines.len() {
        draw(&format!("and {} more lines", lines.len() - shown));
    }
    frame.push_str("\x1b[J");
    frame
}

fn on_key(end: &Sender<()>) {
    let mut keys = io::stdin().lock().bytes();
    while let Some(Ok(key)) = keys.next() {
        if matches!(key, b'q' | b'Q') {
            break;
        }
    }
    // At the end of stdin, too.
    let _ = end.send(());
}

fn on_signals(end: Sender<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    drop(entered);
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        let _ = end.send(());
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_its_terminal() {
        assert_eq!(frame("abcdef\ng", (4, 24)), "\x1b[Habcd\x1b[K\ng\x1b[K\n\x1b[J");
        let long = "a\nb\nc\nd\ne";
        assert_eq!(
            frame(long, (80, 4)),
            "\x1b[Ha\x1b[K\nb\x1b[K\nand 3 more lines\x1b[K\n\x1b[J"
        );
        assert_eq!(frame(long, (80, 6)).matches("\n").count(), 5);
    }
}
