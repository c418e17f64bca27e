//! What must hold for any bytes that somebody writes to the FIFO, in whatever pieces they are read.

use busway_net::wire::Limits;
use busway_net::wire::fifo::{Command, LineFault, Lines, Value, parse};

/// The first byte says how long a line may be, the second how long a piece is; the rest is what is written.
pub(crate) fn lines(input: &[u8]) {
    let [limit, piece, written @ ..] = input else { return };
    let (limit, piece) = (usize::from(*limit) * 8, usize::from(*piece) + 1);
    let mut lines = Lines::new(limit);
    let mut found = Vec::new();
    for piece in written.chunks(piece) {
        lines.push(piece, |line| found.push((line.number, line.content.map(<[u8]>::to_vec))));
    }
    lines.finish(|line| found.push((line.number, line.content.map(<[u8]>::to_vec))));
    assert_eq!(found, expected(written, limit), "lines do not depend on where reads end");
    for (_, line) in &found {
        if let Ok(line) = line {
            command(line);
        }
    }
}

/// The same, with all of it at hand.
fn expected(written: &[u8], limit: usize) -> Vec<(u64, Result<Vec<u8>, LineFault>)> {
    let mut rest: Vec<&[u8]> = written.split(|byte| *byte == b'\n').collect();
    if rest.last().is_some_and(|last| last.is_empty()) {
        rest.pop();
    }
    let line = |line: &[u8]| match line {
        line if line.len() > limit => Err(LineFault::TooLong { limit }),
        line => Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec()),
    };
    (1..).zip(rest).map(|(number, bytes)| (number, line(bytes))).collect()
}

fn command(line: &[u8]) {
    let limits = Limits { max_payload: 1000, max_path: 64, max_levels: 8, ..Limits::default() };
    match parse(line, &limits) {
        Ok(None) => assert!(line.iter().all(|byte| b" \t".contains(byte)), "only a blank line says nothing"),
        Ok(Some(command)) => {
            let text = std::str::from_utf8(line).expect("a command is text").trim_start_matches([' ', '\t']);
            keeps_its_words(text, &command, &limits);
        }
        Err(fault) => {
            assert!(fault.to_string().len() < 1000, "a wrong line does not fill the log");
            assert_eq!(matches!(fault, LineFault::NotUtf8 { .. }), std::str::from_utf8(line).is_err());
        }
    }
}

/// Nothing is lost and nothing is made up.
fn keeps_its_words(line: &str, command: &Command<'_>, limits: &Limits) {
    let (address, separator, again) = match command {
        Command::Message { target, text } => (*target, b'.', format!("{target} {text}")),
        Command::Broadcast { mask, text } => (*mask, b'.', format!("{mask} {text}")),
        Command::Publish { topic, text } => (*topic, b'/', format!("={topic} {text}")),
        Command::Notify { target, text } => (*target, b'.', format!("{target} .{text}")),
        Command::Call { target, method, params } => {
            assert!(!method.is_empty() && !method.contains([' ', '\0']), "{method:?}");
            let pairs: usize = line.split([' ', '\t']).skip(2).filter(|word| !word.is_empty()).count();
            assert!(params.len() <= pairs, "{line:?}");
            for (key, value) in params {
                assert!(!key.contains('=') && line.contains(&format!("{key}=")), "{line:?}");
                if let Value::Text(value) = value {
                    assert!(line.contains(&format!("{key}={value}")), "{line:?}");
                }
            }
            assert!(line.starts_with(&format!("{target} :{method}")), "{line:?}");
            (*target, b'.', line.to_owned())
        }
    };
    assert_eq!(again, line);
    assert_eq!(limits.check_path(address.as_bytes(), separator), Ok(()), "the router takes it");
}
