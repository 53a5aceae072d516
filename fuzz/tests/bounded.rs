//! Every target for a while: its seeds, what once broke it, and mutations of them. The seed of the
//! random numbers is printed where a test fails; `LEMONAIR_FUZZ_SEED` runs it again.

use std::path::Path;

use lemonair_fuzz::{TARGETS, Target};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const MUTATIONS: usize = 4000;
const LONGEST: usize = 8192;

#[expect(
    clippy::disallowed_methods,
    reason = "a seed is for one run, not a setting"
)]
#[test]
fn strangers_bytes_break_nothing() {
    let seed = std::env::var("LEMONAIR_FUZZ_SEED");
    let seed = seed.map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    println!("LEMONAIR_FUZZ_SEED={seed}");
    for target in TARGETS {
        println!("{}", target.name);
        attack(target, &mut StdRng::seed_from_u64(seed));
    }
}

/// A seed that the parser does not take would leave most of it in the dark.
#[test]
fn each_target_has_seeds() {
    for target in TARGETS {
        assert!(!(target.seeds)().is_empty(), "{}", target.name);
    }
}

fn attack(target: &Target, random: &mut StdRng) {
    let mut corpus = (target.seeds)();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name);
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        corpus.push(std::fs::read(entry.expect("a file").path()).expect("its bytes"));
    }
    for bytes in &corpus {
        (target.run)(bytes);
    }
    for _ in 0..MUTATIONS {
        let mut bytes = corpus.choose(random).cloned().unwrap_or_default();
        for _ in 0..random.random_range(1..6) {
            mutate(&mut bytes, &corpus, random);
        }
        bytes.truncate(LONGEST);
        (target.run)(&bytes);
    }
}

fn mutate(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut StdRng) {
    let at = random.random_range(0..=bytes.len());
    let end = random.random_range(at..=bytes.len().min(at + 64));
    match random.random_range(0..6) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
        1 => bytes[at..end].fill(*[0, 1, 0x7F, 0x80, 0xFE, 0xFF].choose(random).unwrap_or(&0)),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        4 => {
            let noise: Vec<u8> = (0..random.random_range(1..9))
                .map(|_| random.random())
                .collect();
            bytes.splice(at..end, noise);
        }
        _ => {
            let other = corpus.choose(random).map_or(&[][..], Vec::as_slice);
            let from = random.random_range(0..=other.len());
            bytes.truncate(at);
            bytes.extend(&other[from..]);
        }
    }
}
