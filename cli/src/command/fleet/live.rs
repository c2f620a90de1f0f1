//! `fleet --watch`: the fleet as it is now, again every second.

use std::thread::sleep;
use std::time::Duration;

use super::look;
use crate::args::{Fleet, Output};
use crate::client::Client;
use crate::command::print;
use crate::failure::Failure;
use crate::terminal::{self, Screen};

const EVERY: Duration = Duration::from_secs(1);
/// A key is obeyed between two looks.
const PATIENCE: Duration = Duration::from_secs(3);

/// That there is a control plane is found out first; one that goes away later may come back.
pub fn run(client: &Client, args: &Fleet) -> Result<(), Failure> {
    let first = look(client, args, PATIENCE)?;
    let screen = match args.remote.output {
        Output::Table => Screen::open().map_err(Failure::refused)?,
        Output::Json => None,
    };
    match screen {
        Some(screen) => draw(client, args, &screen, first),
        None => print_changes(client, args, first),
    }
}

fn draw(client: &Client, args: &Fleet, screen: &Screen, mut seen: String) -> Result<(), Failure> {
    let mut missing = String::new();
    loop {
        let title = format!("{}, every second; q ends it", args.remote.url);
        screen
            .show(&format!("{title}\n\n{seen}\n{missing}"))
            .map_err(Failure::refused)?;
        if screen.is_ended_within(EVERY) {
            return Ok(());
        }
        match look(client, args, PATIENCE) {
            Ok(now) => (seen, missing) = (now, String::new()),
            Err(failure) => missing = format!("\nThis is how it was. {}", failure.detail()),
        }
    }
}

/// For pipes and files: printed when it is another than before. It ends when nobody reads it any more.
fn print_changes(client: &Client, args: &Fleet, mut seen: String) -> Result<(), Failure> {
    let mut told = false;
    let apart = if args.remote.output == Output::Table { "\n" } else { "" };
    print(&seen)?;
    while terminal::is_read() {
        sleep(EVERY);
        match look(client, args, PATIENCE) {
            Ok(now) => {
                if now != seen {
                    print(&format!("{apart}{now}"))?;
                }
                (seen, told) = (now, false);
            }
            Err(failure) if !told => {
                told = true;
                eprintln!("note: {}", failure.detail());
            }
            Err(_) => {}
        }
    }
    Ok(())
}
