//! A program that negotiates a lane by hand: bytes over a socket, descriptors beside them.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::support::{GREETING, Request, WATCHDOG, code, registration};

pub(crate) const REQUEST: &[u8; 9] = b"BUSW\0\x01\x05\0\0";
pub(crate) const READY: &[u8; 9] = b"BUSW\0\x02\0\0\0";
pub(crate) const FAILED: &[u8; 9] = b"BUSW\0\x03\0\0\0";
const OFFER: &[u8; 6] = b"\0BUS\x01\0";
const SWITCH: &[u8; 6] = b"\0BUS\x02\0";
const SEGMENT: u8 = 0x30;

/// A registered client with a socket, and what came over it.
pub(crate) struct Applicant {
    pub(crate) socket: UnixStream,
    pub(crate) name: String,
    descriptors: VecDeque<OwnedFd>,
    /// Messages of four bytes that came over the socket.
    pub(crate) numbers: Vec<u32>,
}

/// A segment that the broker sends beside the lane.
pub(crate) struct Introduction {
    pub(crate) number: u32,
    pub(crate) length: usize,
    pub(crate) descriptor: OwnedFd,
    /// What has to be said to show that this was read.
    pub(crate) token: u64,
}

/// A frame of the socket: its head and, of some kinds, a body.
struct Frame {
    head: [u8; 6],
    body: Vec<u8>,
}

impl Applicant {
    pub(crate) fn register(socket: &Path, name: &str) -> Self {
        let socket = UnixStream::connect(socket).expect("the broker accepts");
        socket.set_read_timeout(Some(WATCHDOG)).expect("a socket has a timeout");
        socket.set_write_timeout(Some(WATCHDOG)).expect("a socket has a timeout");
        let mut greeting = [0; 3];
        (&socket).read_exact(&mut greeting).expect("the broker greets");
        assert_eq!(greeting, GREETING);
        let applicant = Self { socket, name: name.to_owned(), descriptors: VecDeque::new(), numbers: Vec::new() };
        applicant.write(&GREETING);
        applicant.expect_code();
        applicant.write(&registration(name.as_bytes()));
        applicant.expect_code();
        applicant
    }

    fn expect_code(&self) {
        let mut byte = [0];
        (&self.socket).read_exact(&mut byte).expect("the broker answers");
        assert_eq!(byte[0], code::OK);
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        (&self.socket).write_all(bytes).expect("the broker takes what is written");
    }

    pub(crate) fn send(&self, request: &Request) {
        self.write(&request.bytes());
    }

    /// The descriptors of the offer, once it has come: up, down, up bell, down bell.
    pub(crate) fn offer(&mut self) -> [OwnedFd; 4] {
        self.await_ping(OFFER);
        let descriptors: Vec<OwnedFd> = self.descriptors.drain(..).collect();
        descriptors.try_into().expect("four descriptors ride on the offer")
    }

    pub(crate) fn await_switch(&mut self) {
        self.await_ping(SWITCH);
    }

    /// The next segment that comes over the socket.
    pub(crate) fn segment(&mut self) -> Introduction {
        loop {
            let frame = self.next_frame().expect("a segment is expected");
            if frame.head[0] == SEGMENT {
                let number = |range: std::ops::Range<usize>| {
                    let mut bytes = [0; 8];
                    bytes[..range.len()].copy_from_slice(&frame.body[range]);
                    u64::from_le_bytes(bytes)
                };
                return Introduction {
                    number: u32::try_from(number(0..4)).expect("four bytes"),
                    length: usize::try_from(number(4..12)).expect("a length"),
                    token: if frame.body.len() >= 25 { number(17..25) } else { 0 },
                    descriptor: self.descriptors.pop_front().expect("a descriptor rides on it"),
                };
            }
        }
    }

    /// A segment, if one has come.
    pub(crate) fn segment_if_any(&mut self) -> Option<Introduction> {
        let mut head = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(&self.socket, &mut head, flags) {
            Ok((_, 1)) if head[0] == SEGMENT => Some(self.segment()),
            _ => None,
        }
    }

    fn await_ping(&mut self, wanted: &[u8; 6]) {
        while self.next_frame().expect("the broker answers").head != *wanted {}
    }

    /// The broker says this, whatever comes after it in the ping.
    pub(crate) fn expect_ping(&mut self, wanted: &[u8; 5]) {
        while self.next_frame().expect("the broker answers").head[..5] != *wanted {}
    }

    /// A message comes over the socket.
    pub(crate) fn expect_delivery(&mut self) {
        while self.next_frame().expect("a message is expected").head[0] != 0x12 {}
    }

    /// Reads until the broker ends the connection.
    pub(crate) fn expect_closed(&mut self) {
        while let Ok(frame) = self.next_frame() {
            drop(frame);
        }
    }

    fn next_frame(&mut self) -> io::Result<Frame> {
        let mut head = [0; 6];
        self.read(&mut head)?;
        let has_body = !matches!(head[0], 0x00 | 0xFE);
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut body = vec![0; if has_body { length } else { 0 }];
        self.read(&mut body)?;
        if head[0] == 0x12
            && let Some(number) = body.last_chunk()
        {
            self.numbers.push(u32::from_le_bytes(*number));
        }
        Ok(Frame { head, body })
    }

    /// Reads bytes, and keeps the descriptors that come along.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(&mut bytes[done..])];
            let message = match rustix::net::recvmsg(&self.socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::AGAIN) => panic!("watchdog: nothing comes to {}", self.name),
                received => received?,
            };
            for part in control.drain() {
                if let RecvAncillaryMessage::ScmRights(received) = part {
                    self.descriptors.extend(received);
                }
            }
            if message.bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            done += message.bytes;
        }
        Ok(())
    }
}
