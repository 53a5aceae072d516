//! Smaller pictures of a broadcast. Each is a rung of the ladder: the broadcast's parts go into an
//! `ffmpeg` child, FLV comes out, and is cut as the publisher's own is. Nothing touches the disk.
//!
//! A child lives on its pipes: when we are gone, however we went, its input ends and so does it. When
//! it is gone, another takes its place at the next segment, and the publisher's own picture goes on.

use std::ffi::OsString;
use std::io;
use std::pin::pin;
use std::process::Stdio;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lemonair_schemas::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::feed::{Coming, Feed};
use crate::flv::{self, Unit};
use crate::fmp4;
use crate::hls::{Init, Kept, Stretch, Superseded};
use crate::packager::{Cut, Packager, Piece};
use crate::rendition::Rendition;
use crate::rtmp::{Media, MediaKind};

#[derive(Debug, Clone)]
pub struct Settings {
    /// The program; a name is looked up in `PATH`.
    pub ffmpeg: OsString,
    pub rungs: Vec<Rung>,
    /// Of each decoder and encoder.
    pub threads: u16,
    /// At once, over all broadcasts.
    pub children: usize,
    /// How long the list of pictures waits for those that are coming. Players read it once, so whoever
    /// came in the moment before would not know of them for the whole evening.
    pub patience: Duration,
}

/// How high a picture is and how much it may take, as in `720p:2500k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    height: u16,
    kilobits: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rung is a height from 90p to 4320p, even, and a bitrate, as in 720p:2500k")]
pub struct BadRung;

/// Makes the rungs of all broadcasts.
#[derive(Debug)]
pub(crate) struct Ladder {
    settings: Settings,
    cut: Cut,
    children: Semaphore,
}

/// Reads the publisher's picture part by part. The window is the queue.
struct Reader {
    source: Arc<Rendition>,
    /// The segment that comes next, and the part of it.
    number: u64,
    part: usize,
}

/// One rung of one broadcast, over all its children.
struct Step {
    feed: Arc<Feed>,
    rung: Rung,
    cut: Cut,
    /// Until it is listed for the first time, or will not be for now.
    coming: Option<Coming>,
    /// While the publisher's picture is larger.
    rendition: Option<Arc<Rendition>>,
    child: u64,
    /// With which of the publisher's headers the child began, and in which stretch.
    source: u64,
    stretch: Stretch,
    /// The wall clock at the end of what it gave so far.
    at: Timestamp,
    /// What it gave before its first key frame.
    headers: Vec<Unit>,
    /// From then on.
    packager: Option<Packager>,
    /// The header that was listed last, and what it was made of.
    init: Option<(u64, Bytes)>,
}

