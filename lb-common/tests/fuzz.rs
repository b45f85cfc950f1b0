//! Strange packets on the host: nothing panics, and the books stay right.

use std::fs;

use lb_common::{
    testing::{
        Scenario, Step, audit, balanced, beginnings, corpus, corpus_folder, fuzz, neighbours,
        seeds, stories,
    },
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
                Step::Sweep(steps) => tables.sweep_on(steps),
                Step::Write(write) => write.apply(&mut tables),
                Step::Learn(mut record) => {
                    tables.learn(&mut record);
                }
            }
            if number % 20 == 0 {
                audit(&tables);
            }
        }
    }
}

/// What a fuzzer begins with, and has found before. `UPDATE_CORPUS=1` writes the former to where it
/// looks for it.
#[test]
fn what_a_fuzzer_found_does_no_harm() {
    let stories = stories();
    for story in &stories {
        fuzz(story);
        fuzz(&story[..story.len() / 2]);
    }
    assert!(stories.len() > 200, "only {}", stories.len());
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        let folder = corpus_folder();
        fs::create_dir_all(&folder).unwrap();
        for (number, story) in beginnings().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), story).unwrap();
        }
    }
}

#[test]
fn the_fuzzer_s_entry_takes_anything() {
    let mut data = Vec::new();
    for (interface, frame) in corpus() {
        data.push(*interface as u8);
        data.extend((frame.len() as u16 | 0x8800).to_be_bytes());
        data.extend(frame);
    }
    for site in 0_u16..32 {
        let story = [site.wrapping_neg().to_be_bytes().as_slice(), &data].concat();
        fuzz(&story);
    }
    fuzz(&[]);
    fuzz(&[1, 2, 3]);
}
