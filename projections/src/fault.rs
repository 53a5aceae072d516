//! Steps at which the tests kill a process: between any two of the loop that fills read models. In every
//! other build they are nothing.

#[cfg(not(test))]
pub(crate) const fn point(_step: &str) {}

#[cfg(test)]
pub(crate) use armed::{STEPS, point};

#[cfg(test)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// All of the live loop, in its order.
    pub(crate) const STEPS: [&str; 14] = [
        "join",
        "assigned",
        "claiming",
        "taken",
        "claimed",
        "started",
        "read",
        "begun",
        "moved",
        "kept",
        "applied",
        "singly",
        "committed",
        "settled",
    ];

    /// Where to die, and how many times to pass it first.
    struct Armed {
        step: String,
        left: AtomicU32,
    }

    /// Ends the process, as a power cut would, if it was started to be ended here.
    pub(crate) fn point(step: &str) {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let Some(armed) = ARMED.get_or_init(arm) else {
            return;
        };
        if armed.step == step && armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    }

    /// From `LEMONAIR_FAULT=committed:3`.
    #[expect(clippy::disallowed_methods, reason = "only tests are killed")]
    fn arm() -> Option<Armed> {
        let fault = std::env::var("LEMONAIR_FAULT").ok()?;
        let (step, count) = fault.split_once(':')?;
        Some(Armed {
            step: step.to_owned(),
            left: AtomicU32::new(count.parse().ok()?),
        })
    }
}
