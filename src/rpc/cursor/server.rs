//! The open cursors of a service.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use busway_net::wire::ResultCode;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use super::super::error::{ErrorCode, RpcError};
use super::{CursorHandle, Id};
use crate::payload::Payload;

/// Cursors that may be open at once, unless a service says otherwise.
const MAX_OPEN: usize = 1024;
/// Records of one answer.
const MAX_COUNT: u64 = 65_536;
/// When a time to live ends that is longer than any clock.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// Bytes of one answer.
const MAX_BYTES: usize = 64 << 20;
/// Forgotten cursors are looked for that often within the time that they live, ...
const LOOKS: u32 = 4;
/// ... and not more often than this.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// Where the records of a cursor come from.
pub trait Records: Send + 'static {
    /// The next record; none at the end. A record has at least one byte, and to be read in bulk it is one MessagePack
    /// value.
    fn next(&mut self) -> impl Future<Output = Result<Option<Payload>, RpcError>> + Send;
}

/// The open cursors of a service. Clones are one and the same.
#[derive(Clone)]
pub struct Cursors {
    shared: Arc<Shared>,
}

struct Shared {
    time_to_live: Duration,
    max_open: usize,
    max_bytes: AtomicUsize,
    open: Mutex<HashMap<Id, Open>>,
}

struct Open {
    source: Arc<tokio::sync::Mutex<Source>>,
    expires: Instant,
}

impl Cursors {
    /// Cursors that are forgotten when nobody has used them for so long; at most 1024 at once.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(time_to_live: Duration) -> Self {
        Self::with_limit(time_to_live, MAX_OPEN)
    }

    /// As [`new`](Cursors::new), with another limit.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn with_limit(time_to_live: Duration, max_open: usize) -> Self {
        let shared = Arc::new(Shared { time_to_live, max_open, max_bytes: MAX_BYTES.into(), open: Mutex::default() });
        tokio::spawn(forget_the_forgotten(Arc::downgrade(&shared), time_to_live / LOOKS));
        Self { shared }
    }

    /// The records of one answer have at most so many bytes, instead of 64 MiB (which is the most). Needed where the
    /// service's client has a smaller `max_payload`: what is over that cannot be sent, and its records would be lost.
    /// An answer has 32 bytes beside its records at most.
    pub fn limit_answers(&self, bytes: usize) {
        self.shared.max_bytes.store(bytes.min(MAX_BYTES), Ordering::Relaxed);
    }

    /// Opens a cursor.
    ///
    /// # Errors
    /// The answer for the caller when too many are open.
    pub fn open(&self, records: impl Records) -> Result<CursorHandle, RpcError> {
        let mut id = Id::default();
        getrandom::fill(&mut id).map_err(RpcError::internal)?;
        // A random UUID: version 4, variant 1.
        id[6] = id[6] & 0x0F | 0x40;
        id[8] = id[8] & 0x3F | 0x80;
        let source = Source { back: VecDeque::new(), records: Box::new(records) };
        let opened = Open { source: Arc::new(source.into()), expires: self.shared.expiry() };
        let mut open = self.shared.open.lock();
        if open.len() >= self.shared.max_open {
            return Err(RpcError::new(ErrorCode::transport(ResultCode::BUSY), "too many cursors are open"));
        }
        open.insert(id, opened);
        Ok(CursorHandle::new(id))
    }

    /// Opens a cursor over values that are packed one by one as they are asked for.
    ///
    /// # Errors
    /// The answer for the caller when too many are open.
    pub fn open_packed<I>(&self, values: I) -> Result<CursorHandle, RpcError>
    where
        I: IntoIterator<Item: Serialize, IntoIter: Send + 'static>,
    {
        self.open(Packed(values.into_iter()))
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.shared.open.lock().len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes a cursor that nobody will read to its end.
    pub fn close(&self, handle: &CursorHandle) {
        let closed = self.shared.open.lock().remove(&handle.id);
        // Not under the lock: its records may use these cursors as they are dropped.
        drop(closed);
    }

    /// The next record; no bytes at the end, which closes the cursor.
    ///
    /// # Errors
    /// The answer for the caller: not found, when there is no such cursor or it was forgotten; or what the source says.
    pub async fn next(&self, handle: &CursorHandle) -> Result<Payload, RpcError> {
        let source = self.use_of(handle)?;
        let record = source.lock().await.next().await;
        self.used(handle, matches!(record, Ok(None)));
        Ok(record?.unwrap_or_default())
    }

    /// An array of the next records, as many as the handle says; fewer at the end, which closes the cursor.
    ///
    /// # Errors
    /// As [`next`](Cursors::next), and when more records or bytes are asked for than an answer may have. No record is
    /// lost by it.
    pub async fn next_bulk(&self, handle: &CursorHandle) -> Result<Payload, RpcError> {
        let count = handle.count();
        if count > MAX_COUNT {
            return Err(RpcError::invalid_parameters(format_args!("more than {MAX_COUNT} records at once")));
        }
        let source = self.use_of(handle)?;
        let records = source.lock().await.next_bulk(count, self.shared.max_bytes.load(Ordering::Relaxed)).await;
        self.used(handle, records.as_ref().is_ok_and(|records| (records.len() as u64) < count));
        Ok(array(&records?).into())
    }

    fn use_of(&self, handle: &CursorHandle) -> Result<Arc<tokio::sync::Mutex<Source>>, RpcError> {
        let mut open = self.shared.open.lock();
        match open.get_mut(&handle.id) {
            Some(cursor) if cursor.expires > Instant::now() => {
                cursor.expires = self.shared.expiry();
                Ok(Arc::clone(&cursor.source))
            }
            _ => Err(RpcError::not_found("no such cursor, or it was forgotten")),
        }
    }

    fn used(&self, handle: &CursorHandle, is_at_end: bool) {
        let mut open = self.shared.open.lock();
        if is_at_end {
            open.remove(&handle.id);
        } else if let Some(cursor) = open.get_mut(&handle.id) {
            cursor.expires = self.shared.expiry();
        }
    }
}

