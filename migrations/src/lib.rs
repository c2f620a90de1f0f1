//! The schema of the store on Cassandra, as numbered steps that are part of the binary. A control plane applies those that
//! a keyspace lacks; nothing is done by hand.
//!
//! A step that was released never changes: its checksum is kept with the keyspace. Each of its statements may run again,
//! because the answer to one may get lost; so each says `IF NOT EXISTS`, or its like.

use std::fmt::Write;

use sha2::{Digest, Sha256};

#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// From 1, without a gap.
    pub version: u32,
    pub name: &'static str,
    pub text: &'static str,
}

macro_rules! embedded {
    ($($version:literal $name:literal),* $(,)?) => {
        [$(Migration { version: $version, name: $name, text: include_str!(concat!("../", $name, ".cql")) }),*]
    };
}

/// All of them, in order. A file `NNNN_name.cql` beside this crate's manifest stands for one.
pub const ALL: [Migration; 5] = embedded! {
    1 "0001_log",
    2 "0002_state",
    3 "0003_control_planes",
    4 "0004_limits",
    5 "0005_claims_recorded",
};

impl Migration {
    /// Its statements in order, without comments. A comment has its lines to itself, and a text holds no semicolon.
    pub fn statements(&self) -> Vec<String> {
        let is_code = |line: &&str| !line.trim_start().starts_with("--");
        let code: Vec<&str> = self.text.lines().filter(is_code).collect();
        let statements = code.join("\n");
        statements
            .split(';')
            .map(|statement| statement.trim().to_owned())
            .filter(|statement| !statement.is_empty())
            .collect()
    }

    /// SHA-256 over the file, in hexadecimal.
    pub fn checksum(&self) -> String {
        Sha256::digest(self.text).iter().fold(String::new(), |mut hex, byte| {
            // Writing to a text cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_is_embedded_and_numbered() {
        let mut files: Vec<String> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter(|name| name.ends_with(".cql"))
            .collect();
        files.sort();
        let embedded: Vec<String> = ALL.iter().map(|migration| format!("{}.cql", migration.name)).collect();
        assert_eq!(files, embedded);
        for (version, migration) in (1..).zip(&ALL) {
            assert_eq!(migration.version, version);
            assert!(
                migration.name.starts_with(&format!("{version:04}_")),
                "{}",
                migration.name
            );
        }
    }

    #[test]
    fn every_statement_may_run_again() {
        for statement in ALL.iter().flat_map(Migration::statements) {
            let repeatable = statement.contains(" IF NOT EXISTS ") || statement.contains(" IF EXISTS ");
            assert!(repeatable, "{statement}");
            assert!(
                !statement.contains("--"),
                "a comment has its lines to itself: {statement}"
            );
            assert_eq!(statement.matches('\'').count() % 2, 0, "a text was split: {statement}");
        }
    }

    #[test]
    fn statements_are_found_between_comments() {
        let migration = Migration {
            version: 1,
            name: "0001_x",
            text: "-- one; two\nCREATE a\n  (b);\n\n-- three\nCREATE c;\n",
        };
        assert_eq!(migration.statements(), ["CREATE a\n  (b)", "CREATE c"]);
        assert_eq!(migration.checksum().len(), 64);
    }
}
