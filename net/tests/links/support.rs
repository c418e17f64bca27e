//! What the link tests share.

use std::future::Future;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use busway_net::link::{BodyObject, Chunk, Outbox, OutboxLimits, Socket};
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::runtime::Handle;

/// Far beyond what a loaded machine needs, so that it fires for hangs alone.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(60);

/// The end of a hang. It looks at the clock first: a future that is ready, but that nobody woke, hangs too.
pub(crate) async fn watched<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        () = tokio::time::sleep(WATCHDOG) => panic!("watchdog: {what} did not come to pass"),
        output = future => output,
    }
}

/// Waits until `condition` holds; for what nobody is told about.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < WATCHDOG, "watchdog: {what} did not come to pass");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// An outbox before one end of a pair; the other end is the peer's.
pub(crate) fn connected(limits: OutboxLimits) -> (Arc<Outbox>, Arc<Socket>) {
    let outbox = Arc::new(Outbox::new(limits, Handle::current()));
    let peer = reconnected(&outbox, false);
    (outbox, peer)
}

/// Gives an outbox a new connection.
pub(crate) fn reconnected(outbox: &Outbox, corked: bool) -> Arc<Socket> {
    let (ours, theirs) = Socket::pair().expect("a pair of sockets");
    outbox.attach(Arc::new(ours), b"", corked);
    Arc::new(theirs)
}

/// Queues `bytes` as one frame, whole or not at all.
pub(crate) fn offer(outbox: &Outbox, bytes: &[u8]) {
    outbox.offer(1, |batch| batch.inline().extend_from_slice(bytes)).expect("there is room");
}

/// Reads `count` bytes.
pub(crate) async fn read_exactly(socket: &Socket, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        let mut readiness = socket.readable().await.expect("the runtime goes on");
        while bytes.len() < count {
            match readiness.read(&mut bytes).expect("the connection holds") {
                Chunk::Full(_) => {}
                Chunk::Last(_) | Chunk::Empty => break,
                Chunk::End => panic!("the end after {} of {count} bytes", bytes.len()),
            }
        }
    }
    bytes
}

/// Reads until the peer's end, at most `room` bytes.
pub(crate) async fn read_to_end(socket: &Socket, room: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(room + 1);
    loop {
        let mut readiness = socket.readable().await.expect("the runtime goes on");
        loop {
            match readiness.read(&mut bytes) {
                Ok(Chunk::Full(_)) => assert!(bytes.len() <= room, "more than was sent"),
                Ok(Chunk::Last(_) | Chunk::Empty) => break,
                Ok(Chunk::End) => return bytes,
                Err(error) => panic!("an error after {} bytes: {error}", bytes.len()),
            }
        }
    }
}

/// A body whose memory is nobody's business: written from where it lies.
pub(crate) struct FakeObject {
    pub(crate) bytes: Vec<u8>,
    /// Bytes of it written in one call at most.
    pub(crate) stride: usize,
    pub(crate) calls: AtomicUsize,
}

impl FakeObject {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, stride: usize::MAX, calls: AtomicUsize::new(0) }
    }
}

impl BodyObject for FakeObject {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn write_to(&self, socket: BorrowedFd<'_>, heads: &[IoSlice<'_>], range: Range<usize>) -> io::Result<usize> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let end = range.end.min(range.start.saturating_add(self.stride));
        let slices: Vec<IoSlice<'_>> =
            heads.iter().map(|head| IoSlice::new(head)).chain([IoSlice::new(&self.bytes[range.start..end])]).collect();
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        Ok(rustix::net::sendmsg(socket, &slices, &mut SendAncillaryBuffer::default(), flags)?)
    }
}

/// A small generator of random numbers (xorshift), so that a run can be repeated.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }
}

/// A directory of one test, gone when the test is over.
pub(crate) struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Short, because the path of a UNIX socket has little more than a hundred bytes.
        let name = format!("net-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary directory can be made");
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Names of the files in it, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("it can be listed");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl AsRef<Path> for TemporaryDirectory {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // A directory that stays behind is untidy, not a broken promise.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
