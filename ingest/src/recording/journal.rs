//! What there is of a segment that is being made, on the ingest's own disk: if the ingest dies, its
//! next start makes a segment of it, and at most the last part is lost.
//!
//! One file a broadcast, called like the segment. Each part is its duration and length, then itself;
//! one that was only half written is noticed by its length.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf, Bytes};
use lemonair_schemas::EventId;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;

use super::{Name, Recordings};
use crate::hls::Kept;

#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    number: u64,
    path: PathBuf,
    file: File,
    parts: usize,
}

/// Before each part: milliseconds and bytes.
const HEAD: usize = 8;

// === impl Journal ===

impl Journal {
    pub(crate) fn new(folder: PathBuf) -> Journal {
        Journal { folder, open: None }
    }

    /// Adds those parts of the segment that are not in it yet. All before it is kept elsewhere.
    pub(super) async fn note(&mut self, stream: EventId, segment: &Kept) -> io::Result<()> {
        let number = segment.name.number;
        if self.open.as_ref().is_none_or(|open| open.number != number) {
            self.close().await;
            fs::create_dir_all(&self.folder).await?;
            // How long it will be is not known yet.
            let name = Name {
                duration: Duration::ZERO,
                ..segment.name
            };
            let path = self.folder.join(format!("{stream}_{name}"));
            let file = File::create(&path).await?;
            self.open = Some(Open {
                number,
                path,
                file,
                parts: 0,
            });
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        for part in &segment.parts[open.parts.min(segment.parts.len())..] {
            let millis = u32::try_from(part.duration.as_millis()).unwrap_or(u32::MAX);
            let len = u32::try_from(part.bytes.len()).unwrap_or(u32::MAX);
            let head = [millis.to_be_bytes(), len.to_be_bytes()].concat();
            let written = async {
                open.file.write_all(&head).await?;
                open.file.write_all(&part.bytes).await?;
                open.file.flush().await
            };
            if let Err(error) = written.await {
                // What is half there would hide what comes behind it.
                self.close().await;
                return Err(error);
            }
            open.parts += 1;
        }
        Ok(())
    }

    /// All is kept elsewhere.
    pub(super) async fn close(&mut self) {
        if let Some(open) = self.open.take()
            && let Err(error) = fs::remove_file(&open.path).await
        {
            tracing::warn!(file = %open.path.display(), "failed to remove a journal: {error}");
        }
    }
}

/// Makes segments of what an earlier run of this ingest left.
pub(super) async fn recover(folder: &Path, recordings: &Recordings) -> anyhow::Result<()> {
    let mut files = match fs::read_dir(folder).await {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    while let Some(file) = files.next_entry().await? {
        let name = file.file_name();
        let named = name.to_str().and_then(|name| name.split_once('_'));
        if let Some((stream, name)) = named
            && let (Ok(stream), Ok(name)) = (stream.parse::<EventId>(), name.parse::<Name>())
        {
            take_up(
                recordings,
                stream,
                name,
                fs::read(file.path()).await?.into(),
            )
            .await?;
        }
        fs::remove_file(file.path()).await?;
    }
    Ok(())
}

async fn take_up(
    recordings: &Recordings,
    stream: EventId,
    name: Name,
    bytes: Bytes,
) -> anyhow::Result<()> {
    let (duration, parts) = parts(bytes);
    let known = recordings.segments(stream).await?;
    let known = known
        .iter()
        .any(|segment| (segment.name.session, segment.name.number) == (name.session, name.number));
    if parts.is_empty() || known {
        return Ok(());
    }
    let name = Name { duration, ..name };
    tracing::info!(%stream, ?duration, "the recording has what was being made when its ingest died");
    recordings.put_segment(stream, name, parts).await?;
    Ok(())
}

/// How long they last together, and those that are whole.
fn parts(mut bytes: Bytes) -> (Duration, Vec<Bytes>) {
    let (mut duration, mut parts) = (Duration::ZERO, Vec::new());
    while bytes.len() >= HEAD {
        let millis = bytes.get_u32();
        let len = bytes.get_u32() as usize;
        if bytes.len() < len {
            break;
        }
        duration += Duration::from_millis(millis.into());
        parts.push(bytes.split_to(len));
    }
    (duration, parts)
}
