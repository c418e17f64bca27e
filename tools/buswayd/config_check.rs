//! What must hold for any text that is given for a configuration file; for the tests here and the fuzz target.

use crate::config::Config;

/// Reads it: it is correct, or it is wrong at a place that is there.
pub(crate) fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Config::parse(text) {
        Ok(config) => assert_eq!(Config::parse(text), Ok(config), "it says the same to everybody"),
        Err(fault) => {
            assert!(!fault.message.is_empty(), "an error says what is wrong");
            assert!(!fault.to_string().contains('\n'), "an error is one line of the log");
            let Some((line, column)) = fault.place else { return };
            let lines: Vec<&str> = text.split('\n').collect();
            assert!((1..=lines.len()).contains(&line), "line {line} of {}", lines.len());
            // One behind the last character is the end of the line.
            assert!((1..=lines[line - 1].chars().count() + 1).contains(&column), "column {column} of line {line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn configurations_of_the_corpus_hold() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/config");
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let files: Vec<_> = entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
        assert!(!files.is_empty(), "{}: the corpus is empty", folder.display());
        for file in files {
            let input = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let outcome = std::panic::catch_unwind(|| config(&input));
            assert!(outcome.is_ok(), "{}: see the panic above", file.display());
        }
    }

    /// A text cut short anywhere, and one with a byte that does not belong there.
    #[test]
    fn the_example_holds_however_it_is_damaged() {
        let example = include_str!("buswayd.toml").replace("\n#", "\n");
        // Prose is no TOML; what is left are keys and tables.
        let example: Vec<&str> = example.lines().filter(|line| line.contains(" = ") || line.starts_with('[')).collect();
        let example = example.join("\n");
        for end in (0..=example.len()).filter(|end| example.is_char_boundary(*end)) {
            config(&example.as_bytes()[..end]);
            for byte in *b"\"[]#=\n" {
                let mut damaged = example.clone().into_bytes();
                damaged.insert(end, byte);
                config(&damaged);
            }
        }
    }
}
