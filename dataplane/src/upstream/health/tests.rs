use super::*;

#[test]
fn pauses_grow_to_five_seconds_and_a_success_forgets_them() {
    let health = Health::default();
    let mut now = Instant::now();
    assert_eq!(health.pause(|| now), None);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        health.failed(now);
        let pause = health.pause(|| now).unwrap();
        pauses.push(pause.as_millis());
        now += pause;
        assert_eq!(health.pause(|| now), None, "on probation once the pause is over");
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    health.failed(now);
    health.succeeded();
    assert_eq!(health.pause(|| now), None);
    health.failed(now);
    assert_eq!(health.pause(|| now).unwrap(), PAUSE_FIRST);
}

#[test]
fn failures_within_a_pause_are_one() {
    let health = Health::default();
    let now = Instant::now();
    (0..64).for_each(|_| health.failed(now));
    assert_eq!(health.pause(|| now).unwrap(), PAUSE_FIRST);
}

#[test]
fn after_a_pause_it_is_in_doubt_until_it_takes_a_connection() {
    let health = Health::default();
    let now = Instant::now();
    assert_eq!(health.standing(|| now), Standing::Up, "nothing has failed");
    health.failed(now);
    assert_eq!(health.standing(|| now), Standing::Paused);
    let now = now + PAUSE_FIRST;
    assert_eq!(health.standing(|| now), Standing::Doubted(Doubt::Connects));
    assert!(health.begin_probe() && !health.begin_probe(), "one finds out for all");
    let much_later = now + Duration::from_secs(3600);
    assert_eq!(
        health.standing(|| much_later),
        Standing::Doubted(Doubt::Connects),
        "as long as that lasts"
    );
    health.failed(now);
    health.end_probe();
    assert!(health.begin_probe());
    assert_eq!(health.pause(|| now).unwrap(), 2 * PAUSE_FIRST);
    health.connected();
    assert_eq!(health.standing(|| now), Standing::Up);
    health.failed(now);
    let pause = health.pause(|| now).unwrap();
    assert_eq!(pause, 4 * PAUSE_FIRST, "it has answered nothing");
}

#[test]
fn each_failure_leaves_its_own_doubt() {
    let now = Instant::now();
    let after = now + PAUSE_FIRST;
    type Fail = fn(&Health, Instant);
    let failures: [(Fail, Doubt); 4] = [
        (|health, now| health.failed(now), Doubt::Connects),
        (|health, now| health.reset(now), Doubt::Answers),
        (|health, now| health.suspend(Doubt::Answers, now), Doubt::Answers),
        (|health, now| health.suspend(Doubt::Completes, now), Doubt::Completes),
    ];
    for (fail, doubt) in failures {
        let health = Health::default();
        fail(&health, now);
        let proofs: [fn(&Health); 3] = [Health::connected, Health::answers, Health::succeeded];
        for (proof, proven) in proofs
            .into_iter()
            .zip([Doubt::Connects, Doubt::Answers, Doubt::Completes])
        {
            let standing = health.standing(|| after);
            let is_proven = proven > doubt;
            let expected = if is_proven {
                Standing::Up
            } else {
                Standing::Doubted(doubt)
            };
            assert_eq!(standing, expected, "{doubt:?} before {proven:?}");
            proof(&health);
        }
        assert_eq!(health.standing(|| after), Standing::Up, "{doubt:?}");
    }
}

#[test]
fn the_worse_doubt_stays() {
    let health = Health::default();
    let now = Instant::now();
    health.suspend(Doubt::Answers, now);
    health.failed(now);
    let now = now + PAUSE_FIRST;
    health.connected();
    assert_eq!(health.standing(|| now), Standing::Doubted(Doubt::Answers));
    assert!(
        health.is_ejected(|| now),
        "it counts among those that the service does without"
    );
    health.reinstate();
    assert_eq!(health.standing(|| now), Standing::Up);
}

#[test]
fn what_answers_probes_alone_has_answered_nothing() {
    let health = Health::default();
    let now = Instant::now();
    health.reset(now);
    health.proven();
    assert_eq!(health.standing(|| now + PAUSE_FIRST), Standing::Up);
    health.reset(now);
    assert_eq!(health.pause(|| now).unwrap(), 2 * PAUSE_FIRST);
}

#[test]
fn those_who_have_nothing_else_are_no_crowd() {
    let health = Health::default();
    health.failed(Instant::now());
    let trials = (0..2 * TRIALS_MAX).filter(|_| health.begin_trial());
    assert_eq!(trials.count(), TRIALS_MAX as usize);
}

#[test]
fn a_share_grows_from_a_tenth() {
    let health = Health::default();
    let now = Instant::now();
    let slow = Duration::from_secs(10);
    assert_eq!(health.share(slow, || now), 1000);
    health.begin_slowly(now);
    let after = |seconds| health.share(slow, || now + Duration::from_secs(seconds));
    assert_eq!([0, 1, 2, 5, 10, 90].map(after), [100, 100, 200, 500, 1000, 1000]);
    assert_eq!(health.share(Duration::ZERO, || now), 1000);
}
