//! The open cursors of a service.

use std::io;
use std::time::Duration;

use serde::Serialize;

use super::super::runtime::{NobodyWakes, Runtime};
use crate::payload::Payload;
use crate::rpc::{self, CursorHandle, Records, RpcError};

/// The open cursors of a service. Clones are one and the same.
///
/// ```no_run
/// # fn customers(client: busway::blocking::Client) -> std::io::Result<()> {
/// use std::time::Duration;
/// use busway::blocking::rpc::{Cursors, Methods, Rpc};
///
/// let cursors = Cursors::new(Duration::from_secs(30))?;
/// let opened = cursors.clone();
/// let methods = Methods::new()
///     .cursors(&cursors)
///     .typed_method("list", move |(): (), _| opened.open_packed(["anna", "bert"]));
/// let _service = Rpc::new(client, methods);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Cursors {
    cursors: rpc::Cursors,
    runtime: &'static Runtime,
}

impl Cursors {
    /// Cursors that are forgotten when nobody has used them for so long; at most 1024 at once.
    ///
    /// # Errors
    /// When the thread behind all blocking clients cannot be started.
    pub fn new(time_to_live: Duration) -> io::Result<Self> {
        let runtime = Runtime::current()?;
        Ok(Self { cursors: runtime.within(|| rpc::Cursors::new(time_to_live)), runtime })
    }

    /// As [`new`](Cursors::new), with another limit.
    ///
    /// # Errors
    /// As [`new`](Cursors::new).
    pub fn with_limit(time_to_live: Duration, max_open: usize) -> io::Result<Self> {
        let runtime = Runtime::current()?;
        Ok(Self { cursors: runtime.within(|| rpc::Cursors::with_limit(time_to_live, max_open)), runtime })
    }

    /// As [`Cursors::limit_answers`](rpc::Cursors::limit_answers).
    pub fn limit_answers(&self, bytes: usize) {
        self.cursors.limit_answers(bytes);
    }

    /// Opens a cursor over records as they travel. A record has at least one byte, and to be read in bulk it is one
    /// MessagePack value. The iterator runs on the thread of the request that asks for a record, and may block.
    ///
    /// # Errors
    /// The answer for the caller when too many are open.
    pub fn open<I>(&self, records: I) -> Result<CursorHandle, RpcError>
    where
        I: IntoIterator<Item = Result<Payload, RpcError>, IntoIter: Send + 'static>,
    {
        self.cursors.open(Iterated(records.into_iter()))
    }

    /// Opens a cursor over values that are packed one by one as they are asked for.
    ///
    /// # Errors
    /// The answer for the caller when too many are open.
    pub fn open_packed<I>(&self, values: I) -> Result<CursorHandle, RpcError>
    where
        I: IntoIterator<Item: Serialize, IntoIter: Send + 'static>,
    {
        self.cursors.open_packed(values)
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.cursors.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.cursors.is_empty()
    }

    /// Closes a cursor that nobody will read to its end.
    pub fn close(&self, handle: &CursorHandle) {
        self.cursors.close(handle);
    }

    /// The next record; no bytes at the end, which closes the cursor.
    ///
    /// # Errors
    /// The answer for the caller: not found, when there is no such cursor or it was forgotten; or what the source says.
    pub fn next(&self, handle: &CursorHandle) -> Result<Payload, RpcError> {
        self.runtime.run(self.cursors.next(handle)).unwrap_or_else(|NobodyWakes| Err(unusable()))
    }

    /// An array of the next records, as many as the handle says; fewer at the end, which closes the cursor.
    ///
    /// # Errors
    /// As [`next`](Cursors::next), and when more records or bytes are asked for than an answer may have. No record is
    /// lost by it.
    pub fn next_bulk(&self, handle: &CursorHandle) -> Result<Payload, RpcError> {
        self.runtime.run(self.cursors.next_bulk(handle)).unwrap_or_else(|NobodyWakes| Err(unusable()))
    }
}

fn unusable() -> RpcError {
    RpcError::internal("the cursors are those of the parent process")
}

struct Iterated<I>(I);

impl<I: Iterator<Item = Result<Payload, RpcError>> + Send + 'static> Records for Iterated<I> {
    async fn next(&mut self) -> Result<Option<Payload>, RpcError> {
        self.0.next().transpose()
    }
}
