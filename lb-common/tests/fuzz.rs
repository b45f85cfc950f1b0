//! Strange packets on the host: nothing panics, and the books stay right.

use lb_common::{
    family::{V4, V6},
    tables::Queue,
    testing::{Scenario, Step, audit, balanced, corpus, fuzz, neighbours, seeds},
    verdict::Verdict,
};

/// How many scenarios are played.
const SCENARIOS: u64 = 100;
/// Steps of a scenario.
const STEPS: usize = 1_000;

#[test]
fn strange_packets_do_no_harm() {
    let mut count = 0;
    for case in seeds() {
        let tables = case.site.tables();
        for (interface, frame) in &case.before {
            let _ = balanced(&tables, *interface, frame);
        }
        neighbours(&case.input, |frame| {
            let _ = balanced(&tables, case.interface, frame);
            count += 1;
        });
        audit(&tables);
    }
    println!("{count} packets");
    assert!(count > 100_000, "only {count}");
}

#[test]
fn the_books_stay_right() {
    for seed in 1..=SCENARIOS {
        let mut scenario = Scenario::new(seed);
        let mut tables = scenario.site.tables();
        for number in 0..STEPS {
            match scenario.step() {
                Step::Packet(interface, frame) => {
                    let verdict = balanced(&tables, interface, &frame);
                    if let Ok(Verdict::Transmit | Verdict::Redirect(_)) = verdict {
                        scenario.came_out(&frame);
                    }
                }
                Step::Time(ticks) => tables.advance(ticks),
                Step::Sweep(steps) => {
                    for queue in [Queue::HalfOpen, Queue::Standing] {
                        for _ in 0..steps {
                            let _ = tables.sweep::<V4>(queue);
                            let _ = tables.sweep::<V6>(queue);
                        }
                    }
                }
                Step::Write(write) => write.apply(&mut tables),
            }
            if number % 20 == 0 {
                audit(&tables);
            }
        }
    }
}

/// What a fuzzer would begin with.
#[test]
fn the_fuzzer_s_entry_takes_anything() {
    for site in 0..32 {
        let mut data = vec![site];
        for (interface, frame) in corpus() {
            data.push(*interface as u8);
            data.extend((frame.len() as u16).to_be_bytes());
            data.extend(frame);
        }
        fuzz(&data);
        fuzz(&data[..data.len() / 2]);
    }
    fuzz(&[]);
    fuzz(&[1, 2, 3]);
}