impl Shared {
    /// When a cursor that is used now will be forgotten.
    fn expiry(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.time_to_live).unwrap_or(now + NEVER)
    }

    fn take_forgotten(&self) -> Vec<Open> {
        let now = Instant::now();
        // One that is being read is not forgotten.
        let is_forgotten = |cursor: &Open| cursor.expires <= now && Arc::strong_count(&cursor.source) == 1;
        let mut open = self.open.lock();
        open.extract_if(|_, cursor| is_forgotten(cursor)).map(|(_, cursor)| cursor).collect()
    }
}

impl fmt::Debug for Cursors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cursors").field("len", &self.len()).finish_non_exhaustive()
    }
}

async fn forget_the_forgotten(cursors: Weak<Shared>, interval: Duration) {
    loop {
        tokio::time::sleep(interval.max(MIN_INTERVAL)).await;
        let Some(shared) = cursors.upgrade() else { return };
        let forgotten = shared.take_forgotten();
        let last = Arc::into_inner(shared);
        // What the application reads from may block as it is dropped, and others wait for this thread.
        if !forgotten.is_empty() || last.is_some() {
            tokio::task::spawn_blocking(move || drop((forgotten, last)));
        }
    }
}

/// Records, and those that were taken and not handed out.
struct Source {
    back: VecDeque<Payload>,
    records: Box<dyn BoxedRecords>,
}

impl Source {
    async fn next(&mut self) -> Result<Option<Payload>, RpcError> {
        if let Some(record) = self.back.pop_front() {
            return Ok(Some(record));
        }
        match self.records.next().await? {
            Some(record) if record.is_empty() => Err(RpcError::internal("a record without bytes looks like the end")),
            record => Ok(record),
        }
    }

    async fn next_bulk(&mut self, count: u64, max_bytes: usize) -> Result<Vec<Payload>, RpcError> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        let fault = loop {
            if taken.len() as u64 == count {
                return Ok(taken);
            }
            match self.next().await {
                Ok(None) => return Ok(taken),
                Ok(Some(record)) => {
                    bytes += record.len();
                    taken.push(record);
                    if bytes > max_bytes && taken.len() > 1 {
                        let words = format!("{count} records are more than {max_bytes} bytes: ask for fewer");
                        break RpcError::invalid_parameters(words);
                    }
                }
                Err(error) => break error,
            }
        };
        for record in taken.into_iter().rev() {
            self.back.push_front(record);
        }
        Err(fault)
    }
}

type Taken<'a> = Pin<Box<dyn Future<Output = Result<Option<Payload>, RpcError>> + Send + 'a>>;

/// [`Records`] of any type.
trait BoxedRecords: Send {
    fn next(&mut self) -> Taken<'_>;
}

impl<R: Records> BoxedRecords for R {
    fn next(&mut self) -> Taken<'_> {
        Box::pin(Records::next(self))
    }
}

struct Packed<I>(I);

impl<I: Iterator<Item: Serialize> + Send + 'static> Records for Packed<I> {
    async fn next(&mut self) -> Result<Option<Payload>, RpcError> {
        Ok(self.0.next().map(|value| rmp_serde::to_vec_named(&value)).transpose()?.map(Payload::from))
    }
}

