//! Rows for the eye.

use std::io::{Result, Write};

use super::rows::Row;
use super::samples::bytes;

/// One line for each row; a blank line between works.
pub(crate) fn print(output: &mut impl Write, rows: &[&Row]) -> Result<()> {
    writeln!(
        output,
        "{:26} {:>8} {:>9}  {:21} {:15} {:>13} {:17} {:>7} {:>25} {:>13}",
        "work", "payload", "receivers", "system", "metric", "median", "", "spread", "least to greatest", "times busrt"
    )?;
    let mut sorted = rows.to_vec();
    // Systems stand below each other, number by number.
    sorted.sort_by(|one, other| key(one).cmp(&key(other)));
    let mut last = None;
    for row in sorted {
        let place = (&row.work, row.payload, row.receivers);
        if last.is_some_and(|last| last != place) {
            writeln!(output)?;
        }
        last = Some(place);
        let spread = row.spread.map_or("-".to_owned(), |spread| format!("{:.0} %", spread * 100.0));
        let range = row.range().filter(|_| row.rounds > 1);
        let range = range.map_or("-".to_owned(), |(least, most)| format!("{} to {}", number(least), number(most)));
        let ratio = row.ratio_to_busrt.map_or("-".to_owned(), |ratio| format!("x{ratio:.2}"));
        writeln!(
            output,
            "{:26} {:>8} {:>9}  {:21} {:15} {:>13} {:17} {:>7} {:>25} {:>13}",
            row.work,
            bytes(row.payload),
            count(row.receivers),
            row.system,
            row.metric.name(),
            number(row.median),
            row.metric.unit(),
            spread,
            range,
            ratio
        )?;
    }
    Ok(())
}

fn key(row: &Row) -> impl Ord + '_ {
    (&row.work, row.payload, row.receivers, row.metric, row.system)
}

/// Three digits that count, or all before the point.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        value if value >= 0.1 => 3,
        _ => 4,
    };
    grouped(&format!("{value:.digits$}"))
}

/// A whole number.
pub(crate) fn count(value: usize) -> String {
    grouped(&value.to_string())
}

fn grouped(text: &str) -> String {
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && digit.is_ascii_digit() && (whole.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
}

#[cfg(test)]
mod tests {
    use super::{count, number};

    #[test]
    fn numbers_are_short_and_grouped() {
        assert_eq!(number(1_234_567.8), "1,234,568");
        assert_eq!(number(123.4), "123");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(0.0123), "0.0123");
        assert_eq!(number(0.0), "0.0000");
        assert_eq!(count(1_000), "1,000");
    }
}
