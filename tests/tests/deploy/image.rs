//! The container file.

use std::collections::BTreeMap;

use crate::invocation::{Invocation, Place, Word};

pub struct Image {
    file: String,
    /// Instruction, what follows it, and its line.
    instructions: Vec<(String, String, usize)>,
    /// `VULCAN_DATA`.
    pub data: String,
}

impl Image {
    pub fn parse(file: &str, text: &str) -> Image {
        let mut instructions: Vec<(String, String, usize)> = Vec::new();
        let mut goes_on = false;
        for (index, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        {
            let part = line.trim_end_matches('\\').trim();
            match instructions.last_mut() {
                Some((_, rest, _)) if goes_on => *rest = format!("{rest} {part}"),
                _ => {
                    let (name, rest) = part.split_once(' ').unwrap_or((part, ""));
                    instructions.push((name.to_owned(), rest.to_owned(), index + 1));
                }
            }
            goes_on = line.ends_with('\\');
        }
        let variables: BTreeMap<_, _> = instructions
            .iter()
            .filter(|(name, _, _)| name == "ENV")
            .filter_map(|(_, pair, _)| pair.split_once('='))
            .collect();
        let data = variables.get("VULCAN_DATA").copied().unwrap_or_default().to_owned();
        Image {
            file: file.to_owned(),
            instructions,
            data,
        }
    }

    fn all(&self, name: &str) -> Vec<&str> {
        let found = self.instructions.iter().filter(|(found, _, _)| found == name);
        found.map(|(_, rest, _)| &**rest).collect()
    }

    /// The image as a proxy, which is what its variables are for.
    pub fn invocation(&self) -> Invocation {
        let place = |line| Place {
            file: self.file.clone(),
            line,
        };
        let word = |text: &str, line| Word {
            text: text.to_owned(),
            place: place(line),
        };
        let variables = self.instructions.iter().filter(|(name, _, _)| name == "ENV");
        Invocation {
            name: "image".into(),
            place: place(1),
            words: vec![word("dataplane", 1)],
            variables: variables
                .filter_map(|(_, pair, line)| {
                    pair.split_once('=')
                        .map(|(name, value)| (word(name, *line), value.to_owned()))
                })
                .collect(),
        }
    }

    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut expect = |holds: bool, what: &str| {
            if !holds {
                complaints.push(format!("{}: {what}", self.file));
            }
        };
        // `rust:1-trixie AS build` and `debian:trixie-slim`.
        let tag = |from: &&str| {
            from.split(' ')
                .next()
                .and_then(|name| name.rsplit(':').next())
                .map(str::to_owned)
        };
        let tags: Vec<String> = self.all("FROM").iter().filter_map(tag).collect();
        let releases = tags
            .first()
            .and_then(|tag| tag.rsplit('-').next())
            .zip(tags.last().and_then(|tag| tag.split('-').next()));
        let same = tags.len() == 2 && releases.is_some_and(|(built, runs)| built == runs);
        expect(same, "the two stages are not of one release of Debian");
        let user = self.all("USER");
        let number = user
            .first()
            .and_then(|user| user.split(':').next()?.parse::<u32>().ok());
        expect(
            number.is_some_and(|uid| uid > 0),
            "it runs as root, or as a user without a number",
        );
        expect(
            self.all("STOPSIGNAL") == ["SIGTERM"],
            "SIGTERM is what ends the binary in order",
        );
        expect(self.all("ENTRYPOINT") == [r#"["vulcan"]"#], "it does not start vulcan");
        expect(
            self.all("VOLUME") == [&self.data],
            "the volume is not where the data is",
        );
        let owned = self
            .all("RUN")
            .iter()
            .any(|run| run.contains(&format!("--owner=vulcan --group=vulcan --mode=0700 {}", self.data)));
        expect(owned, "its user may not write to the data");
        complaints
    }
}
