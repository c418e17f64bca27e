//! In which order systems take their turns: by chance, so that none always follows the same other one.

/// The same orders whenever this program runs.
const SEED: u64 = 0x5EED_0BD5;

/// The same things in another order in each round of each work.
pub(super) fn shuffled<T: Copy>(things: &[T], round: u32, work: usize) -> Vec<T> {
    let mut numbers = Numbers(SEED ^ u64::from(round) << 32 ^ work as u64);
    let mut shuffled = things.to_vec();
    for last in (1..shuffled.len()).rev() {
        shuffled.swap(last, numbers.below(last + 1));
    }
    shuffled
}

/// splitmix64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = self.0;
        number = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ number >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((number ^ number >> 31) % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_has_every_place_about_as_often() {
        const RUNS: u32 = 1_000;
        let mut first = [0; 4];
        for round in 0..10 {
            for work in 0..100 {
                let mut order = shuffled(&[0, 1, 2, 3], round, work);
                first[order[0]] += 1;
                assert_eq!(order, shuffled(&[0, 1, 2, 3], round, work));
                order.sort_unstable();
                assert_eq!(order, [0, 1, 2, 3]);
            }
        }
        assert!(first.iter().all(|count| (RUNS / 5..RUNS / 3).contains(count)), "{first:?}");
        assert!(shuffled::<u8>(&[], 0, 0).is_empty());
    }
}
