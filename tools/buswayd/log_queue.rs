//! What stands between the log and whoever reads it: a reader that stands still must not stop the broker.

use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use syslog_tracing::{Syslog, SyslogWriter};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait; more are lost, and counted.
const MAX_WAITING: usize = 4096;

enum Message {
    /// With the way to syslog, if it goes there, which knows its severity. That calls syslog when it is dropped, also with
    /// nothing to say: a line that is lost must not.
    Line(Vec<u8>, Option<ManuallyDrop<SyslogWriter>>),
    /// Everything before it is written.
    Flushed(SyncSender<()>),
}

/// A bounded queue of lines with a thread that writes them. Clones are one and the same.
#[derive(Clone)]
pub(crate) struct LogQueue {
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl LogQueue {
    /// One to standard error.
    pub(crate) fn to_stderr() -> Self {
        Self::new(io::stderr())
    }

    fn new(output: impl Write + Send + 'static) -> Self {
        let (sender, receiver) = sync_channel(MAX_WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let queue = Self { sender, lost: Arc::clone(&lost) };
        // Without it the lines that find no room are lost, and the broker serves.
        let _ = thread::Builder::new().name("log".into()).spawn(move || write_all(&receiver, &lost, output));
        queue
    }

    /// Never waits.
    fn add(&self, line: &[u8], syslog: Option<ManuallyDrop<SyslogWriter>>) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(Message::Line(line.to_vec(), syslog)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what waits is written, or the time is over.
    pub(crate) fn flush(&self, patience: Duration) {
        let (written, is_written) = sync_channel(1);
        // A full queue has a reader that stands still: not waited for.
        if self.sender.try_send(Message::Flushed(written)).is_ok() {
            let _ = is_written.recv_timeout(patience);
        }
    }
}

fn write_all(receiver: &Receiver<Message>, lost: &AtomicU64, mut output: impl Write) {
    for message in receiver {
        // An output that is closed is nobody's business: the broker serves on.
        let _ = match message {
            Message::Line(line, None) => write_line(&mut output, &line, lost),
            Message::Line(line, Some(syslog)) => write_line(&mut ManuallyDrop::into_inner(syslog), &line, lost),
            Message::Flushed(written) => written.send(()).map_err(io::Error::other),
        };
    }
}

fn write_line(output: &mut impl Write, line: &[u8], lost: &AtomicU64) -> io::Result<()> {
    output.write_all(line)?;
    output.flush()?;
    let missing = lost.swap(0, Ordering::Relaxed);
    if missing > 0 {
        let note = format!("WARN {missing} lines of the log are lost: nobody read it for a while\n");
        output.write_all(note.as_bytes())?;
        output.flush()?;
    }
    Ok(())
}

/// One event, which comes as one piece.
impl Write for &LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.add(line, None);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for &'static LogQueue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self
    }
}

/// syslog behind the queue.
pub(crate) struct QueuedSyslog {
    pub(crate) queue: &'static LogQueue,
    pub(crate) syslog: Syslog,
}

/// One event for syslog, which comes as one piece.
pub(crate) struct SyslogLine {
    queue: &'static LogQueue,
    syslog: Option<ManuallyDrop<SyslogWriter>>,
}

impl Write for SyslogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.add(line, self.syslog.take());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for QueuedSyslog {
    type Writer = SyslogLine;

    fn make_writer(&'a self) -> SyslogLine {
        SyslogLine { queue: self.queue, syslog: Some(ManuallyDrop::new(self.syslog.make_writer())) }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> SyslogLine {
        SyslogLine { queue: self.queue, syslog: Some(ManuallyDrop::new(self.syslog.make_writer_for(meta))) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// Takes a line whenever it is allowed to.
    struct Gate {
        allowed: std::sync::mpsc::Receiver<()>,
        taken: std::sync::mpsc::Sender<String>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.allowed.recv().map_err(io::Error::other)?;
            let _ = self.taken.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_without_a_reader_are_lost_and_counted_and_nobody_waits_for_them() {
        let (allow, allowed) = channel();
        let (taken, lines) = channel();
        let queue = LogQueue::new(Gate { allowed, taken });
        for number in 0..MAX_WAITING + 100 {
            (&queue).write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        queue.flush(Duration::from_millis(10));
        for _ in 0..=MAX_WAITING + 2 {
            allow.send(()).unwrap();
        }
        assert_eq!(lines.recv().unwrap(), "0\n");
        // The first may have been with the writer, so that one more found room.
        let said = lines.recv().unwrap();
        assert!(said.starts_with("WARN 99 lines") || said.starts_with("WARN 100 lines"), "{said}");
        for number in 1..MAX_WAITING {
            assert_eq!(lines.recv().unwrap(), format!("{number}\n"));
        }
    }
}
