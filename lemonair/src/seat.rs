//! A process's seat: a name that nobody else has while it runs, and that its successor on the same
//! `data_dir` gets. Kafka gives partitions back to a name at once, where it would wait for a stranger's
//! predecessor until its session has run out.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context, bail};

/// Processes that share a `data_dir`, at most.
const SEATS: u32 = 1000;

#[derive(Debug)]
pub(crate) struct Seat {
    number: u32,
    /// Locked as long as the process runs, however it ends.
    _file: File,
}

impl Seat {
    /// Takes the first that is free.
    pub(crate) fn take(folder: &Path) -> anyhow::Result<Seat> {
        let using = || format!("use {}", folder.display());
        std::fs::create_dir_all(folder).with_context(using)?;
        for number in 0..SEATS {
            let file = File::create(folder.join(number.to_string())).with_context(using)?;
            match file.try_lock() {
                Ok(()) => {
                    return Ok(Seat {
                        number,
                        _file: file,
                    });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error).with_context(using),
            }
        }
        bail!("{SEATS} processes use {} already", folder.display())
    }

    /// `whose` is of the `data_dir` alone.
    pub(crate) fn name(&self, whose: &str) -> String {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        format!("{}.{whose}.{}", host.trim(), self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_one_processs_and_then_its_successors() {
        let folder = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
        let numbers = |seats: &[&Seat]| seats.iter().map(|seat| seat.number).collect::<Vec<_>>();
        let (first, second) = (Seat::take(&folder).unwrap(), Seat::take(&folder).unwrap());
        assert_eq!(numbers(&[&first, &second]), [0, 1]);
        drop(first);
        let (next, third) = (Seat::take(&folder).unwrap(), Seat::take(&folder).unwrap());
        assert_eq!(numbers(&[&next, &third]), [0, 2]);
        assert_ne!(next.name("here"), third.name("here"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