/// MessagePack values as one array.
fn array(values: &[Payload]) -> Vec<u8> {
    let length = values.len();
    let mut array = match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..=15), _) => vec![0x90 | length],
        (_, Ok(length)) => [&[0xDC][..], &length.to_be_bytes()].concat(),
        // No more than MAX_COUNT, which has 17 bits.
        _ => [&[0xDD][..], &u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()].concat(),
    };
    values.iter().for_each(|value| array.extend_from_slice(value));
    array
}

#[cfg(test)]
mod tests {
    use super::super::super::pack::pack;
    use super::*;

    #[test]
    fn arrays_of_any_length_are_messagepack() {
        for length in [0_usize, 1, 15, 16, 255, 256, 65_535, 65_536] {
            let packed = array(&vec![Payload::from(vec![7]); length]);
            assert_eq!(rmp_serde::from_slice::<Vec<u8>>(&packed).unwrap(), vec![7; length]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cursor_is_forgotten_after_its_last_use() {
        let cursors = Cursors::new(Duration::from_secs(10));
        let handle = cursors.open_packed(1..100).unwrap();
        for number in 1..5_u8 {
            tokio::time::sleep(Duration::from_secs(9)).await;
            assert_eq!(cursors.next(&handle).await.unwrap().as_slice(), [number]);
        }
        tokio::time::sleep(Duration::from_secs(13)).await;
        assert!(cursors.is_empty(), "also when nobody asks");
        assert_eq!(cursors.next(&handle).await.unwrap_err().code(), ErrorCode::NOT_FOUND);
    }

    /// Ten small records, a large one, an error once, and the end.
    struct Awkward(u8);

    impl Records for Awkward {
        async fn next(&mut self) -> Result<Option<Payload>, RpcError> {
            self.0 += 1;
            match self.0 {
                0..=10 => Ok(Some(vec![self.0].into())),
                11 => Ok(Some(pack(&"x".repeat(MAX_BYTES))?.into())),
                12 => Err(RpcError::internal("just now")),
                13 => Ok(Some(Payload::new())),
                14 => Ok(Some(vec![14].into())),
                _ => Ok(None),
            }
        }
    }

    #[tokio::test]
    async fn an_error_loses_no_record() {
        let cursors = Cursors::new(Duration::from_secs(10));
        let handle = cursors.open(Awkward(0)).unwrap();
        let code = async |count| cursors.next_bulk(&handle.with_count(count)).await.unwrap_err().code();
        assert_eq!(code(MAX_COUNT + 1).await, ErrorCode::INVALID_PARAMETERS);
        assert_eq!(code(11).await, ErrorCode::INVALID_PARAMETERS, "too many bytes");
        assert_eq!(cursors.next_bulk(&handle.with_count(0)).await.unwrap().as_slice(), [0x90]);
        assert_eq!(cursors.next_bulk(&handle.with_count(10)).await.unwrap().len(), 11);
        assert_eq!(code(2).await, ErrorCode::INTERNAL);
        assert!(cursors.next(&handle).await.unwrap().len() > MAX_BYTES, "one record may be as large as it is");
        assert_eq!(cursors.next(&handle).await.unwrap_err().code(), ErrorCode::INTERNAL, "a record without bytes");
        assert_eq!(cursors.next_bulk(&handle.with_count(5)).await.unwrap().as_slice(), [0x91, 14]);
        assert!(cursors.is_empty());
    }

    #[tokio::test]
    async fn answers_are_as_short_as_the_service_says() {
        let cursors = Cursors::new(Duration::from_secs(10));
        cursors.limit_answers(100);
        let handle = cursors.open_packed(["x".repeat(48), "y".repeat(48), "z".repeat(48)]).unwrap();
        let long = cursors.next_bulk(&handle.with_count(3)).await.unwrap_err();
        assert_eq!(long.code(), ErrorCode::INVALID_PARAMETERS);
        assert_eq!(cursors.next_bulk(&handle.with_count(2)).await.unwrap().len(), 1 + 2 * 50);
        cursors.limit_answers(usize::MAX);
        assert_eq!(cursors.next_bulk(&handle.with_count(2)).await.unwrap().len(), 1 + 50, "none was lost");
    }

    #[tokio::test]
    async fn no_more_are_open_than_are_allowed() {
        let cursors = Cursors::with_limit(Duration::from_secs(10), 2);
        let handles = [cursors.open_packed([1]).unwrap(), cursors.open_packed([2]).unwrap()];
        assert_eq!(cursors.open_packed([3]).unwrap_err().code(), ErrorCode(-32118));
        assert_ne!(handles[0], handles[1]);
        assert_eq!((handles[0].uuid()[6] >> 4, handles[0].uuid()[8] >> 6), (4, 2));
        cursors.close(&handles[0]);
        cursors.open_packed([3]).unwrap();
    }
}
