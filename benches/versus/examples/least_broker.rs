//! The least that a broker of BUS/RT clients can do: one thread, `epoll`, one read and one write for each message.
//!
//! No topics, no limits, no queues, no checks: it shows what sleeping, waking and the sockets cost whoever is between
//! two clients. In place of `buswayd`, where only round trips are measured:
//!
//! ```sh
//! cargo build --release --target-dir target --manifest-path benches/versus/Cargo.toml --example least_broker
//! tools/versus.sh compare --only round_trip --payloads 64 --systems busrt,buswayd-busrt-client \
//!   --buswayd target/release/examples/least_broker
//! ```

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

const HELLO: [u8; 3] = [0xEB, 1, 0];
const OK: u8 = 1;
const MESSAGE: u8 = 0x12;
const CLIENT_HEAD: usize = 9;

enum Step {
    Greeting,
    Name,
    Registered(Vec<u8>),
}

struct Connection {
    socket: UnixStream,
    step: Step,
    input: Vec<u8>,
}

fn main() -> io::Result<()> {
    let path = std::env::args().nth(2).ok_or_else(|| io::Error::other("usage: least_broker -B PATH"))?;
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    let waiting = epoll::create(CreateFlags::CLOEXEC)?;
    let number = |socket: &dyn AsRawFd| u64::from(socket.as_raw_fd().unsigned_abs());
    let listening = number(&listener);
    epoll::add(&waiting, &listener, EventData::new_u64(listening), EventFlags::IN)?;
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut names: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut events = Vec::with_capacity(64);
    let mut output = Vec::new();
    loop {
        events.clear();
        epoll::wait(&waiting, spare_capacity(&mut events), None)?;
        for event in &events {
            let key = event.data.u64();
            if key == listening {
                let (socket, _) = listener.accept()?;
                socket.set_nonblocking(true)?;
                (&socket).write_all(&HELLO)?;
                let key = number(&socket);
                epoll::add(&waiting, &socket, EventData::new_u64(key), EventFlags::IN | EventFlags::ET)?;
                connections.insert(key, Connection { socket, step: Step::Greeting, input: Vec::new() });
                continue;
            }
            let Some(connection) = connections.get_mut(&key) else { continue };
            if !connection.read()? {
                connections.remove(&key);
                continue;
            }
            while let Some(connection) = connections.get_mut(&key) {
                let Some((target, length)) = connection.advance(key, &mut names, &mut output)? else { break };
                connection.input.drain(..length);
                if let Some(receiver) = target.and_then(|target| connections.get(&target)) {
                    (&receiver.socket).write_all(&output)?;
                }
            }
        }
    }
}

impl Connection {
    /// Reads once, and again only if there was more than fits.
    fn read(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.input.extend_from_slice(&buffer[..count]);
                    if count < buffer.len() {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next step or frame: to whom `output` goes, and how much of the input it took.
    fn advance(
        &mut self,
        key: u64,
        names: &mut HashMap<Vec<u8>, u64>,
        output: &mut Vec<u8>,
    ) -> io::Result<Option<(Option<u64>, usize)>> {
        let input = &self.input;
        match &self.step {
            Step::Greeting if input.len() >= HELLO.len() => {
                self.step = Step::Name;
                (&self.socket).write_all(&[OK])?;
                Ok(Some((None, HELLO.len())))
            }
            Step::Name if input.len() >= 2 => {
                let end = 2 + usize::from(u16::from_le_bytes([input[0], input[1]]));
                let Some(name) = input.get(2..end) else { return Ok(None) };
                names.insert(name.to_vec(), key);
                self.step = Step::Registered(name.to_vec());
                (&self.socket).write_all(&[OK])?;
                Ok(Some((None, end)))
            }
            Step::Registered(name) if input.len() >= CLIENT_HEAD => {
                let length =
                    if input[4] == 0 { 0 } else { u32::from_le_bytes([input[5], input[6], input[7], input[8]]) };
                let end = CLIENT_HEAD + length as usize;
                let Some(body) = input.get(CLIENT_HEAD..end) else { return Ok(None) };
                let (kind, quality) = (input[4] & 0x3F, input[4] >> 6);
                let Some(nul) = body.iter().position(|byte| *byte == 0).filter(|_| kind == MESSAGE) else {
                    return Ok(Some((None, end)));
                };
                let (target, payload) = (&body[..nul], &body[nul + 1..]);
                output.clear();
                output.push(MESSAGE);
                output.extend_from_slice(&u32::try_from(name.len() + 1 + payload.len()).unwrap_or(0).to_le_bytes());
                output.push(quality >> 1);
                output.extend_from_slice(name);
                output.push(0);
                output.extend_from_slice(payload);
                Ok(Some((names.get(target).copied(), end)))
            }
            _ => Ok(None),
        }
    }
}
