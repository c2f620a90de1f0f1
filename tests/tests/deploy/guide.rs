//! The calls of the binary that stand in the documents.

use crate::invocation::{Invocation, Place, Word};

/// Those of the services, each at the beginning of its line and perhaps going on in the next.
pub fn invocations(file: &str, text: &str) -> Vec<Invocation> {
    let mut found: Vec<Invocation> = Vec::new();
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let place = Place {
            file: file.to_owned(),
            line: index + 1,
        };
        let words = line.trim_end_matches('\\').split_whitespace().map(|text| Word {
            text: text.to_owned(),
            place: place.clone(),
        });
        match found.last_mut() {
            Some(last) if goes_on => last.words.extend(words),
            _ if line.starts_with("vulcan controlplane --") || line.starts_with("vulcan dataplane --") => {
                found.push(Invocation {
                    name: "an example".into(),
                    words: words.skip(1).collect(),
                    variables: Vec::new(),
                    place,
                });
                goes_on = true;
            }
            _ => {}
        }
        goes_on &= line.ends_with('\\');
    }
    found
}
