//! A broker that gives a client its lane and never answers what the client asks there.

use std::collections::VecDeque;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use busway::Client;
use busway_net::wire::{BrokerHeader, BrokerTag, ClientHeader, ClientTag, HELLO, ResultCode};
use busway_shm::layout::{ControlLayout, HEADER, Header, MAGIC, VERSION, flag, operation};
use busway_shm::{Consumer, DownBell, OwnMemory, OwnSegment, PeerSegment, Run, UpBell, create_for_peer};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use zerocopy::IntoBytes;

use crate::support::{on_lane, until};

const LAYOUT: ControlLayout = ControlLayout { ring: 128 << 10, slots: 64 };
const ARENA_BYTES: u64 = 1 << 30;

pub(crate) struct SilentBroker {
    stream: UnixStream,
    consumer: Consumer<Arc<OwnSegment>, Arc<PeerSegment>>,
    down_bell: DownBell,
    /// The client's bell stays open.
    _up_bell: UpBell,
    /// Arenas that it was asked for.
    pub(crate) questions: usize,
    frames: VecDeque<Vec<u8>>,
    /// Of the frame that is arriving in pieces.
    pieces: Vec<u8>,
}

impl SilentBroker {
    /// The broker, and a client of it that is on the lane.
    pub(crate) async fn start() -> (Self, Client) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("busway-silent-{}-{number}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a fresh path can be bound");
        let serving = tokio::task::spawn_blocking(move || Self::serve(&listener));
        let client = Client::connect(PathBuf::clone(&path), "client").await.expect("it connects");
        let broker = serving.await.expect("the client takes the lane over");
        on_lane(&client).await;
        let _ = std::fs::remove_file(path);
        (broker, client)
    }

    fn serve(listener: &UnixListener) -> Self {
        let (mut stream, _) = listener.accept().expect("a client comes");
        stream.write_all(&HELLO).expect("it listens");
        read::<3>(&mut stream);
        stream.write_all(&[ResultCode::OK.0]).expect("it listens");
        let length = u16::from_le_bytes(read(&mut stream));
        stream.read_exact(&mut vec![0; usize::from(length)]).expect("its name");
        stream.write_all(&[ResultCode::OK.0]).expect("it listens");
        await_tag(&mut stream, |tag| matches!(tag, ClientTag::Request { .. }));

        let total = LAYOUT.total();
        let up = create_for_peer(c"silent-up", total).expect("a segment");
        let (down, down_descriptor) = OwnSegment::create(c"silent-down", total, 0).expect("a segment");
        down.write(HEADER, header().as_bytes());
        let up_bell = UpBell::new().expect("a bell");
        let (down_bell, waiter) = DownBell::of_trusted().expect("a bell");
        let descriptors = [up.as_fd(), down_descriptor.as_fd(), up_bell.as_fd(), waiter.as_fd()];
        send(&stream, &BrokerTag::Offer.encode(), &descriptors);
        await_tag(&mut stream, |tag| matches!(tag, ClientTag::Ready));
        let up = PeerSegment::adopt(&up, total).expect("the client has allocated it");
        stream.write_all(&BrokerTag::Switch.encode()).expect("it listens");
        let consumer = Consumer::new(Arc::new(down), Arc::new(up), LAYOUT);
        let (frames, pieces) = (VecDeque::new(), Vec::new());
        Self { stream, consumer, down_bell, _up_bell: up_bell, questions: 0, frames, pieces }
    }

    /// The payload of the next frame.
    pub(crate) async fn next_frame(&mut self) -> Vec<u8> {
        until(|| {
            self.read();
            !self.frames.is_empty()
        })
        .await;
        self.frames.pop_front().expect("there is one")
    }

    /// Waits until it is asked for an arena.
    pub(crate) async fn expect_question(&mut self) {
        let before = self.questions;
        until(|| {
            self.read();
            self.questions > before
        })
        .await;
    }

    /// Reads what is in the ring.
    fn read(&mut self) {
        while let Some(record) = self.consumer.next_record().expect("the client keeps the rules") {
            let descriptor = record.descriptor;
            if descriptor.operation == operation::ARENA_WANTED {
                self.questions += 1;
                continue;
            }
            assert_eq!(descriptor.flags & flag::IN_PLACE, 0, "it has no arena");
            if record.is_run() {
                let mut payloads = Vec::new();
                self.consumer.copy_payload(&record, &mut payloads);
                let mut run = Run::of(&record, 0).expect("the client keeps the rules");
                while let Some(place) = run.next_place(&payloads).expect("the client keeps the rules") {
                    self.frames.push_back(payloads[place].to_vec());
                }
                continue;
            }
            self.consumer.copy_payload(&record, &mut self.pieces);
            if descriptor.flags & flag::MORE == 0 {
                self.frames.push_back(std::mem::take(&mut self.pieces));
            }
        }
        if self.consumer.release() {
            self.down_bell.ring();
        }
        // The client waits for the bell when it finds nothing; nobody waits for it here.
    }

    /// Ends the connection.
    pub(crate) fn leave(self) {
        drop(self.stream);
    }
}

fn header() -> Header {
    let (ring, slots) = (128 << 10, 64);
    Header {
        magic: MAGIC.into(),
        version: VERSION.into(),
        features: 0.into(),
        up_ring: ring.into(),
        down_ring: ring.into(),
        leases: slots.into(),
        submissions: slots.into(),
        inline_max: 512.into(),
        arena_bytes: ARENA_BYTES.into(),
        max_payload: ARENA_BYTES.into(),
        reserved: [0; 16],
    }
}

fn read<const N: usize>(stream: &mut UnixStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).expect("the client goes on");
    bytes
}

fn await_tag(stream: &mut UnixStream, is_wanted: impl Fn(&ClientTag) -> bool) {
    while !ClientTag::parse(&read::<{ ClientHeader::SIZE }>(stream)).is_some_and(|tag| is_wanted(&tag)) {}
}

fn send(stream: &UnixStream, bytes: &[u8; BrokerHeader::SIZE], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)), "there is space for four");
    rustix::net::sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).expect("it listens");
}
