use super::print;
use crate::args::{self, Completions};
use crate::failure::Failure;

pub fn run(args: Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), "vulcan", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(())
}
