use super::*;

const BUDGET: Duration = BusyPoll::BUDGET;

fn looks_after(busy: &mut BusyPoll, waits: impl IntoIterator<Item = u64>) -> bool {
    waits.into_iter().for_each(|micros| busy.learn(Duration::from_micros(micros)));
    matches!(busy.mood, Mood::Looks(_))
}

/// Waits of one kind: the time of one, and the frames that it brings, for who sleeps and for who looks.
type Waits<'a> = (&'a [(u64, usize)], &'a [(u64, usize)]);

/// How many percent of 100,000 waits are looked through.
fn looked(busy: &mut BusyPoll, (asleep, awake): Waits<'_>) -> f64 {
    let mut looked = 0;
    for number in 0..100_000 {
        let looks = matches!(busy.mood, Mood::Looks(_));
        looked += usize::from(looks);
        let waits = if looks { awake } else { asleep };
        let (micros, frames) = waits[number % waits.len()];
        busy.brought(frames);
        busy.learn(Duration::from_micros(micros));
    }
    looked as f64 / 1000.0
}

fn looked_anew(waits: Waits<'_>) -> f64 {
    looked(&mut BusyPoll::with_budget(BUDGET), waits)
}

/// So many round trips, and one that takes longer.
fn with_one_long(micros: u64, times: usize, long: u64) -> Vec<(u64, usize)> {
    let spread = [90, 100, 110, 95, 105].into_iter().cycle().map(|percent| (micros * percent / 100, 1));
    spread.take(times).chain([(long, 1)]).collect()
}

#[test]
fn looks_when_answers_come_soon_and_goes_on_when_that_makes_them_come_sooner() {
    let mut busy = BusyPoll::with_budget(BUDGET);
    assert!(!looks_after(&mut busy, [90; 3]), "three waits may be chance");
    assert!(looks_after(&mut busy, [90]));
    assert!(looks_after(&mut busy, [10; 1000]));
    assert!(looks_after(&mut busy, [10, 90, 10, 3000, 10, 10, 10, 10, 10, 10, 10, 10]), "exceptions are forgiven");
}

#[test]
fn answers_are_looked_for_on_fast_and_on_slow_machines_and_some_may_take_long() {
    for (asleep, awake) in [(60, 12), (87, 12), (87, 60), (170, 45), (250, 80), (350, 200)] {
        for long in [150, 600, 1000] {
            let waits = [asleep, awake].map(|micros| with_one_long(micros, 24, long));
            let looked = looked_anew((&waits[0], &waits[1]));
            assert!(looked > 95.0, "{asleep} becomes {awake}, {long} now and then: looked for {looked} %");
        }
    }
}

#[test]
fn sleeps_when_waits_are_long() {
    let mut busy = BusyPoll::with_budget(BUDGET);
    assert!(!looks_after(&mut busy, [1000; 10_000]));
    assert!(!looks_after(&mut busy, (0..10_000).map(|wait| if wait % 4 == 3 { 900 } else { 5 })), "bursts of four");
    assert!(looks_after(&mut busy, [90; 4]) && looks_after(&mut busy, [10; 100]));
    assert!(!looks_after(&mut busy, [1000; 4]), "the stream has become slow");
    assert!(!looks_after(&mut busy, [401; 10_000]), "farther than it looks");
}

#[test]
fn looks_for_longer_where_waits_are_longer() {
    let mut busy = BusyPoll::with_budget(BUDGET);
    assert!(looks_after(&mut busy, [180; PROMISING as usize]));
    assert_eq!(busy.longest(), Duration::from_micros(360));
    assert!(looks_after(&mut busy, [170; GRACE as usize]), "whoever answers sleeps yet");
    assert!(looks_after(&mut busy, [45; (WINDOW - GRACE) as usize]));
    assert!(looks_after(&mut busy, [170; WINDOW as usize - 1]));
    assert!(!looks_after(&mut busy, [170]), "it gains nothing any more");
}

