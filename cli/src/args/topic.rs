//! `vulcan help`: the commands under the topics that they are of.

use std::fmt::Write;

use clap::Command;

/// The topic of a command is its display order in args.rs; one without any is among `Others`.
pub const SERVE: usize = 1;
pub const DEPLOY: usize = 2;
pub const CONFIGURE: usize = 3;
pub const LOOK: usize = 4;
pub const OPERATE: usize = 5;
const OTHERS: usize = 999;

const TOPICS: [(usize, &str); 6] = [
    (SERVE, "Serve"),
    (DEPLOY, "Deploy"),
    (CONFIGURE, "Configure"),
    (LOOK, "Look"),
    (OPERATE, "Operate"),
    (OTHERS, "Others"),
];

const FIRST_STEPS: &str = "  vulcan up
  vulcan service put web --host '*'
  vulcan upstream put web 127.0.0.1:3000
  vulcan fleet

`vulcan help COMMAND` tells more of each. Those that ask a control plane find it by --url or VULCAN_URL; they end with 0
when what was asked is done and true on every proxy, with 1 when it was refused or is not yet, with 2 for wrong usage.";

/// Lists the commands by topic where clap would list them all in one.
pub fn grouped(command: Command) -> Command {
    let header = *command.get_styles().get_header();
    let literal = *command.get_styles().get_literal();
    let width = command
        .get_subcommands()
        .map(|of| of.get_name().len())
        .max()
        .unwrap_or(0);
    let mut listed = String::new();
    for (topic, title) in TOPICS {
        let under = |of: &&Command| match TOPICS.iter().any(|(known, _)| *known == of.get_display_order()) {
            true => of.get_display_order() == topic,
            false => topic == OTHERS,
        };
        let mut commands = command.get_subcommands().filter(under).peekable();
        if commands.peek().is_some() {
            let _ = writeln!(listed, "{header}{title}:{header:#}");
        }
        for of in commands {
            let about = of.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(listed, "  {literal}{:width$}{literal:#}  {about}", of.get_name());
        }
    }
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{listed}\n{header}Options:{header:#}\n{{options}}\n\n\
         {header}First steps:{header:#}\n{FIRST_STEPS}"
    ))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn every_command_is_listed_once_under_its_topic() {
        let command = Cli::command();
        let names: Vec<String> = command.get_subcommands().map(|of| of.get_name().to_owned()).collect();
        let help = grouped(command).render_help().to_string();
        for name in names {
            let listed = help
                .lines()
                .filter(|line| line.starts_with(&format!("  {name} ")))
                .count();
            assert_eq!(listed, 1, "{name} in:\n{help}");
        }
        let at = |text: &str| help.find(text).unwrap();
        assert!(
            at("\nServe:\n") < at("\n  up ") && at("\n  up ") < at("\nDeploy:\n"),
            "{help}"
        );
    }
}
