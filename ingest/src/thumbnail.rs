//! One current picture a broadcast: key frame in, JPEG out, through an `ffmpeg` child now and then.
//!
//! Nothing touches the disk. A child lives a few seconds at most: it is killed when its time is up,
//! when the broadcast ends, and it ends by itself when its input is closed.

use std::ffi::OsString;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lemonair_schemas::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::feed::{Feed, Thumbnail};
use crate::fmp4;
use crate::packager::Still;

#[derive(Debug, Clone)]
pub struct Settings {
    /// The program; a name is looked up in `PATH`.
    pub ffmpeg: OsString,
    /// Between two pictures of a broadcast.
    pub interval: Duration,
    /// Pixels at most; the height follows.
    pub width: u16,
    /// Children at once, over all broadcasts.
    pub children: usize,
    pub timeout: Duration,
}

/// Makes thumbnails for all broadcasts.
#[derive(Debug)]
pub(crate) struct Thumbnailer {
    settings: Settings,
    children: Semaphore,
    missing: AtomicBool,
}

/// A JPEG of this width is far smaller.
const MAX_JPEG: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Mp4(#[from] fmp4::Error),
    #[error("run ffmpeg: {0}")]
    Run(#[from] io::Error),
    #[error("ffmpeg took longer than {0:?}")]
    Timeout(Duration),
    #[error("ffmpeg made no JPEG")]
    NoPicture,
}

// === impl Thumbnailer ===

impl Thumbnailer {
    pub(crate) fn new(settings: Settings) -> Thumbnailer {
        let children = Semaphore::new(settings.children);
        Thumbnailer {
            settings,
            children,
            missing: AtomicBool::new(false),
        }
    }

    /// Keeps a feed's picture fresh until it is dropped or cancelled.
    pub(crate) async fn follow(self: Arc<Thumbnailer>, feed: Arc<Feed>) {
        let mut stills = feed.still.subscribe();
        while !self.missing.load(Ordering::Relaxed) && stills.changed().await.is_ok() {
            let still = stills.borrow_and_update().clone();
            if let Some(still) = still {
                self.refresh(&feed, still).await;
            }
            tokio::time::sleep(self.settings.interval).await;
        }
    }

    async fn refresh(&self, feed: &Feed, still: Still) {
        let Ok(_permit) = self.children.acquire().await else {
            return;
        };
        let outcome = match self.picture(still).await {
            Ok(jpeg) => {
                feed.set_thumbnail(Thumbnail {
                    jpeg,
                    at: Timestamp::now(),
                });
                "made"
            }
            Err(Error::Run(error)) if error.kind() == io::ErrorKind::NotFound => {
                if !self.missing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(program = ?self.settings.ffmpeg, "ffmpeg is missing, so there are no thumbnails");
                }
                "missing"
            }
            Err(error) => {
                tracing::warn!(stream = %feed.stream, "failed to make a thumbnail: {error}");
                "failed"
            }
        };
        metrics::counter!("lemonair_ingest_thumbnails_total", "outcome" => outcome).increment(1);
    }

    async fn picture(&self, still: Still) -> Result<Bytes, Error> {
        let film = fmp4::still(&still.config, still.data)?;
        let limit = self.settings.timeout;
        tokio::time::timeout(limit, self.convert(film))
            .await
            .map_err(|_| Error::Timeout(limit))?
    }

    async fn convert(&self, film: Bytes) -> Result<Bytes, Error> {
        let scale = format!("scale='min({},iw)':-2", self.settings.width);
        let mut child = Command::new(&self.settings.ffmpeg)
            .args([
                "-hide_banner",
                "-loglevel",
                "quiet",
                "-nostdin",
                "-threads",
                "1",
            ])
            .args(["-f", "mp4", "-i", "pipe:0", "-frames:v", "1", "-vf", &scale])
            .args(["-threads", "1", "-q:v", "5", "-f", "mjpeg", "pipe:1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::NoPicture);
        };
        let mut jpeg = Vec::new();
        let mut stdout = stdout.take(MAX_JPEG);
        let write = async {
            // It may stop reading as soon as it has its frame.
            let _ = stdin.write_all(&film).await;
            drop(stdin);
        };
        let (read, ()) = tokio::join!(stdout.read_to_end(&mut jpeg), write);
        read?;
        child.kill().await?;
        let whole = jpeg.starts_with(&[0xFF, 0xD8]) && jpeg.ends_with(&[0xFF, 0xD9]);
        if whole {
            Ok(jpeg.into())
        } else {
            Err(Error::NoPicture)
        }
    }
}
