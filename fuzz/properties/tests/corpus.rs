//! Every input that is kept is run again, so that neither the properties nor the fuzzer's targets rot.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// Of all inputs of one target: they are read by people, and copied by everybody.
const BYTES_MAX: usize = 16 << 10;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What is in a folder, by the names without their extension.
fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fuzz().join(folder)).unwrap();
    entries
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

fn replay(target: &str) {
    let mut files: Vec<PathBuf> = fs::read_dir(fuzz().join("corpus").join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "there is no input for {target}");
    let mut bytes = 0;
    for file in files {
        let input = fs::read(&file).unwrap();
        bytes += input.len();
        if let Err(panic) = catch_unwind(|| properties::run(target, &input)) {
            eprintln!("this was {}", file.display());
            resume_unwind(panic);
        }
    }
    assert!(bytes <= BYTES_MAX, "{target} keeps {bytes} bytes");
}

macro_rules! targets {
    ($($name:ident),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )+

        #[test]
        fn nothing_is_left_out() {
            let replayed: BTreeSet<String> = [$(stringify!($name).to_owned()),+].into();
            let checked = properties::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(replayed, checked);
            assert_eq!(replayed, names("fuzz_targets"));
            assert_eq!(replayed, names("corpus"));
            let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
            for name in &replayed {
                let file = format!("fuzz_targets/{name}.rs");
                assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"{file}\"")), "{name} is not built");
                assert!(fs::read_to_string(fuzz().join(&file)).unwrap().contains(&format!("run(\"{name}\"")), "{file}");
            }
        }
    };
}

targets!(
    answer,
    api,
    apply,
    documents,
    fields,
    json,
    lines,
    publisher,
    request,
    smtp_command,
    smtp_data,
    smtp_head,
    snapshot,
    store,
    subscriber,
    table,
    texts
);
