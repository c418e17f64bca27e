//! A large frame whose payload is arriving.

use super::{Assembler, BodyMemory, FIRST_STAGE, Grammar, Received, ReceivedPayload, stage_after};

#[derive(Debug)]
pub(super) struct Filling<M> {
    pub(super) meta: M,
    /// Bytes of the first name.
    pub(super) first: usize,
    /// Bytes of the whole payload.
    pub(super) length: usize,
    pub(super) body: Vec<u8>,
    /// Bytes that went elsewhere, behind those in the body.
    pub(super) passed: usize,
    /// Nobody was told of it.
    pub(super) is_new: bool,
}

pub(super) fn announcement<'a, M: Copy>(filling: &Filling<M>, names: &'a [u8]) -> Received<'a, M> {
    let (first, second) = names.split_at(filling.first);
    Received { meta: filling.meta, first, second, payload: ReceivedPayload::Announced(filling.length) }
}

/// Large payloads that whoever reads takes elsewhere.
impl<G: Grammar> Assembler<G> {
    /// Bytes of a large frame's payload that have not arrived; 0 also where no such frame has begun.
    pub fn missing(&self) -> usize {
        let filling = self.filling.as_ref();
        filling.map_or(0, |filling| filling.length.saturating_sub(filling.body.len() + filling.passed))
    }

    /// The large frame that has begun to arrive, once: whoever reads may put the rest of its payload elsewhere.
    pub fn take_announced(&mut self) -> Option<Received<'_, G::Meta>> {
        let filling = self.filling.as_mut().filter(|filling| filling.is_new)?;
        filling.is_new = false;
        Some(announcement(filling, &self.names))
    }

    /// Gives memory back that is not needed for a payload of which the rest goes elsewhere.
    pub fn slim(&mut self, memory: &mut impl BodyMemory<G::Meta>) {
        if let Some(filling) = &mut self.filling
            && filling.body.capacity() > FIRST_STAGE
        {
            let stage = FIRST_STAGE.min(filling.length).max(filling.body.len());
            let mut smaller = memory.take(&announcement(filling, &self.names), stage);
            smaller.extend_from_slice(&filling.body);
            memory.give_back(std::mem::replace(&mut filling.body, smaller));
        }
    }

    /// Counts bytes of the large frame's payload that were put elsewhere, behind those that are here: at most those that
    /// are [`missing`](Assembler::missing). What follows has to go there as well, or be brought here before.
    pub fn pass(&mut self, count: usize) {
        if let Some(filling) = &mut self.filling {
            filling.passed += count;
        }
    }

    /// Has what was [passed](Assembler::pass) appended to the memory of the payload after all.
    pub fn bring(&mut self, memory: &mut impl BodyMemory<G::Meta>, append: impl FnOnce(&mut Vec<u8>)) {
        if let Some(filling) = &mut self.filling
            && filling.passed > 0
        {
            let arrived = filling.body.len() + std::mem::take(&mut filling.passed);
            let stage = stage_after(arrived, filling.length);
            let mut larger = memory.take(&announcement(filling, &self.names), stage);
            larger.extend_from_slice(&filling.body);
            append(&mut larger);
            debug_assert_eq!(larger.len(), arrived, "what was passed is brought");
            larger.resize(arrived, 0);
            memory.give_back(std::mem::replace(&mut filling.body, larger));
        }
    }
}
