//! Pipes in which the kernel keeps what goes from one socket to another: no process copies it or looks at it.
//!
//! The pages in which a sender's bytes lie move from its socket into pipes, and from there into the receiver's socket
//! (`splice(2)`).

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::pipe::{PipeFlags, SpliceFlags};
use rustix::process::Resource;

/// What a pipe is asked to hold, the most that a user without privileges may ask for. It has a place for each 4 KiB of
/// that; one place takes up to 32 KiB, so that a pipe holds more where the kernel's memory is not in small pieces.
const PIPE_SIZE: usize = 1 << 20;
/// A pipe takes no more when it has so much: its last places take many calls.
const FULL: usize = 2 << 20;
/// A payload that takes a pipe for less than this comes in pieces too small for pipes.
const LEAST_IN_PIPE: usize = 512 << 10;
/// Pipes of a broker; together they may be half of what the kernel lets a user without privileges have (64 MiB).
const MOST_PIPES: usize = 32;
/// A broker has one pipe, which are two descriptors, for each so many that it may open.
const DESCRIPTORS_FOR_PIPE: u64 = 32;
const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

#[derive(Debug)]
struct Pipe {
    into: OwnedFd,
    from: File,
    held: usize,
}

/// The pipes of a broker: those at hand, and how many there may be.
#[derive(Clone, Debug)]
pub struct PipeShelf {
    shelf: Arc<Shelf>,
}

#[derive(Debug)]
struct Shelf {
    at_hand: Mutex<Vec<Pipe>>,
    /// Pipes that hold something, or are promised.
    promised: AtomicUsize,
    most: usize,
    /// None was promised since the last look.
    is_idle: AtomicBool,
    /// The system has refused one since the last look, or a signal is in the way.
    is_refused: AtomicBool,
}

impl PipeShelf {
    /// A shelf without pipes yet. There will be none where the system cannot move bytes in this way.
    pub fn new() -> Self {
        let limit = rustix::process::getrlimit(Resource::Nofile).current;
        let descriptors = limit.and_then(|limit| usize::try_from(limit / DESCRIPTORS_FOR_PIPE).ok());
        let shelf = Self::with(descriptors.unwrap_or(MOST_PIPES).min(MOST_PIPES));
        if is_kernel_fit() && shelf.moves_a_byte() {
            return shelf;
        }
        tracing::info!("large payloads are copied: the system cannot move them from socket to socket");
        Self::with(0)
    }

    fn with(most: usize) -> Self {
        let shelf = Shelf {
            at_hand: Mutex::default(),
            promised: AtomicUsize::new(0),
            most,
            is_idle: AtomicBool::new(true),
            is_refused: AtomicBool::new(false),
        };
        Self { shelf: Arc::new(shelf) }
    }

    /// Whether pipes for `length` bytes would leave as many for others.
    pub fn has_room_for(&self, length: usize) -> bool {
        expected(length) <= self.shelf.most / 2
    }

    /// Pipes that hold nothing and are kept for the next payload.
    pub fn at_hand(&self) -> usize {
        self.shelf.at_hand.lock().len()
    }

    /// A row of pipes, none yet, for `length` bytes, if that many are likely to be had and so many are left for others.
    pub fn promise(&self, length: usize, left: usize) -> Option<Pipes> {
        if self.shelf.is_idle.swap(false, Ordering::Relaxed) {
            self.look_at_signals();
        }
        let expected = expected(length);
        let is_promised = !self.shelf.is_refused.load(Ordering::Relaxed) && self.raise(expected, left);
        is_promised.then(|| Pipes {
            shelf: self.clone(),
            row: VecDeque::new(),
            held: 0,
            promised: expected,
            more: (length / LEAST_IN_PIPE).min(self.shelf.most / 2).saturating_sub(expected),
        })
    }

    fn raise(&self, count: usize, left: usize) -> bool {
        let raised = |promised| Some(promised + count).filter(|promised| promised + left <= self.shelf.most);
        self.shelf.promised.fetch_update(Ordering::Relaxed, Ordering::Relaxed, raised).is_ok()
    }

    fn lower(&self, count: usize) {
        self.shelf.promised.fetch_sub(count, Ordering::Relaxed);
    }

    /// Closes the pipes at hand if none was promised since the last call, and asks the system again if it has refused one;
    /// to be called now and then.
    pub fn tidy(&self) {
        if self.shelf.is_idle.swap(true, Ordering::Relaxed) {
            let idle = std::mem::take(&mut *self.shelf.at_hand.lock());
            drop(idle);
        } else {
            self.look_at_signals();
        }
    }

    /// A receiver that has gone would kill a process that does not ignore it: `splice` cannot be told not to signal that
    /// (SIGPIPE). Programs in Rust ignore the signal, but this may run in others, which may also change their mind.
    fn look_at_signals(&self) {
        self.shelf.is_refused.store(!ignores_broken_pipes(), Ordering::Relaxed);
    }

