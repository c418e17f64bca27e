//! Reading a cursor of another client's.

use std::fmt;
use std::iter::FusedIterator;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::Rpc;
use crate::client::SendError;
use crate::rpc::{self, CallError};

/// The records of a cursor as they are asked for, from [`Rpc::cursor`]. It ends after the last record, and after an error.
#[must_use = "nothing is read until it is asked for"]
pub struct Cursor<T> {
    /// It keeps the RPC layer alive, so that it goes first.
    cursor: rpc::Cursor<T>,
    rpc: Rpc,
    is_at_end: bool,
}

impl<T: DeserializeOwned + Send + 'static> Cursor<T> {
    pub(super) fn new(cursor: rpc::Cursor<T>, rpc: Rpc) -> Self {
        Self { cursor, rpc, is_at_end: false }
    }

    /// Reads so many records at once, by the method `NB`, instead of one by one by `N`.
    pub fn bulk(self, count: u64) -> Self {
        Self { cursor: self.cursor.bulk(count), ..self }
    }

    /// The method by which this service hands out records.
    pub fn method(self, method: &str) -> Self {
        Self { cursor: self.cursor.method(method), ..self }
    }

    /// How long each answer may take, in place of [`Builder::deadline`](rpc::Builder::deadline).
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { cursor: self.cursor.deadline(deadline), ..self }
    }
}

impl<T: DeserializeOwned + Send + 'static> Iterator for Cursor<T> {
    type Item = Result<T, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_at_end {
            return None;
        }
        let record = self.rpc.client().runtime().run(self.cursor.next());
        let record = record.unwrap_or(Some(Err(CallError::Send(SendError::Disconnected))));
        self.is_at_end = !matches!(record, Some(Ok(_)));
        record
    }
}

impl<T: DeserializeOwned + Send + 'static> FusedIterator for Cursor<T> {}

impl<T> fmt::Debug for Cursor<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cursor.fmt(formatter)
    }
}
