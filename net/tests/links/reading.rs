//! What a reader is told.

use std::future::Future;
use std::io::IoSlice;
use std::pin::pin;
use std::task::{Context, Waker};

use busway_net::Pool;
use busway_net::link::{Chunk, Endpoint, FrameReader, Listener, Socket};
use busway_net::wire::{CLIENT_PING, ClientFrames};

use super::support::{TemporaryDirectory, read_exactly, read_to_end, watched};

fn send(socket: &Socket, bytes: &[u8]) {
    assert_eq!(socket.try_write(&[IoSlice::new(bytes)]).expect("there is room"), bytes.len());
}

/// Both ends of a connection of each kind.
async fn connections() -> Vec<(Socket, Socket)> {
    let directory = TemporaryDirectory::new();
    let mut connections = vec![Socket::pair().expect("a pair of sockets")];
    for endpoint in [Endpoint::from(directory.join("bus.sock")), Endpoint::from("127.0.0.1:0")] {
        let listener = Listener::bind(&endpoint, 0o600).expect("it can be bound");
        let endpoint = listener.local_endpoint();
        let (connected, accepted) = tokio::join!(Socket::connect(&endpoint), listener.accept());
        connections.push((connected.expect("connected"), accepted.expect("accepted").0));
    }
    connections
}

#[tokio::test]
async fn a_read_says_whether_there_may_be_more() {
    for (one, other) in connections().await {
        let mut room = Vec::with_capacity(4);
        send(&one, b"abcdef");
        let mut readiness = watched("bytes", other.readable()).await.expect("the runtime goes on");
        assert_eq!(readiness.read(&mut room).expect("a read"), Chunk::Full(room.capacity()));
        let rest = 6 - room.len();
        room.reserve(100);
        assert_eq!(readiness.read(&mut room).expect("a read"), Chunk::Last(rest));
        assert_eq!(room, b"abcdef");
        assert_eq!(readiness.read(&mut room).expect("a read"), Chunk::Empty);
        assert_eq!(room, b"abcdef", "nothing was lost or added");
    }
}

#[tokio::test]
async fn a_short_read_is_known_to_be_the_last_without_another_call() {
    let (one, other) = Socket::pair().expect("a pair of sockets");
    send(&one, b"all there is");
    let mut room = Vec::with_capacity(100);
    let mut readiness = watched("bytes", other.readable()).await.expect("the runtime goes on");
    assert_eq!(readiness.read(&mut room).expect("a read"), Chunk::Last(12));
    let mut readable = pin!(other.readable());
    assert!(readable.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    send(&one, b".");
    let mut readiness = watched("another byte", readable).await.expect("the runtime goes on");
    assert_eq!(readiness.read(&mut room).expect("a read"), Chunk::Last(1));
}

#[tokio::test]
async fn the_end_right_behind_the_last_byte_is_seen() {
    for _ in 0..100 {
        for (one, other) in connections().await {
            send(&one, b"last words");
            drop(one);
            assert_eq!(watched("the end", read_to_end(&other, 100)).await, b"last words");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_seen_by_whoever_already_waits() {
    for _ in 0..200 {
        let (one, other) = Socket::pair().expect("a pair of sockets");
        let reader = tokio::spawn(async move { read_to_end(&other, 1 << 20).await });
        let writer = std::thread::spawn(move || {
            for _ in 0..10 {
                send(&one, b"0123456789");
            }
            // The end falls anywhere between the reader's reads.
        });
        assert_eq!(watched("the end", reader).await.expect("no panic").len(), 100);
        writer.join().expect("no panic");
    }
}

#[tokio::test]
async fn a_reset_is_an_end_or_an_error_and_no_hang() {
    for (one, other) in connections().await {
        // Bytes that nobody reads make the close a reset.
        send(&other, b"unread");
        send(&one, b"last words");
        drop(one);
        let mut room = Vec::with_capacity(100);
        watched("the end", async {
            loop {
                let mut readiness = other.readable().await.expect("the runtime goes on");
                match readiness.read(&mut room) {
                    Ok(Chunk::End) | Err(_) => break,
                    Ok(_) => {}
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn shutting_down_wakes_both_ends() {
    for (one, other) in connections().await {
        let waits = async { tokio::join!(read_to_end(&one, 0), read_to_end(&other, 0)) };
        let mut waits = std::pin::pin!(waits);
        tokio::select! {
            biased;
            _ = &mut waits => panic!("nothing has ended"),
            () = tokio::task::yield_now() => {}
        }
        one.shut_down();
        watched("both ends", waits).await;
        assert!(one.try_write(&[IoSlice::new(b"late")]).is_err());
    }
}

#[tokio::test]
async fn a_frame_reader_goes_from_a_handshake_to_frames() {
    let (one, other) = Socket::pair().expect("a pair of sockets");
    let mut reader = FrameReader::new(ClientFrames::default(), Pool::default());
    send(&one, b"hello");
    send(&one, &[CLIENT_PING.as_slice(), &CLIENT_PING[..4]].concat());
    let mut readiness = watched("bytes", other.readable()).await.expect("the runtime goes on");
    assert_eq!(reader.read(&mut readiness).expect("a read"), Chunk::Last(18));
    assert_eq!(reader.assembler_mut().pending()[..5], *b"hello");
    reader.assembler_mut().consume(5);
    assert!(reader.next_frame().expect("a ping").is_some());
    assert!(reader.next_frame().expect("half a ping").is_none());
    assert!(reader.is_amid());
    reader.release();
    send(&one, &CLIENT_PING[4..]);
    let mut readiness = watched("bytes", other.readable()).await.expect("the runtime goes on");
    assert_eq!(reader.read(&mut readiness).expect("a read"), Chunk::Last(5));
    assert!(reader.next_frame().expect("a ping").is_some());
    assert!(!reader.is_amid());
    drop(one);
    let mut readiness = watched("the end", other.readable()).await.expect("the runtime goes on");
    assert_eq!(reader.read(&mut readiness).expect("a read"), Chunk::End);
}

#[tokio::test]
async fn what_a_socket_takes_and_gives_is_the_same_over_tcp_and_unix() {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 241).to_le_bytes()[0]).collect();
    for (one, other) in connections().await {
        let writer = async {
            let mut at = 0;
            while at < bytes.len() {
                match one.try_write(&[IoSlice::new(&bytes[at..])]) {
                    Ok(count) => at += count,
                    Err(_) => one.writable().await.expect("the connection holds"),
                }
            }
        };
        let (read, ()) = watched("every byte", async { tokio::join!(read_exactly(&other, bytes.len()), writer) }).await;
        assert!(read == bytes);
    }
}
