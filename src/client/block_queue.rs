//! A queue that takes what one read brought as it is: nothing is moved one by one.

use std::collections::VecDeque;

/// Blocks of items, first in, first out.
#[derive(Debug)]
pub(super) struct BlockQueue<T> {
    /// What is taken from.
    first: VecDeque<T>,
    /// None of them is empty.
    more: VecDeque<VecDeque<T>>,
    length: usize,
    /// Memory for the next block.
    spare: VecDeque<T>,
}

/// A block of fewer items is not worth being one.
const SMALL_BLOCK: usize = 32;
/// A block that small ones are moved into has fewer items than this.
const LARGE_BLOCK: usize = 1024;

impl<T> BlockQueue<T> {
    /// An empty queue, without memory.
    pub(super) const fn new() -> Self {
        Self { first: VecDeque::new(), more: VecDeque::new(), length: 0, spare: VecDeque::new() }
    }

    /// Items in it.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Appends all items of a block, and leaves it empty, often with the memory of an older one.
    pub(super) fn append(&mut self, block: &mut VecDeque<T>) {
        self.length += block.len();
        if self.first.is_empty() && self.more.is_empty() {
            std::mem::swap(&mut self.first, block);
        } else if block.len() < SMALL_BLOCK && self.last().len() < LARGE_BLOCK {
            self.last().append(block);
        } else if !block.is_empty() {
            self.more.push_back(std::mem::replace(block, std::mem::take(&mut self.spare)));
        }
    }

    /// Appends one item.
    #[inline]
    pub(super) fn push(&mut self, item: T) {
        self.length += 1;
        if self.last().len() < LARGE_BLOCK {
            self.last().push_back(item);
        } else {
            let mut block = std::mem::take(&mut self.spare);
            block.push_back(item);
            self.more.push_back(block);
        }
    }

    /// Takes the oldest item.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.first.is_empty() {
            self.go_on();
        }
        let item = self.first.pop_front()?;
        self.length -= 1;
        Some(item)
    }

    #[cold]
    fn go_on(&mut self) {
        if let Some(next) = self.more.pop_front() {
            self.spare = std::mem::replace(&mut self.first, next);
        }
    }

    /// Where small things are appended.
    #[inline]
    fn last(&mut self) -> &mut VecDeque<T> {
        self.more.back_mut().unwrap_or(&mut self.first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Append(usize),
        Push(usize),
        Pop(usize),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let count = prop_oneof![0..4_usize, 0..2 * SMALL_BLOCK, 0..2 * LARGE_BLOCK];
        (0..4, count).prop_map(|(kind, count)| match kind {
            0 => Step::Append(count),
            1 => Step::Push(count),
            _ => Step::Pop(count),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_comes_in_goes_out_in_its_order(steps in prop::collection::vec(any_step(), 0..40)) {
            let mut queue = BlockQueue::new();
            let mut block = VecDeque::new();
            let (mut pushed, mut popped) = (0, 0);
            for step in steps {
                match step {
                    Step::Append(count) => {
                        block.extend(pushed..pushed + count);
                        queue.append(&mut block);
                        prop_assert!(block.is_empty());
                        pushed += count;
                    }
                    Step::Push(count) => {
                        (pushed..pushed + count).for_each(|number| queue.push(number));
                        pushed += count;
                    }
                    Step::Pop(count) => {
                        for _ in 0..count.min(queue.len()) {
                            prop_assert_eq!(queue.pop(), Some(popped));
                            popped += 1;
                        }
                    }
                }
                prop_assert_eq!(queue.len(), pushed - popped);
                prop_assert!(queue.more.iter().all(|block| !block.is_empty()));
            }
            for number in popped..pushed {
                prop_assert_eq!(queue.pop(), Some(number));
            }
            prop_assert_eq!(queue.pop(), None);
        }
    }
}
