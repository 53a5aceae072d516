//! libFuzzer on one target, which `FUZZ_TARGET` names. `fuzz/run` starts it.
#![no_main]

use std::sync::LazyLock;

use lemonair_fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    TARGETS
        .iter()
        .find(|target| target.name == name)
        .unwrap_or_else(|| panic!("FUZZ_TARGET is {name:?}; it is one of {known:?}"))
});

libfuzzer_sys::fuzz_target!(
    init: {
        // Where the corpus begins, if `FUZZ_SEEDS` names a folder for it.
        if let Ok(folder) = std::env::var("FUZZ_SEEDS") {
            for (n, seed) in (TARGET.seeds)().into_iter().enumerate() {
                std::fs::write(format!("{folder}/seed-{n}"), seed).expect("write a seed");
            }
        }
    },
    |bytes: &[u8]| (TARGET.run)(bytes)
);
