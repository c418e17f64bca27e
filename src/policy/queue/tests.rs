use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    topic: Option<Arc<str>>,
    number: u64,
    weight: usize,
}

impl Queued for Item {
    fn topic(&self) -> Option<&Arc<str>> {
        self.topic.as_ref()
    }

    fn weight(&self) -> usize {
        self.weight
    }
}

fn item(topic: &str, number: u64) -> Item {
    heavy(topic, number, 10)
}

fn heavy(topic: &str, number: u64, weight: usize) -> Item {
    Item { topic: (!topic.is_empty()).then(|| topic.into()), number, weight }
}

/// Numbers and gaps of all that waits.
fn drain(queue: &mut PolicyQueue<Item>) -> Vec<(u64, u64)> {
    let mut taken = Vec::new();
    while let Some((item, gap)) = queue.pop() {
        taken.push((item.number, gap));
    }
    assert!(queue.waiting_bytes() == 0 && queue.latest.is_empty() && queue.droppable == 0);
    taken
}

fn filled(policy: SlowPolicy, frames: usize, count: u64) -> PolicyQueue<Item> {
    let mut queue = PolicyQueue::new(frames, usize::MAX);
    for number in 0..count {
        queue.push(item("t", number), policy);
    }
    queue
}

#[test]
fn the_newest_or_the_oldest_are_dropped_and_leave_a_gap_where_they_were() {
    let mut newest = filled(SlowPolicy::DropNewest, 3, 5);
    assert_eq!(newest.pop().map(|(item, gap)| (item.number, gap)), Some((0, 0)));
    newest.push(item("t", 5), SlowPolicy::DropNewest);
    assert_eq!(drain(&mut newest), [(1, 0), (2, 0), (5, 2)]);
    let mut oldest = filled(SlowPolicy::DropOldest, 3, 5);
    assert_eq!(drain(&mut oldest), [(2, 2), (3, 0), (4, 0)]);
}

#[test]
fn the_latest_of_each_topic_waits_in_the_place_of_the_first() {
    let mut queue = PolicyQueue::new(8, usize::MAX);
    for (topic, number) in [("a", 0), ("b", 1), ("a", 2), ("", 3), ("a", 4), ("b", 5), ("", 6)] {
        queue.push(item(topic, number), SlowPolicy::Latest);
    }
    assert_eq!(drain(&mut queue), [(4, 2), (5, 1), (3, 0), (6, 0)]);
}

#[test]
fn the_latest_takes_no_place_before_one_of_its_topic_that_is_to_stay() {
    let mut queue = PolicyQueue::new(8, usize::MAX);
    queue.push(item("t", 0), SlowPolicy::Latest);
    queue.push(item("t", 1), SlowPolicy::DropNewest);
    queue.push(item("t", 2), SlowPolicy::Latest);
    queue.push(item("t", 3), SlowPolicy::Latest);
    assert_eq!(drain(&mut queue), [(0, 0), (1, 0), (3, 1)]);
}

#[test]
fn a_full_queue_refuses_what_would_cut_or_wait_and_keeps_what_may_not_be_dropped() {
    let wait = SlowPolicy::Wait(Duration::from_secs(1));
    for policy in [SlowPolicy::Cut, wait] {
        let mut queue = filled(policy, 2, 2);
        assert!(matches!(queue.push(item("t", 2), policy), Pushed::Full(Item { number: 2, .. })));
        assert!(matches!(queue.push(item("t", 3), SlowPolicy::DropOldest), Pushed::Dropped { older: 0 }));
        assert_eq!(drain(&mut queue), [(0, 0), (1, 0)]);
        assert_eq!(queue.take_last_gap(), 1);
    }
    let mut queue = filled(SlowPolicy::DropOldest, 2, 2);
    assert!(matches!(queue.push(item("t", 2), SlowPolicy::Cut), Pushed::Taken { dropped: 1 }), "room is made for it");
    assert_eq!(drain(&mut queue), [(1, 1), (2, 0)]);
    let mut queue = filled(SlowPolicy::Cut, 2, 1);
    for number in 1..5 {
        queue.push(item("t", number), SlowPolicy::DropOldest);
    }
    assert_eq!(drain(&mut queue), [(0, 0), (4, 3)]);
}

#[test]
fn bytes_count_and_an_empty_queue_takes_any_frame() {
    let mut queue = PolicyQueue::new(100, 15);
    for number in 0..4 {
        queue.push(item("t", number), SlowPolicy::DropOldest);
    }
    assert_eq!(drain(&mut queue), [(2, 2), (3, 0)]);
}

#[test]
fn a_latest_that_has_become_too_large_for_its_place_waits_at_the_end() {
    let mut queue = PolicyQueue::new(100, 100);
    for number in 0..10 {
        queue.push(heavy(&format!("t{number}"), number, 1), SlowPolicy::Latest);
    }
    for number in 10..20 {
        queue.push(heavy(&format!("t{}", number - 10), number, 60), SlowPolicy::Latest);
        assert!(queue.waiting_bytes() < 100 + 60);
    }
    assert_eq!(drain(&mut queue), [(18, 18), (19, 0)], "the last two fit, and nothing else");
    let mut kept = PolicyQueue::new(100, 100);
    kept.push(heavy("t", 0, 1), SlowPolicy::Latest);
    kept.push(heavy("", 1, 100), SlowPolicy::Cut);
    assert!(matches!(kept.push(heavy("t", 2, 2), SlowPolicy::Latest), Pushed::Dropped { older: 1 }));
    assert_eq!((drain(&mut kept), kept.take_last_gap()), (vec![(1, 1)], 1));
}

fn any_policy() -> impl Strategy<Value = SlowPolicy> {
    prop::sample::select(vec![
        SlowPolicy::Cut,
        SlowPolicy::DropNewest,
        SlowPolicy::DropOldest,
        SlowPolicy::Latest,
        SlowPolicy::Wait(Duration::from_secs(1)),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_is_taken_refused_or_counted_in_a_gap(
        steps in prop::collection::vec((any_policy(), "[ab]?", 1_usize..30, prop::bool::weighted(0.2)), 0..200),
        frames in 1_usize..6,
    ) {
        let mut queue = PolicyQueue::new(frames, 45);
        let (mut popped, mut gaps, mut refused, mut lost) = (0, 0, 0, 0);
        for (number, (policy, topic, weight, pops)) in steps.iter().enumerate() {
            match queue.push(heavy(topic, number as u64, *weight), *policy) {
                Pushed::Taken { dropped } => lost += dropped,
                Pushed::Dropped { older } => lost += older + 1,
                Pushed::Full(back) => {
                    prop_assert_eq!(back.number, number as u64);
                    refused += 1;
                }
            }
            prop_assert!(queue.len() <= frames && queue.waiting_bytes() < 45 + 30);
            let oldest = queue.entries.iter().position(|entry| entry.may_drop);
            prop_assert_eq!(queue.oldest_droppable(), oldest);
            if *pops && let Some((_, gap)) = queue.pop() {
                popped += 1;
                gaps += gap;
            }
        }
        let rest = drain(&mut queue);
        popped += rest.len() as u64;
        gaps += rest.iter().map(|(_, gap)| gap).sum::<u64>() + queue.take_last_gap();
        prop_assert_eq!(popped + gaps + refused, steps.len() as u64);
        prop_assert_eq!(gaps, lost);
    }
}
