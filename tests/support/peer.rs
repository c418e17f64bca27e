//! A client of raw bytes. It knows the frames and nothing of what they mean.

use std::io::{self, ErrorKind, Read, Write};

use super::stream::Stream;
use super::{Delivery, Frame, Kind, Request, code};

/// What both sides say first: the greeting byte and version 1.
pub(crate) const GREETING: [u8; 3] = [0xEB, 0x01, 0x00];

const CONFIRMATION: u8 = 0xFE;
const PING: u8 = 0x00;

pub(crate) struct WirePeer {
    stream: Stream,
    name: String,
    last_op_id: u32,
    /// Frames that the broker has told to have dropped.
    pub(crate) gaps: u32,
}

/// Handshake.
impl WirePeer {
    /// Takes a fresh connection; nothing has been said on it yet.
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, name: String::new(), last_op_id: 0, gaps: 0 }
    }

    pub(crate) fn expect_greeting(&mut self) {
        assert_eq!(self.read(3), GREETING, "the broker greets first");
    }

    /// The whole handshake; what comes back is the last code the broker sent.
    pub(crate) fn introduce(&mut self, name: &str) -> u8 {
        self.expect_greeting();
        self.write(GREETING);
        let code = self.read_code();
        if code != code::OK {
            return code;
        }
        // A broker may refuse a name before it has read the whole of it; then the code tells, not the write.
        let _ = self.try_write(registration(name.as_bytes()));
        name.clone_into(&mut self.name);
        self.read_code()
    }

    pub(crate) fn read_code(&mut self) -> u8 {
        self.read(1)[0]
    }

    /// For a handshake that a test made by hand: the name that `expect_nothing` addresses.
    pub(crate) fn is_now(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }
}

/// Frames out.
impl WirePeer {
    pub(crate) fn send(&mut self, request: &Request) {
        self.write(request.bytes());
    }

    /// Sends the request with a fresh op id, to be confirmed, and returns the code. Nothing else may come first.
    pub(crate) fn confirm(&mut self, request: Request) -> u8 {
        self.last_op_id += 1;
        let expected = self.last_op_id;
        self.send(&request.confirmed().op_id(expected));
        match self.receive() {
            Frame::Confirmation { op_id, code } if op_id == expected => code,
            other => panic!("{}: expected the confirmation of {expected}, got {other:?}", self.name),
        }
    }

    /// As `confirm`, for what must succeed.
    pub(crate) fn perform(&mut self, request: Request) {
        let code = self.confirm(request);
        assert_eq!(code, code::OK, "{}: the broker refused with {code:#04x}", self.name);
    }

    pub(crate) fn ping(&mut self) {
        self.write([0; 9]);
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_write(bytes).expect("the broker takes what is written");
    }

    /// For writes that a closing broker may refuse.
    pub(crate) fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    pub(crate) fn finish_writing(&self) {
        self.stream.finish_writing().expect("the sending half can be ended");
    }

    /// Closes, in such a way that the broker can see it at once. A mere drop may take a moment more: a process that another
    /// test is about to start holds a copy of the descriptor until it executes its program.
    pub(crate) fn leave(self) {
        self.finish_writing();
    }
}

/// Frames in.
impl WirePeer {
    /// The next frame that is not a ping.
    pub(crate) fn receive(&mut self) -> Frame {
        self.try_receive().unwrap_or_else(|error| panic!("{}: a frame was expected: {error}", self.name))
    }

    /// As `receive`, for connections that end.
    pub(crate) fn try_receive(&mut self) -> io::Result<Frame> {
        loop {
            let mut head = [0; 6];
            self.stream.read_exact(&mut head)?;
            let [kind, number @ .., last] = head;
            let number = u32::from_le_bytes(number);
            match kind {
                // "G": frames that the broker has dropped before the next one.
                PING if last == b'G' => self.gaps += number,
                PING => {}
                CONFIRMATION => return Ok(Frame::Confirmation { op_id: number, code: last }),
                kind => {
                    let kind = Kind::from_byte(kind);
                    assert!(last <= 1, "byte 5 of a frame is 0 or 1, not {last}");
                    let mut body = vec![0; usize::try_from(number).expect("a length fits")];
                    self.stream.read_exact(&mut body)?;
                    return Ok(Frame::Delivery(Delivery::parse(kind, last == 1, &body)));
                }
            }
        }
    }

    pub(crate) fn receive_delivery(&mut self) -> Delivery {
        match self.receive() {
            Frame::Delivery(delivery) => delivery,
            Frame::Confirmation { op_id, code } => {
                panic!("{}: expected a frame, got the confirmation of {op_id} with {code:#04x}", self.name)
            }
        }
    }

    pub(crate) fn expect(&mut self, expected: &Delivery) {
        let received = self.receive_delivery();
        assert_eq!(&received, expected, "what {} received", self.name);
    }

    pub(crate) fn expect_confirmation(&mut self, op_id: u32, code: u8) {
        assert_eq!(self.receive(), Frame::Confirmation { op_id, code }, "what {} received", self.name);
    }

    /// Nothing is on its way: a message to itself arrives before anything else. This holds for what other peers did
    /// once the broker has confirmed it to them, and needs no guess about how long silence has to last.
    pub(crate) fn expect_nothing(&mut self) {
        let name = self.name.clone();
        let marker = "nothing came before this";
        self.send(&Request::message(&name, marker));
        self.expect(&Delivery::message(marker).from(&name));
    }

    /// The broker ends the connection and says nothing more.
    pub(crate) fn expect_closed(&mut self) {
        match self.try_receive() {
            Ok(frame) => panic!("{}: expected the end of the connection, got {frame:?}", self.name),
            Err(error) if is_end(&error) => {}
            Err(error) => panic!("{}: the broker did not close the connection: {error}", self.name),
        }
    }

    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        if let Err(error) = self.stream.read_exact(&mut bytes) {
            panic!("{}: {count} bytes were expected: {error}", self.name);
        }
        bytes
    }

    /// Reads until the connection ends and counts what came.
    pub(crate) fn drain(&mut self) -> usize {
        let mut buffer = vec![0; 64 * 1024];
        let mut total = 0;
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return total,
                Ok(count) => total += count,
                Err(error) if is_end(&error) => return total,
                Err(error) => panic!("{}: the broker did not close the connection: {error}", self.name),
            }
        }
    }

    /// The same connection once more, for a second thread.
    pub(crate) fn second_handle(&self) -> Self {
        let stream = self.stream.try_clone().expect("a socket can be shared");
        Self { stream, name: self.name.clone(), last_op_id: self.last_op_id, gaps: 0 }
    }
}

/// The last two steps of the client's part of the handshake in one: length and name.
pub(crate) fn registration(name: &[u8]) -> Vec<u8> {
    let length = u16::try_from(name.len()).expect("a name fits its length field");
    [&length.to_le_bytes()[..], name].concat()
}

/// A broker that closes with bytes unread resets the connection; both are an end.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
