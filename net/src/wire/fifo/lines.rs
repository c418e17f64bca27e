//! Bytes in any split, cut into lines.

use super::LineFault;

/// Memory that is kept between two lines.
const KEPT: usize = 4096;

/// Cuts what arrives into lines of bounded length: a line that never ends takes no more memory than the longest legal
/// one.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    /// The line at hand is over the limit, which has been told; the rest of it is dropped.
    is_over: bool,
    pending: Vec<u8>,
    number: u64,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number, from 1.
    pub number: u64,
    /// Its bytes without their end, `\n` or `\r\n`.
    pub content: Result<&'a [u8], LineFault>,
}

impl Lines {
    /// `limit` is how long a line may be, without its end.
    pub fn new(limit: usize) -> Self {
        Self { limit, is_over: false, pending: Vec::new(), number: 1 }
    }

    /// Takes bytes and gives every line that they complete, and once each one that is too long.
    pub fn push(&mut self, bytes: &[u8], mut take: impl FnMut(Line<'_>)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.end(&rest[..end], &mut take);
            rest = &rest[end + 1..];
        }
        self.keep(rest, &mut take);
    }

    /// Nobody goes on with the line at hand: what there is of it is one.
    pub fn finish(&mut self, mut take: impl FnMut(Line<'_>)) {
        if self.is_over || !self.pending.is_empty() {
            self.end(&[], &mut take);
        }
    }

    fn end(&mut self, tail: &[u8], take: &mut impl FnMut(Line<'_>)) {
        if self.pending.is_empty() && !self.is_over && tail.len() <= self.limit {
            // The usual case: no copy.
            take(Line { number: self.number, content: Ok(without_return(tail)) });
        } else {
            self.keep(tail, take);
            if !self.is_over {
                take(Line { number: self.number, content: Ok(without_return(&self.pending)) });
            }
        }
        self.pending.clear();
        self.pending.shrink_to(KEPT);
        self.is_over = false;
        self.number += 1;
    }

    fn keep(&mut self, bytes: &[u8], take: &mut impl FnMut(Line<'_>)) {
        if self.is_over {
            return;
        }
        if self.pending.len() + bytes.len() > self.limit {
            take(Line { number: self.number, content: Err(LineFault::TooLong { limit: self.limit }) });
            self.is_over = true;
            self.pending = Vec::new();
        } else {
            self.pending.extend_from_slice(bytes);
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(lines: &mut Lines, bytes: &[u8]) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut found = Vec::new();
        lines.push(bytes, |line| found.push((line.number, line.content.ok().map(<[u8]>::to_vec))));
        found
    }

    #[test]
    fn a_line_ends_at_its_newline_wherever_reads_end() {
        let mut lines = Lines::new(100);
        assert_eq!(collect(&mut lines, b"one\ntw"), [(1, Some(b"one".to_vec()))]);
        assert_eq!(collect(&mut lines, b"o\r\n\nthr"), [(2, Some(b"two".to_vec())), (3, Some(Vec::new()))]);
        let mut last = Vec::new();
        lines.finish(|line| last.push(line.content.map(<[u8]>::to_vec)));
        assert_eq!(last, [Ok(b"thr".to_vec())]);
        lines.finish(|line| panic!("nothing is left, but {line:?}"));
    }

    #[test]
    fn a_line_over_the_limit_is_told_once_and_the_next_one_counts() {
        let mut lines = Lines::new(4);
        assert_eq!(collect(&mut lines, b"four\nfives\n"), [(1, Some(b"four".to_vec())), (2, None)]);
        assert_eq!(collect(&mut lines, b"never"), [(3, None)]);
        for _ in 0..1000 {
            assert_eq!(collect(&mut lines, b" ends"), []);
        }
        assert_eq!(lines.pending.capacity(), 0);
        assert_eq!(collect(&mut lines, b"\nnext\n"), [(4, Some(b"next".to_vec()))]);
    }
}
