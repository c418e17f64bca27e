//! Numbered slots and how often each was used: what is out, and what a peer claims to be out.

use crate::violation::Violation;

/// Slots that hand out things under a number and take them back by it. Private to the process that hands out.
#[derive(Debug)]
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    /// Those that were used and are free again; of the others those behind the last are free.
    free: Vec<u32>,
    count: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    content: Option<T>,
}

impl<T> Slots<T> {
    /// This many slots, all free; a slot costs memory from its first use on.
    pub fn new(count: u32) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), count }
    }

    /// Puts something into a free slot and returns its number and generation, or gives it back when none is free.
    ///
    /// # Errors
    /// The thing itself, when every slot is out.
    pub fn put(&mut self, content: T) -> Result<(u32, u32), T> {
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                let unused = u32::try_from(self.slots.len()).ok().filter(|unused| *unused < self.count);
                let Some(unused) = unused else { return Err(content) };
                self.slots.push(Slot { generation: 0, content: None });
                unused
            }
        };
        let slot = &mut self.slots[number as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.content = Some(content);
        Ok((number, slot.generation))
    }

    /// Takes back what is in a slot.
    ///
    /// # Errors
    /// When that use of the slot is not out.
    pub fn take(&mut self, number: u32, generation: u32) -> Result<T, Violation> {
        let slot = self.slots.get_mut(number as usize).ok_or(Violation::Slot)?;
        if slot.generation != generation {
            return Err(Violation::Slot);
        }
        let content = slot.content.take().ok_or(Violation::Slot)?;
        self.free.push(number);
        Ok(content)
    }

    /// Whether a slot is free.
    pub fn has_free(&self) -> bool {
        !self.free.is_empty() || self.slots.len() < self.count as usize
    }

    /// Slots that are out.
    pub fn out(&self) -> usize {
        self.slots.iter().filter(|slot| slot.content.is_some()).count()
    }

    /// Everything that is out, as if it had come back.
    pub fn drain(&mut self) -> Vec<T> {
        let mut contents = Vec::new();
        for (number, slot) in (0..).zip(&mut self.slots) {
            if let Some(content) = slot.content.take() {
                self.free.push(number);
                contents.push(content);
            }
        }
        contents
    }
}

/// The receiving side's account of slots that a peer hands out: it may not use one that is still out, nor skip or
/// repeat a generation.
#[derive(Debug)]
pub struct Generations {
    slots: Vec<(u32, bool)>,
    count: u32,
}

impl Generations {
    /// This many slots, none of them out.
    pub fn new(count: u32) -> Self {
        Self { slots: Vec::new(), count }
    }

    /// The peer has put something into a slot.
    ///
    /// # Errors
    /// When the slot does not exist or is out, or the generation is not the next.
    pub fn begin(&mut self, number: u32, generation: u32) -> Result<(), Violation> {
        if number >= self.count {
            return Err(Violation::Slot);
        }
        let index = number as usize;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, (0, false));
        }
        let (last, is_out) = &mut self.slots[index];
        if *is_out || generation != last.wrapping_add(1) {
            return Err(Violation::Slot);
        }
        (*last, *is_out) = (generation, true);
        Ok(())
    }

    /// The slot goes back to the peer.
    pub fn end(&mut self, number: u32) {
        if let Some((_, is_out)) = self.slots.get_mut(number as usize) {
            *is_out = false;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_handed_out_once_and_taken_back_once() {
        let mut slots = Slots::new(2);
        let first = slots.put("a").unwrap();
        let second = slots.put("b").unwrap();
        assert_ne!(first.0, second.0);
        assert_eq!(slots.put("c"), Err("c"));
        assert_eq!(slots.take(first.0, first.1), Ok("a"));
        assert_eq!(slots.take(first.0, first.1), Err(Violation::Slot));
        assert_eq!(slots.take(second.0, second.1 + 1), Err(Violation::Slot));
        assert_eq!(slots.take(7, 1), Err(Violation::Slot));
        let again = slots.put("c").unwrap();
        assert_eq!(again, (first.0, first.1 + 1));
        assert_eq!(slots.out(), 2);
        assert_eq!(slots.drain().len(), 2);
        assert!(slots.has_free());
    }

    #[test]
    fn a_peer_may_neither_reuse_what_is_out_nor_skip_a_generation() {
        let mut slots = Generations::new(2);
        assert_eq!(slots.begin(2, 1), Err(Violation::Slot));
        assert_eq!(slots.begin(0, 2), Err(Violation::Slot));
        assert_eq!(slots.begin(0, 1), Ok(()));
        assert_eq!(slots.begin(0, 2), Err(Violation::Slot));
        slots.end(0);
        assert_eq!(slots.begin(0, 1), Err(Violation::Slot));
        assert_eq!(slots.begin(0, 2), Ok(()));
    }
}
