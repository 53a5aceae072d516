//! One current picture a broadcast: key frame in, JPEG and WebP out, through `ffmpeg` children now and
//! then.
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
use tokio::time::timeout;

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    /// A third smaller, where `ffmpeg` can make it.
    Webp,
}

/// A picture of this width is far smaller.
const LARGEST: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Mp4(#[from] fmp4::Error),
    #[error("run ffmpeg: {0}")]
    Run(#[from] io::Error),
    #[error("ffmpeg took longer than {0:?}")]
    Timeout(Duration),
    #[error("ffmpeg made no {0:?}")]
    NoPicture(Format),
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
            Ok(thumbnail) => {
                feed.set_thumbnail(thumbnail);
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

    async fn picture(&self, still: Still) -> Result<Thumbnail, Error> {
        let film = fmp4::still(&still.config, still.data)?;
        let jpeg = self.convert(&film, Format::Jpeg).await?;
        // Some builds of ffmpeg cannot.
        let webp = self.convert(&film, Format::Webp).await.ok();
        Ok(Thumbnail {
            jpeg,
            webp,
            at: Timestamp::now(),
        })
    }

    async fn convert(&self, film: &Bytes, format: Format) -> Result<Bytes, Error> {
        let limit = self.settings.timeout;
        timeout(limit, self.run(film, format))
            .await
            .map_err(|_| Error::Timeout(limit))?
    }

    async fn run(&self, film: &Bytes, format: Format) -> Result<Bytes, Error> {
        let scale = format!("scale='min({},iw)':-2", self.settings.width);
        let mut child = Command::new(&self.settings.ffmpeg)
            .args(["-hide_banner", "-loglevel", "quiet", "-nostdin"])
            .args(["-threads", "1", "-f", "mp4", "-i", "pipe:0"])
            .args(["-frames:v", "1", "-vf", &scale, "-threads", "1"])
            .args(format.encoder())
            .arg("pipe:1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::NoPicture(format));
        };
        let mut picture = Vec::new();
        let mut stdout = stdout.take(LARGEST);
        let write = async {
            // It may stop reading as soon as it has its frame.
            let _ = stdin.write_all(film).await;
            drop(stdin);
        };
        let (read, ()) = tokio::join!(stdout.read_to_end(&mut picture), write);
        read?;
        child.kill().await?;
        if format.is_whole(&picture) {
            Ok(picture.into())
        } else {
            Err(Error::NoPicture(format))
        }
    }
}

// === impl Format ===

impl Format {
    fn encoder(self) -> &'static [&'static str] {
        match self {
            Format::Jpeg => &["-q:v", "5", "-f", "mjpeg"],
            Format::Webp => &["-c:v", "libwebp", "-quality", "70", "-f", "image2pipe"],
        }
    }

    fn is_whole(self, picture: &[u8]) -> bool {
        match (self, picture) {
            (Format::Jpeg, _) => {
                picture.starts_with(&[0xFF, 0xD8]) && picture.ends_with(&[0xFF, 0xD9])
            }
            // What follows its length is as long.
            (Format::Webp, [b'R', b'I', b'F', b'F', a, b, c, d, rest @ ..]) => {
                rest.starts_with(b"WEBP")
                    && rest.len() == u32::from_le_bytes([*a, *b, *c, *d]) as usize
            }
            (Format::Webp, _) => false,
        }
    }
}