    /// One of the pipes that were promised.
    fn take(&self) -> Option<Pipe> {
        if let Some(pipe) = self.shelf.at_hand.lock().pop() {
            return Some(pipe);
        }
        let made = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).and_then(|(from, into)| {
            rustix::pipe::fcntl_setpipe_size(&into, PIPE_SIZE)?;
            Ok(Pipe { into, from: from.into(), held: 0 })
        });
        if made.is_err() {
            self.shelf.is_refused.store(true, Ordering::Relaxed);
        }
        made.ok()
    }

    fn give_back(&self, pipe: Pipe) {
        // What is left of a payload must not become a part of the next.
        if pipe.held == 0 {
            self.shelf.at_hand.lock().push(pipe);
        } else {
            drop(pipe);
        }
        self.lower(1);
    }

    /// Whether a byte comes through a socket, a pipe and the socket again. Where there is no pipe just now that is not known,
    /// and there may be some later.
    fn moves_a_byte(&self) -> bool {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None);
        let (Ok((one, other)), Some(mut pipes)) = (pair, self.promise(1, 0)) else { return true };
        if !pipes.extend() {
            return true;
        }
        let is_sent = rustix::net::send(&one, b"!", SendFlags::NOSIGNAL) == Ok(1);
        is_sent
            && pipes.fill(other.as_fd(), 1) == Filled::Some(1)
            && pipes.send(other.as_fd(), 1).is_ok_and(|sent| sent == 1)
    }
}

/// Pipes for so many bytes, as they come in a stream.
fn expected(length: usize) -> usize {
    1 + length / FULL
}

impl Default for PipeShelf {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a receiver that reads cannot hold up who moves bytes to it: before Linux 6.5 both wait for the same lock.
fn is_kernel_fit() -> bool {
    let Ok(release) = fs::read_to_string("/proc/sys/kernel/osrelease") else { return false };
    let mut numbers = release.split(|character: char| !character.is_ascii_digit()).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (6, 5))
}

/// Whether the signal of a broken pipe does nothing to this process.
fn ignores_broken_pipes() -> bool {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return false };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (rustix::process::Signal::PIPE.as_raw() - 1) & 1 == 1)
}

/// What became of an attempt to move bytes into pipes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// So many bytes were moved.
    Some(usize),
    /// Nothing has come.
    Nothing,
    /// The peer has closed.
    End,
    /// There are no pipes for it, the system does not move these bytes, or the socket has an error: the next read tells.
    NoRoom,
}

/// A row of pipes, and what they hold together.
#[derive(Debug)]
pub struct Pipes {
    shelf: PipeShelf,
    row: VecDeque<Pipe>,
    held: usize,
    /// Pipes that it was promised and has not taken, ...
    promised: usize,
    /// ... and those that it may take beyond that if there are any.
    more: usize,
}

impl Pipes {
    /// Bytes in them.
    pub fn held(&self) -> usize {
        self.held
    }

    fn extend(&mut self) -> bool {
        if self.promised == 0 && self.more > 0 && self.shelf.raise(1, 0) {
            (self.promised, self.more) = (1, self.more - 1);
        }
        let pipe = if self.promised > 0 { self.shelf.take() } else { None };
        self.promised -= usize::from(pipe.is_some());
        let is_extended = pipe.is_some();
        self.row.extend(pipe);
        is_extended
    }

    /// Nothing more will come: others may have the pipes that were promised and are not needed.
    pub(super) fn finish(&mut self) {
        self.shelf.lower(std::mem::take(&mut self.promised));
    }

    /// Moves bytes in from a socket, without blocking, at most so many.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>, most: usize) -> Filled {
        let mut is_again = false;
        loop {
            if self.row.back().is_none_or(|last| last.held >= FULL) && !self.extend() {
                return Filled::NoRoom;
            }
            let Some(last) = self.row.back_mut() else { return Filled::NoRoom };
            match rustix::pipe::splice(socket, None, &last.into, None, most, FLAGS) {
                Ok(0) => return Filled::End,
                Ok(count) => {
                    last.held += count;
                    self.held += count;
                    return Filled::Some(count);
                }
                Err(Errno::INTR) => {}
                // The pipe is full, which comes before whatever the socket has, also its end; or the socket has nothing.
                Err(Errno::AGAIN) => {
                    let may_be_full = last.held > 0;
                    match rustix::net::recv(socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
                        Ok((_, 0)) => return Filled::End,
                        Err(Errno::AGAIN) => return Filled::Nothing,
                        Err(Errno::INTR) => {}
                        Err(_) => return Filled::NoRoom,
                        // It may have come since.
                        Ok(_) if !is_again => is_again = true,
                        Ok(_) if may_be_full && self.extend() => {}
                        Ok(_) => return Filled::NoRoom,
                    }
                }
                Err(_) => return Filled::NoRoom,
            }
        }
    }

    /// Moves at most `most` bytes to a socket, without blocking; says how many.
    ///
    /// # Errors
    /// As of a non-blocking write, if nothing was moved.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let mut sent = 0;
        while sent < most
            && let Some(first) = self.row.front_mut()
        {
            match rustix::pipe::splice(&first.from, None, socket, None, (most - sent).min(first.held), FLAGS) {
                Ok(0) => break,
                Ok(count) => {
                    first.held -= count;
                    self.held -= count;
                    sent += count;
                    if first.held == 0
                        && let Some(empty) = self.row.pop_front()
                    {
                        self.shelf.give_back(empty);
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) if sent > 0 => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(sent)
    }

    /// Appends all that they hold to memory that has room for it.
    pub(super) fn read_into(&mut self, memory: &mut Vec<u8>) {
        while let Some(mut pipe) = self.row.pop_front() {
            // A pipe of ours that holds so many bytes gives them.
            let read = (&pipe.from).take(pipe.held as u64).read_to_end(memory).unwrap_or(0);
            pipe.held -= read;
            self.shelf.give_back(pipe);
        }
        self.held = 0;
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        self.finish();
        for pipe in self.row.drain(..) {
            self.shelf.give_back(pipe);
        }
    }
}