#[test]
fn what_looking_gains_is_measured_again() {
    let mut busy = BusyPoll::with_budget(BUDGET);
    let same = |micros| [(micros, 1)];
    assert!(looked(&mut busy, (&same(380), &same(180))) > 99.0);
    assert!(looked(&mut busy, (&same(180), &same(180))) < 20.0, "a timer that has become faster");
    assert!(looked(&mut busy, (&same(380), &same(180))) > 90.0, "it gains again");
    assert!(looked(&mut busy, (&same(90), &same(30))) > 99.0);
}

#[test]
fn a_timer_that_looking_does_not_make_faster_is_hardly_ever_looked_for() {
    for period in [30, 60, 90, 150, 250, 360] {
        let ticks = with_one_long(period, 1000, period * 3);
        let looked = looked_anew((&ticks, &ticks));
        assert!(looked < 1.0, "{period}: looked for {looked} %");
    }
}

/// Who sleeps gets the frames of a tick at once, and who looks one by one.
#[test]
fn ticks_of_several_frames_are_hardly_ever_looked_for() {
    for (period, apart, frames) in [(250, 10, 2), (400, 10, 2), (200, 60, 2), (250, 10, 3), (300, 5, 23), (380, 10, 15)]
    {
        let others = vec![(apart, 1); frames - 1];
        let first = period - others.iter().map(|(micros, _)| micros).sum::<u64>();
        let awake: Vec<_> = [(first, 1)].into_iter().chain(others).collect();
        let looked = looked_anew((&[(period, frames)], &awake));
        assert!(looked < 2.0, "{frames} frames each {period}: looked for {looked} %");
    }
}

#[test]
fn a_budget_without_end_is_one() {
    let mut busy = BusyPoll::with_budget(Duration::MAX);
    assert!(looks_after(&mut busy, (0..4).map(|wait| wait * 1_000_000)));
    assert_eq!(busy.longest(), Duration::MAX);
    looks_after(&mut busy, (0..10_000).map(|wait| wait * 1_000_000));
}

#[test]
fn a_stream_that_looking_does_not_make_faster_is_hardly_ever_looked_for() {
    let mut busy = BusyPoll::with_budget(BUDGET);
    let looked = (0..100_000).filter(|_| looks_after(&mut busy, [90])).count();
    assert!(looked < 100_000 / 50, "looked {looked} times");
}

#[test]
fn a_stream_is_not_looked_for() {
    let mut busy = BusyPoll::with_budget(BUDGET);
    let [stream, less] = [STREAM, STREAM - 1].map(|frames| [(60, frames), (10, frames)]);
    assert!(looked(&mut busy, (&stream[..1], &stream[1..])) < 0.01, "many frames at a time");
    assert!(looked(&mut busy, (&less[..1], &less[1..])) > 99.0);
    assert!(looked(&mut busy, (&stream[..1], &stream[1..])) < 0.01, "answers have become a stream");
    assert!(looked(&mut busy, (&less[..1], &less[1..])) > 99.0, "and a stream answers");
}

#[test]
fn a_wait_is_what_lies_between_two_frames() {
    let mut busy = BusyPoll::with_budget(BUDGET);
    for _ in 0..PROMISING {
        assert!(!busy.begin());
        busy.end();
        busy.brought(1);
    }
    assert!(busy.begin(), "four short waits were learnt from");
}

#[test]
fn one_without_a_budget_never_looks() {
    let mut busy = BusyPoll::with_budget(Duration::ZERO);
    for _ in 0..100 {
        assert!(!busy.begin());
        busy.end();
    }
}

#[tokio::test]
async fn looks_no_longer_than_its_budget_and_lets_others_run() {
    let mut busy = BusyPoll::with_budget(Duration::from_millis(20));
    busy.begin();
    let others = tokio::spawn(async {
        tokio::task::yield_now().await;
        true
    });
    let mut looks = 0;
    let found = busy.look(|| {
        looks += 1;
        Ok::<_, io::Error>(false)
    });
    assert!(!found.await.unwrap());
    assert!(!busy.begin(), "the budget of this wait is spent");
    assert!(looks > 1);
    assert!(others.is_finished(), "other tasks ran meanwhile");
}
