//! A broker of raw bytes that does what a test wants, also what no broker should.

use busway::Client;
use busway::client::Builder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::support::{GREETING, TemporaryDirectory, code};

const OK: [u8; 1] = [code::OK];
/// Client flags: bits 6 and 7 are the QoS.
const OPERATION: u8 = 0x3F;
const CONFIRM: u8 = 0x40;

/// A listening socket behind which no broker is.
pub(crate) struct FakeBroker {
    listener: UnixListener,
    directory: TemporaryDirectory,
}

impl FakeBroker {
    pub(crate) fn start() -> Self {
        let directory = TemporaryDirectory::new();
        let listener = UnixListener::bind(directory.join("bus.sock")).expect("a fresh path can be bound");
        Self { listener, directory }
    }

    /// Options of a client that connects here.
    pub(crate) fn builder(&self, name: &str) -> Builder {
        Client::builder(self.directory.join("bus.sock"), name)
    }

    /// A connected client and this broker's end of its connection.
    pub(crate) async fn connect(&self, builder: Builder) -> (Client, FakePeer) {
        let (client, peer) = tokio::join!(builder.connect(), self.accept());
        (client.expect("the handshake is as it should be"), peer)
    }

    /// The next connection, with its handshake done.
    pub(crate) async fn accept(&self) -> FakePeer {
        let mut peer = self.accept_silently().await;
        peer.write(&GREETING).await;
        peer.expect_hello().await;
        peer.write(&OK).await;
        peer.expect_name().await;
        peer.write(&OK).await;
        peer
    }

    /// The next connection, before anything was said.
    pub(crate) async fn accept_silently(&self) -> FakePeer {
        let (stream, _) = self.listener.accept().await.expect("a connection comes");
        FakePeer { stream, name: String::new() }
    }
}

/// The broker's end of a connection.
pub(crate) struct FakePeer {
    stream: UnixStream,
    pub(crate) name: String,
}

/// A frame from a client that is not a ping.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientFrame {
    pub(crate) op_id: u32,
    pub(crate) operation: u8,
    pub(crate) wants_confirmation: bool,
    pub(crate) body: Vec<u8>,
}

impl FakePeer {
    pub(crate) async fn expect_hello(&mut self) {
        assert_eq!(self.read::<3>().await, GREETING);
    }

    pub(crate) async fn expect_name(&mut self) {
        let length = usize::from(u16::from_le_bytes(self.read().await));
        let mut name = vec![0; length];
        self.stream.read_exact(&mut name).await.expect("the name comes");
        self.name = String::from_utf8(name).expect("the name is text");
    }

    async fn read<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).await.expect("the client goes on");
        bytes
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).await.expect("the client takes what is written");
    }

    /// For writes that a closing client may refuse.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    pub(crate) async fn acknowledge(&mut self, op_id: u32, code: u8) {
        let [a, b, c, d] = op_id.to_le_bytes();
        self.write(&[0xFE, a, b, c, d, code]).await;
    }

    /// The next frame that is not a ping; `None` at the end of the connection.
    pub(crate) async fn receive(&mut self) -> Option<ClientFrame> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let [a, b, c, d, flags, length @ ..] = head;
            if flags == 0 {
                continue;
            }
            let mut body = vec![0; usize::try_from(u32::from_le_bytes(length)).expect("a length fits")];
            self.stream.read_exact(&mut body).await.expect("a frame is whole");
            return Some(ClientFrame {
                op_id: u32::from_le_bytes([a, b, c, d]),
                operation: flags & OPERATION,
                wants_confirmation: flags & CONFIRM != 0,
                body,
            });
        }
    }

    /// The end of the connection; what comes before it is of no interest.
    pub(crate) async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        // A client that closes with bytes unread resets the connection; that is an end, too.
        let _ = self.stream.read_to_end(&mut rest).await;
    }

    /// Reads little by little until the end of the connection; says how many bytes that were.
    pub(crate) async fn sip(&mut self) -> usize {
        let (mut total, mut buffer) = (0, vec![0; 64 << 10]);
        loop {
            match self.stream.read(&mut buffer).await.expect("the client ends in order") {
                0 => return total,
                count => total += count,
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// A keep-alive, and nothing else.
    pub(crate) async fn expect_ping(&mut self) {
        assert_eq!(self.read::<9>().await[4], 0, "a ping has no flags");
    }

    /// The next frame, which has to come.
    pub(crate) async fn expect_frame(&mut self) -> ClientFrame {
        self.receive().await.expect("a frame was to come before the end")
    }
}

/// A delivery as it travels.
pub(crate) fn delivery(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a body fits its length field");
    [&[kind], &length.to_le_bytes()[..], &[0], body].concat()
}
