//! Reading a cursor of another client's.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use serde::de::DeserializeOwned;

use super::super::Rpc;
use super::super::error::CallError;
use super::super::pack::{pack, unpack};
use super::{CursorHandle, NEXT, NEXT_BULK};

/// A stream of records, from [`Rpc::cursor`]. It ends after the last record, and after an error.
#[must_use = "nothing is read until it is asked for"]
pub struct Cursor<T> {
    source: Source,
    read: VecDeque<T>,
    reading: Option<Reading<T>>,
    is_at_end: bool,
}

/// Whom to ask, and how.
#[derive(Clone)]
struct Source {
    rpc: Rpc,
    target: String,
    handle: CursorHandle,
    method: String,
    count: Option<u64>,
    deadline: Duration,
}

/// Records, and whether they are the last ones.
type Block<T> = (Vec<T>, bool);
type Reading<T> = Pin<Box<dyn Future<Output = Result<Block<T>, CallError>> + Send>>;

impl<T: DeserializeOwned + Send + 'static> Cursor<T> {
    pub(in crate::rpc) fn new(rpc: &Rpc, target: &str, handle: CursorHandle) -> Self {
        let source = Source {
            rpc: rpc.clone(),
            target: target.to_owned(),
            handle,
            method: NEXT.to_owned(),
            count: None,
            deadline: rpc.shared().options.deadline,
        };
        Self { source, read: VecDeque::new(), reading: None, is_at_end: false }
    }

    /// Reads so many records at once, by the method `NB`, instead of one by one by `N`.
    pub fn bulk(mut self, count: u64) -> Self {
        self.source.count = Some(count.max(1));
        self.method(NEXT_BULK)
    }

    /// The method by which this service hands out records.
    pub fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.source.method);
        self
    }

    /// How long each answer may take, in place of [`Builder::deadline`](crate::rpc::Builder::deadline).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.source.deadline = deadline;
        self
    }

    /// The next record; none at the end.
    ///
    /// It can be dropped without loss: what was asked for is waited for by the next one.
    pub async fn next(&mut self) -> Option<Result<T, CallError>> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, CallError>>> {
        loop {
            if let Some(record) = self.read.pop_front() {
                return Poll::Ready(Some(Ok(record)));
            }
            if self.is_at_end {
                return Poll::Ready(None);
            }
            let reading = self.reading.get_or_insert_with(|| Box::pin(self.source.clone().read()));
            let block = ready!(reading.as_mut().poll(context));
            self.reading = None;
            match block {
                Ok((records, is_last)) => {
                    self.read = records.into();
                    self.is_at_end = is_last;
                }
                Err(error) => {
                    self.is_at_end = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl Source {
    async fn read<T: DeserializeOwned>(self) -> Result<Block<T>, CallError> {
        let handle = self.count.map_or(self.handle, |count| self.handle.with_count(count));
        let params = pack(&handle).map_err(CallError::Pack)?;
        let answer = self.rpc.call(&self.target, &self.method, params).deadline(self.deadline).await?;
        if answer.is_empty() {
            return Ok((Vec::new(), true));
        }
        match self.count {
            None => Ok((vec![unpack(&answer).map_err(CallError::Unpack)?], false)),
            Some(count) => {
                let records: Vec<T> = unpack(&answer).map_err(CallError::Unpack)?;
                let is_last = (records.len() as u64) < count;
                Ok((records, is_last))
            }
        }
    }
}

impl<T: DeserializeOwned + Send + Unpin + 'static> Stream for Cursor<T> {
    type Item = Result<T, CallError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(context)
    }
}

impl<T> fmt::Debug for Cursor<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Source { target, handle, .. } = &self.source;
        formatter.debug_struct("Cursor").field("target", target).field("handle", handle).finish_non_exhaustive()
    }
}
