//! Recordings as files: a folder for each broadcast.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use lemonair_schemas::EventId;
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};

use super::is_absent;

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Of all files in it.
    bytes: AtomicU64,
}

/// What the name of a file ends with that is not whole.
const DRAFT: &str = "draft";

// === impl Folder ===

impl Folder {
    pub(super) fn open(folder: PathBuf) -> io::Result<Folder> {
        std::fs::create_dir_all(&folder)?;
        let mut bytes = 0;
        for stream in std::fs::read_dir(&folder)? {
            let stream = stream?;
            if stream.file_type()?.is_dir() {
                for file in std::fs::read_dir(stream.path())? {
                    let file = file?;
                    let is_draft = file.path().extension().is_some_and(|end| end == DRAFT);
                    bytes += if is_draft { 0 } else { file.metadata()?.len() };
                }
            }
        }
        Ok(Folder {
            path: folder,
            bytes: bytes.into(),
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A file is there whole or not at all.
    pub(super) async fn put(
        &self,
        stream: EventId,
        file: &str,
        parts: Vec<Bytes>,
    ) -> io::Result<()> {
        let folder = self.path.join(stream.to_string());
        fs::create_dir_all(&folder).await?;
        let (draft, file) = (folder.join(format!("{file}.{DRAFT}")), folder.join(file));
        let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let before = fs::metadata(&file).await.map_or(0, |before| before.len());
        let written = async {
            let mut out = File::create(&draft).await?;
            for part in parts {
                out.write_all(&part).await?;
            }
            out.flush().await?;
            fs::rename(&draft, &file).await
        };
        let written = written.await;
        if written.is_ok() {
            self.bytes.fetch_add(len, Ordering::Relaxed);
            self.bytes.fetch_sub(before, Ordering::Relaxed);
        } else {
            // It takes room, perhaps the last there is.
            let _ = fs::remove_file(&draft).await;
        }
        written
    }

    pub(super) async fn get(&self, stream: EventId, file: &str) -> io::Result<Bytes> {
        Ok(fs::read(self.file(stream, file)?).await?.into())
    }

    pub(super) async fn len(&self, stream: EventId, file: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.file(stream, file)?).await?.len())
    }

    pub(super) async fn read(
        &self,
        stream: EventId,
        file: &str,
        range: Range<u64>,
    ) -> io::Result<Bytes> {
        let mut open = File::open(self.file(stream, file)?).await?;
        open.seek(SeekFrom::Start(range.start)).await?;
        let len = range.end - range.start;
        let mut bytes = Vec::with_capacity(usize::try_from(len).map_err(io::Error::other)?);
        open.take(len).read_to_end(&mut bytes).await?;
        Ok(bytes.into())
    }

    pub(super) async fn remove(&self, stream: EventId, file: &str, len: u64) -> io::Result<()> {
        match fs::remove_file(self.file(stream, file)?).await {
            // Whoever was first has counted it.
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                self.bytes.fetch_sub(len, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Names and lengths, in no order; none if there is nothing of the broadcast.
    pub(super) async fn files(&self, stream: EventId) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        let mut entries = match fs::read_dir(self.path.join(stream.to_string())).await {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(found),
            Err(error) => return Err(error),
        };
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().into_string();
            if let Ok(name) = name
                && !name.ends_with(DRAFT)
            {
                found.push((name, entry.metadata().await?.len()));
            }
        }
        Ok(found)
    }

    pub(super) async fn streams(&self) -> io::Result<Vec<EventId>> {
        let mut found = Vec::new();
        let mut entries = fs::read_dir(&self.path).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name();
            found.extend(name.to_str().and_then(|name| name.parse::<EventId>().ok()));
        }
        Ok(found)
    }

    pub(super) async fn delete(&self, stream: EventId) -> io::Result<()> {
        let files = self.files(stream).await?;
        match fs::remove_dir_all(self.path.join(stream.to_string())).await {
            Err(error) if !is_absent(&error) => Err(error),
            _ => {
                let bytes = files.iter().map(|(_, len)| len).sum();
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// `file` is one name, as it came from outside.
    fn file(&self, stream: EventId, file: &str) -> io::Result<PathBuf> {
        if file.contains(['/', '\\']) || file.starts_with('.') {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(self.path.join(stream.to_string()).join(file))
    }
}
