//! Recordings as files: a folder for each broadcast.

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use lemonair_schemas::EventId;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;

#[derive(Debug)]
pub(super) struct Folder(PathBuf);

// === impl Folder ===

impl Folder {
    pub(super) fn open(folder: PathBuf) -> io::Result<Folder> {
        std::fs::create_dir_all(&folder)?;
        Ok(Folder(folder))
    }

    /// A file is there whole or not at all.
    pub(super) async fn put(
        &self,
        stream: EventId,
        file: &str,
        parts: Vec<Bytes>,
    ) -> io::Result<()> {
        let folder = self.0.join(stream.to_string());
        fs::create_dir_all(&folder).await?;
        let (draft, file) = (folder.join(format!("{file}.draft")), folder.join(file));
        let written = async {
            let mut out = File::create(&draft).await?;
            for part in parts {
                out.write_all(&part).await?;
            }
            out.flush().await?;
            fs::rename(&draft, &file).await
        };
        let written = written.await;
        if written.is_err() {
            // It takes room, perhaps the last there is.
            let _ = fs::remove_file(&draft).await;
        }
        written
    }

    /// `file` is one name, as it came from outside.
    pub(super) async fn get(&self, stream: EventId, file: &str) -> io::Result<Bytes> {
        if file.contains(['/', '\\']) || file.starts_with('.') {
            return Err(io::ErrorKind::NotFound.into());
        }
        let path = self.0.join(stream.to_string()).join(file);
        Ok(fs::read(path).await?.into())
    }

    /// Names and lengths, in no order; none if there is nothing of the broadcast.
    pub(super) async fn files(&self, stream: EventId) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        let mut entries = match fs::read_dir(self.0.join(stream.to_string())).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
        };
        while let Some(entry) = entries.next_entry().await? {
            if let Ok(name) = entry.file_name().into_string() {
                found.push((name, entry.metadata().await?.len()));
            }
        }
        Ok(found)
    }

    pub(super) async fn streams(&self) -> io::Result<Vec<EventId>> {
        let mut found = Vec::new();
        let mut entries = fs::read_dir(&self.0).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name();
            found.extend(name.to_str().and_then(|name| name.parse::<EventId>().ok()));
        }
        Ok(found)
    }

    pub(super) async fn delete(&self, stream: EventId) -> io::Result<()> {
        match fs::remove_dir_all(self.0.join(stream.to_string())).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
