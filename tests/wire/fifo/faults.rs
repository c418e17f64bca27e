//! Lines that are no commands: each is named in the log, and the next one counts.

use std::io::Write;
use std::time::{Duration, Instant};

use super::Scripted;
use crate::support::{Delivery, Setup, promises};

promises! {
    busway_only {
        "the reference does not say which line": a_message_to_nobody_is_named
    }
    busway_unix_only {
        "the reference does not say which line": a_wrong_line_is_named_with_what_is_wrong_and_the_next_one_counts
        "the reference takes any line": a_text_over_the_payload_limit_is_dropped_and_named
        "the reference keeps all of it": a_line_that_never_ends_takes_no_memory
        "the reference sends what is left of it": binary_garbage_does_not_reach_anybody
        "the reference fills the log": the_log_is_not_filled
    }
}

fn a_wrong_line_is_named_with_what_is_wrong_and_the_next_one_counts(setup: &Setup) {
    let scripted = Scripted::start(setup);
    let mut anna = scripted.broker.peer("anna");
    let mut writer = scripted.writer();
    let deep = "a/".repeat(200);
    for (line, words) in [
        (&b"alone"[..], &["line 1:", "nothing to send to \"alone\""][..]),
        (b"anna \xff\xfe", &["line 2:", "not UTF-8", "byte 5"]),
        (b"anna :", &["line 3:", "no method"]),
        (b"anna :go fast", &["line 4:", "\"fast\" is not KEY=VALUE"]),
        (b"an* :go", &["line 5:", "is a mask"]),
        (format!("={deep} x").as_bytes(), &["line 6:", "128 levels"]),
        (b"a\0b x", &["line 7:", "NUL"]),
        (b"\x1b[31m x\ry", &["line 8:", "no such client", "\\u{1b}"]),
        (b"=anna", &["line 9:", "nothing to send"]),
        (b"ann* x", &["line 10:", "\"ann*\"", "whole parts"]),
        (b"a.** x", &["line 11:", "\"a.**\"", "whole parts"]),
        (b"a.?b :go", &["line 12:", "is a mask"]),
        (b"anna :set a:=[1,2]", &["line 13:", "\"a:=[1,2]\"", "busway rpc call", "lines lost so far: 13"]),
    ] {
        writer.write_all(&[line, b"\n\n", b"anna next\n"].concat()).expect("the broker reads the FIFO");
        anna.expect(&Delivery::message("next").from(".broker"));
        // Between two wrong lines there are a blank one and a good one.
        let number = |word: &str| {
            let wrong: Option<usize> =
                word.strip_prefix("line ").and_then(|rest| rest.trim_end_matches(':').parse().ok());
            wrong.map_or_else(|| word.to_owned(), |wrong| format!("line {}:", 3 * wrong - 2))
        };
        let words: Vec<String> = words.iter().map(|word| number(word)).collect();
        scripted.broker.expect_logged(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    assert!(!scripted.broker.log().contains('\x1b'), "nobody writes to a terminal through the log");
}

fn a_message_to_nobody_is_named(setup: &Setup) {
    let scripted = Scripted::start(setup);
    scripted.run("echo 'nobody hello' >$fifo");
    scripted.broker.expect_logged(&["line 1:", "\"nobody\"", "no such client"]);
}

fn a_text_over_the_payload_limit_is_dropped_and_named(setup: &Setup) {
    let scripted = Scripted::start_with(setup, &["--max-payload", "1K"]);
    let mut anna = scripted.broker.peer("anna");
    let mut writer = scripted.writer();
    for length in [1025, 1024] {
        writer.write_all(format!("anna {}\n", "x".repeat(length)).as_bytes()).expect("the broker reads the FIFO");
    }
    anna.expect(&Delivery::message("x".repeat(1024)).from(".broker"));
    scripted.broker.expect_logged(&["line 1:", "1025 bytes", "limit of 1024"]);
}

fn a_line_that_never_ends_takes_no_memory(setup: &Setup) {
    const MEBIBYTES: usize = 64;
    let scripted = Scripted::start(setup);
    let mut anna = scripted.broker.peer("anna");
    let before = scripted.broker.resident_bytes();
    let mut writer = scripted.writer();
    let part = vec![b'x'; 1 << 20];
    writer.write_all(b"anna ").expect("the broker reads the FIFO");
    for _ in 0..MEBIBYTES {
        writer.write_all(&part).expect("the broker reads the FIFO");
    }
    scripted.broker.expect_logged(&["line 1:", "longer than 1048576 bytes"]);
    let grown = scripted.broker.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "the broker grew by {} KiB", grown >> 10);
    writer.write_all(b"\nanna next\n").expect("the broker reads the FIFO");
    anna.expect(&Delivery::message("next").from(".broker"));
}

fn binary_garbage_does_not_reach_anybody(setup: &Setup) {
    let scripted = Scripted::start(setup);
    let mut anna = scripted.broker.subscriber("anna", &["#"]);
    let mut writer = scripted.writer();
    // Every line has a byte that no text has.
    let garbage: Vec<u8> = (0..=255_u8).cycle().step_by(7).take(400_000).collect();
    writer.write_all(&garbage).expect("the broker reads the FIFO");
    writer.write_all(b"\nanna next\n").expect("the broker reads the FIFO");
    anna.expect(&Delivery::message("next").from(".broker"));
    scripted.broker.expect_logged(&["not UTF-8"]);
    scripted.broker.expect_service();
}

fn the_log_is_not_filled(setup: &Setup) {
    let scripted = Scripted::start(setup);
    let mut anna = scripted.broker.peer("anna");
    let mut writer = scripted.writer();
    for _ in 0..10 {
        writer.write_all("wrong\n".repeat(10_000).as_bytes()).expect("the broker reads the FIFO");
    }
    writer.write_all(b"anna next\n").expect("the broker reads the FIFO");
    anna.expect(&Delivery::message("next").from(".broker"));
    scripted.broker.expect_logged(&["more such lines", "lines lost so far: 100000"]);
    let said = scripted.broker.log().lines().filter(|line| line.contains("nothing to send")).count();
    assert!(said < 10_000, "{said} complaints about a hundred thousand lines");
    // Each line on its own, as a loop in a shell writes them.
    let (before, started) = (scripted.broker.log().lines().count(), Instant::now());
    for _ in 0..500 {
        writer.write_all(b"wrong\n").expect("the broker reads the FIFO");
        std::thread::sleep(Duration::from_millis(1));
    }
    scripted.broker.expect_logged(&["more such lines", "lines lost so far: 100500"]);
    let (said, seconds) = (scripted.broker.log().lines().count() - before, started.elapsed().as_secs());
    assert!(said as u64 <= 22 * (seconds + 2), "{said} lines of the log in {seconds} seconds");
}