/// A child that is so many segments behind is too slow.
const BEHIND: u64 = 4;
/// One that takes nothing for so long hangs, or that gives nothing more and does not end.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// Whoever else is on the machine comes first.
const NICE: &str = "10";
/// Bytes of FLV before the first tag's length, and from one length up to a payload.
const FILE_HEAD: usize = 9;
const TAG_HEAD: usize = 15;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("run ffmpeg: {0}")]
    Run(#[from] io::Error),
    #[error("ffmpeg gave what cannot be read: {0}")]
    Flv(#[from] flv::Error),
    #[error(transparent)]
    Mp4(#[from] fmp4::Error),
    #[error(transparent)]
    Superseded(#[from] Superseded),
    #[error("ffmpeg took nothing for {PATIENCE:?}")]
    Stuck,
    #[error("ffmpeg is too slow for this picture: take a rung away, or give it more threads")]
    Slow,
    #[error("ffmpeg ended: {0}")]
    Ended(String),
    #[error("{0} of them are at work, and no more may be")]
    Crowded(usize),
}

// === impl Rung ===

impl FromStr for Rung {
    type Err = BadRung;

    fn from_str(text: &str) -> Result<Rung, BadRung> {
        let (height, rate) = text.split_once("p:").ok_or(BadRung)?;
        let kilobits = rate.strip_suffix('k').and_then(|rate| rate.parse().ok());
        match (height.parse(), kilobits) {
            // Encoders want even sides.
            (Ok(height @ 90..=4320), Some(kilobits @ 50..=100_000)) if height % 2 == 0 => {
                Ok(Rung { height, kilobits })
            }
            _ => Err(BadRung),
        }
    }
}

// === impl Ladder ===

impl Ladder {
    pub(crate) fn new(settings: Settings, cut: Cut) -> Ladder {
        Ladder {
            children: Semaphore::new(settings.children),
            settings,
            cut,
        }
    }

    /// Keeps a rung going until the broadcast is over.
    pub(crate) async fn follow(self: Arc<Ladder>, feed: Arc<Feed>, rung: Rung, coming: Coming) {
        let stream = feed.stream;
        let mut reader = Reader {
            source: Arc::clone(&feed.source),
            number: 0,
            part: 0,
        };
        let mut step = Step::new(feed, rung, self.cut.clone(), coming);
        let mut pause = FIRST_RETRY;
        while let Some(first) = reader.next().await {
            if !step.can_begin(&first, reader.part) {
                reader.advance(&first);
                continue;
            }
            let begun = Instant::now();
            let Err(error) = self.make(&mut reader, &mut step, &first).await else {
                pause = FIRST_RETRY;
                continue;
            };
            step.coming = None;
            tracing::warn!(%stream, height = rung.height, "failed to make a smaller picture: {error}");
            metrics::counter!("lemonair_ingest_ladder_failures_total").increment(1);
            if begun.elapsed() > LAST_RETRY {
                pause = FIRST_RETRY;
            }
            let skip = async {
                while let Some(kept) = reader.next().await {
                    reader.advance(&kept);
                }
            };
            if timeout(pause, skip).await.is_ok() {
                break;
            }
            pause = (pause * 2).min(LAST_RETRY);
        }
        if let Some(rendition) = step.rendition {
            rendition.end();
        }
    }

    /// One child, until the publisher's picture is another or over.
    async fn make(&self, reader: &mut Reader, step: &mut Step, first: &Kept) -> Result<(), Error> {
        let place = self.children.try_acquire();
        let _place = place.map_err(|_| Error::Crowded(self.settings.children))?;
        let mut child = self.command(step.rung, &first.init).spawn()?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Error::Stuck);
        };
        let last_words = tokio::spawn(last_words(stderr));
        step.begin(first);
        let mut take = pin!(take(stdout, step));
        let outcome = tokio::select! {
            put = put(stdin, reader, first) => match put {
                // Its input is closed: it gives what it has left, and ends.
                Ok(()) => timeout(PATIENCE, &mut take).await.unwrap_or(Err(Error::Stuck)),
                Err(error) => Err(error),
            },
            taken = &mut take => taken.and_then(|()| Err(Error::Ended("without a word".to_owned()))),
        };
        child.kill().await?;
        let Err(error) = outcome else { return Ok(()) };
        let said = last_words.await.unwrap_or_default();
        Err(if said.is_empty() {
            error
        } else {
            Error::Ended(said)
        })
    }

    fn command(&self, rung: Rung, init: &Init) -> Command {
        let Settings {
            ffmpeg, threads, ..
        } = &self.settings;
        let threads = threads.to_string();
        let rate = format!("{}k", rung.kilobits);
        let scale = format!("scale=-2:{}", rung.height);
        // FLV, as we know it, carries no other.
        let sound: &[&str] = if init.codecs.contains("mp4a") {
            &["-c:a", "copy"]
        } else {
            &["-c:a", "aac", "-b:a", "128k"]
        };
        let mut command = Command::new("nice");
        command
            .args(["-n", NICE])
            .arg(ffmpeg)
            .args(["-hide_banner", "-loglevel", "error", "-nostdin"])
            // It need not measure the rate before it begins.
            .args(["-threads", &threads, "-fpsprobesize", "0"])
            .args(["-f", "mp4", "-i", "pipe:0"])
            .args(["-map", "0:v:0", "-map", "0:a:0?"])
            // Times stay as they are.
            .args(["-copyts", "-fps_mode", "passthrough"])
            .args(["-enc_time_base:v", "1/1000", "-vf", &scale])
            .args(["-c:v", "libx264", "-preset", "veryfast"])
            .args(["-tune", "zerolatency", "-pix_fmt", "yuv420p"])
            .args(["-threads:v", &threads])
            .args(["-b:v", &rate, "-maxrate", &rate, "-bufsize", &rate])
            // Key frames where the publisher's are, so that players change over without a seam.
            .args(["-force_key_frames", "source", "-forced-idr", "1"])
            .args(["-g", "100000", "-sc_threshold", "0"])
            .args(sound)
            .args(["-f", "flv", "-flvflags", "no_duration_filesize"])
            .args(["-flush_packets", "1", "pipe:1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// Until another header is needed, or until there is nothing more. The child's input then ends.
async fn put(mut stdin: ChildStdin, reader: &mut Reader, first: &Kept) -> Result<(), Error> {
    write(&mut stdin, &first.init.bytes).await?;
    while let Some(kept) = reader.next().await
        && kept.name.init == first.name.init
    {
        for part in &kept.parts {
            write(&mut stdin, &part.bytes).await?;
        }
        reader.advance(&kept);
        if reader.is_behind() {
            return Err(Error::Slow);
        }
    }
    Ok(())
}

async fn write(stdin: &mut ChildStdin, bytes: &Bytes) -> Result<(), Error> {
    let written = timeout(PATIENCE, stdin.write_all(bytes)).await;
    Ok(written.map_err(|_| Error::Stuck)??)
}

/// Until the child's output ends.
async fn take(stdout: ChildStdout, step: &mut Step) -> Result<(), Error> {
    let mut stdout = BufReader::new(stdout);
    let mut head = [0; FILE_HEAD];
    if stdout.read_exact(&mut head).await.is_err() {
        return Ok(());
    }
    while let Some(media) = tag(&mut stdout).await? {
        step.take(&media)?;
    }
    step.finish()
}

/// The next tag of an FLV file, behind the length of the one before it.
async fn tag(file: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Media>> {
    let mut head = [0; TAG_HEAD];
    match file.read_exact(&mut head).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let [_, _, _, _, kind, len @ .., t2, t1, t0, t3, _, _, _] = head;
    let [a, b, c] = len;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    file.read_exact(&mut payload).await?;
    Ok(Some(Media {
        kind: match kind {
            8 => MediaKind::Audio,
            9 => MediaKind::Video,
            _ => MediaKind::Data,
        },
        timestamp: u32::from_be_bytes([t3, t2, t1, t0]),
        payload: payload.into(),
    }))
}

/// What it said at last. All of it is read, so that it never waits for us.
async fn last_words(mut stderr: ChildStderr) -> String {
    let mut said = Vec::new();
    let mut bytes = [0; 1024];
    while let Ok(len @ 1..) = stderr.read(&mut bytes).await {
        said.extend_from_slice(&bytes[..len]);
        said.drain(..said.len().saturating_sub(bytes.len()));
    }
    let said = String::from_utf8_lossy(&said);
    said.lines().last().unwrap_or_default().to_owned()
}

// === impl Reader ===

impl Reader {
    /// The parts that come next, of one segment. `None`: the broadcast is over.
    async fn next(&mut self) -> Option<Kept> {
        let mut progress = self.source.progress();
        loop {
            {
                let window = self.source.window();
                if let Some(kept) = window.parts_from(self.number, self.part) {
                    if kept.name.number != self.number {
                        (self.number, self.part) = (kept.name.number, 0);
                    }
                    return Some(kept);
                }
                if window.has_ended() {
                    return None;
                }
            }
            progress.changed().await.ok()?;
        }
    }

    fn advance(&mut self, past: &Kept) {
        self.part += past.parts.len();
    }

    fn is_behind(&self) -> bool {
        self.source.window().next_segment() > self.number + BEHIND
    }
}

// === impl Step ===

impl Step {
    fn new(feed: Arc<Feed>, rung: Rung, cut: Cut, coming: Coming) -> Step {
        Step {
            feed,
            rung,
            cut,
            coming: Some(coming),
            rendition: None,
            child: 0,
            source: 0,
            stretch: Stretch::default(),
            at: Timestamp(0),
            headers: Vec::new(),
            packager: None,
            init: None,
        }
    }

    /// Whether a child can begin with these parts, which begin with this part of a segment. A picture
    /// that is not larger has no such rung.
    fn can_begin(&mut self, kept: &Kept, part: usize) -> bool {
        let larger = kept
            .init
            .size
            .is_some_and(|(_, height)| height > self.rung.height);
        if !larger {
            self.coming = None;
            if let Some(rendition) = self.rendition.take() {
                self.feed.remove_rendition(rendition.id);
            }
        }
        larger && part == 0 && kept.parts.first().is_some_and(|part| part.independent)
    }

    fn begin(&mut self, first: &Kept) {
        self.child += 1;
        self.source = first.name.init;
        self.stretch = first.stretch;
        self.at = first.name.begins;
        self.headers.clear();
        self.packager = None;
    }

    fn take(&mut self, media: &Media) -> Result<(), Error> {
        let unit = flv::parse(media)?;
        if self.packager.is_none() {
            match &unit {
                Unit::VideoFrame(frame) if frame.key => self.open(media.timestamp)?,
                Unit::VideoFrame(_) | Unit::AudioFrame(_) => return Ok(()),
                _ => {
                    self.headers.push(unit);
                    return Ok(());
                }
            }
        }
        if let Some(packager) = &mut self.packager {
            let pieces = packager.handle(media.timestamp, unit)?;
            self.push(pieces)?;
        }
        Ok(())
    }

    /// The first key frame is of this time, on the broadcast's line.
    fn open(&mut self, time: u32) -> Result<(), Error> {
        let rendition = self
            .rendition
            .get_or_insert_with(|| self.feed.add_rendition());
        rendition
            .window()
            .skip_to(Duration::from_millis(time.into()), self.stretch);
        rendition.begin(self.child);
        let mut packager = Packager::new(self.cut.clone(), time.into());
        for header in self.headers.drain(..) {
            packager.handle(time, header)?;
        }
        self.packager = Some(packager);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        if let Some(mut packager) = self.packager.take() {
            let pieces = packager.finish()?;
            self.push(pieces)?;
        }
        Ok(())
    }

    fn push(&mut self, pieces: Vec<Piece>) -> Result<(), Error> {
        let Some(rendition) = &self.rendition else {
            return Ok(());
        };
        for piece in pieces {
            match &piece {
                // One child goes on where the one before it stopped.
                Piece::Init { bytes, .. } => {
                    let init = Some((self.source, bytes.clone()));
                    if self.init == init {
                        continue;
                    }
                    self.init = init;
                }
                Piece::Fragment(fragment) => self.at = self.at.plus(fragment.duration),
                Piece::SegmentEnd | Piece::Still(_) => {}
            }
            rendition.push(self.child, vec![piece], self.at)?;
        }
        if self.coming.is_some() && rendition.window().variant().is_some() {
            self.coming = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs() {
        let rung = Rung {
            height: 720,
            kilobits: 2500,
        };
        assert_eq!("720p:2500k".parse(), Ok(rung));
        for text in [
            "",
            "720p",
            "720:2500k",
            "720p:2500",
            "721p:2500k",
            "8p:100k",
            "720p:-1k",
            "720p:1k",
        ] {
            assert_eq!(text.parse::<Rung>(), Err(BadRung), "{text}");
        }
    }
}
