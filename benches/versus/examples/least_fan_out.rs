//! The most that payloads can go from one writer to several readers on this machine, when every byte is written and read:
//! threads that hand each other buffers, and nothing else. Who has a broker, or processes, has all of this to do as well.
//!
//! ```sh
//! cargo run --release --target-dir target --manifest-path benches/versus/Cargo.toml --example least_fan_out -- 4 1048576
//! ```
//!
//! The arguments are readers and bytes of a payload. It prints payloads received a second, by buffers that go around.

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_secs(2);
const BUFFERS: [usize; 5] = [2, 4, 8, 16, 64];

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: &String| text.parse::<usize>().map_err(io::Error::other);
    let [readers, length] = &arguments[..] else {
        return Err(io::Error::other("two arguments are expected: readers, and bytes of a payload"));
    };
    let (readers, length) = (number(readers)?, number(length)?);
    for buffers in BUFFERS {
        println!("{buffers:3} buffers: {:8.0} a second", rate(readers, length, buffers));
    }
    Ok(())
}

/// A buffer that goes back when the last reader drops it.
struct Lent {
    bytes: Vec<u8>,
    home: Sender<Vec<u8>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        // The writer may have ended.
        let _ = self.home.send(std::mem::take(&mut self.bytes));
    }
}

fn rate(readers: usize, length: usize, buffers: usize) -> f64 {
    let (home, free) = channel();
    for _ in 0..buffers {
        let _ = home.send(vec![0xEE; length]);
    }
    let (senders, receivers): (Vec<Sender<Arc<Lent>>>, Vec<_>) = (0..readers).map(|_| channel()).unzip();
    let reading: Vec<_> = receivers.into_iter().map(|payloads| thread::spawn(move || read(&payloads))).collect();
    let source = vec![0xEE; length];
    let begin = Instant::now();
    while begin.elapsed() < TIME {
        let Ok(mut bytes) = free.recv() else { break };
        bytes.copy_from_slice(&source);
        let lent = Arc::new(Lent { bytes, home: home.clone() });
        for sender in &senders {
            let _ = sender.send(Arc::clone(&lent));
        }
    }
    drop(senders);
    let received: u64 = reading.into_iter().filter_map(|reader| reader.join().ok()).sum();
    received as f64 / begin.elapsed().as_secs_f64()
}

/// Reads all of each payload, and says how many there were.
fn read(payloads: &Receiver<Arc<Lent>>) -> u64 {
    let mut count = 0;
    while let Ok(payload) = payloads.recv() {
        black_box(sum(&payload.bytes));
        count += 1;
    }
    count
}

/// As the benchmark's subscribers read.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<64>();
    let mut lanes = [0_u64; 8];
    for word in words {
        for (lane, part) in lanes.iter_mut().zip(word.as_chunks::<8>().0) {
            *lane = lane.wrapping_add(u64::from_ne_bytes(*part));
        }
    }
    let tail = rest.iter().map(|byte| u64::from(*byte));
    lanes.into_iter().chain(tail).fold(0, u64::wrapping_add)
}
