//! What viewers of one broadcast can get, shared between its publisher and HTTP.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use lemonair_schemas::stream::Figures;
use lemonair_schemas::{EventId, Timestamp};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::health::Health;
use crate::hls::{self, Playlist, Report, Settings, Superseded};
use crate::packager::{Piece, Still};
use crate::rendition::Rendition;

#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) stream: EventId,
    /// The publisher's own picture.
    pub(crate) source: Arc<Rendition>,
    /// What is made of it, the best first.
    ladder: RwLock<Vec<Arc<Rendition>>>,
    /// How many more are being made, and are not listed yet.
    coming: watch::Sender<usize>,
    settings: Settings,
    /// The newest key frame.
    pub(crate) still: watch::Sender<Option<Still>>,
    thumbnail: Mutex<Option<Thumbnail>>,
    /// How the publisher does, while there is one.
    health: Mutex<Option<Health>>,
    /// How the latest did, also when it is gone.
    figures: Mutex<Option<Figures>>,
    /// Why its recording cannot be written at the moment.
    recording_fault: Mutex<Option<String>>,
}

/// One more picture that will be listed, until this is dropped.
#[derive(Debug)]
pub(crate) struct Coming(Arc<Feed>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thumbnail {
    pub(crate) jpeg: Bytes,
    /// None, where ffmpeg cannot make it.
    pub(crate) webp: Option<Bytes>,
    pub(crate) at: Timestamp,
}

// === impl Feed ===

impl Feed {
    pub(crate) fn new(stream: EventId, settings: Settings) -> Feed {
        Feed {
            stream,
            source: Arc::new(Rendition::new(settings.clone())),
            ladder: RwLock::default(),
            coming: watch::Sender::new(0),
            settings,
            still: watch::Sender::new(None),
            thumbnail: Mutex::new(None),
            health: Mutex::new(None),
            figures: Mutex::new(None),
            recording_fault: Mutex::new(None),
        }
    }

    /// Takes in what the publisher's packager made.
    pub(crate) fn push(
        &self,
        publisher: u64,
        pieces: Vec<Piece>,
        now: Timestamp,
    ) -> Result<(), Superseded> {
        if pieces.is_empty() {
            return Ok(());
        }
        let still = pieces.iter().rev().find_map(|piece| match piece {
            Piece::Still(still) => Some(still.clone()),
            _ => None,
        });
        self.source.push(publisher, pieces, now)?;
        if still.is_some() {
            self.still.send_replace(still);
        }
        Ok(())
    }

    /// A publisher begins; where on the line its first frame goes.
    pub(crate) fn begin(&self, publisher: u64) -> Duration {
        self.source.begin(publisher)
    }

    /// What is made of the publisher's picture is ended by who makes it, a moment later.
    pub(crate) fn end(&self) {
        self.source.end();
    }

    /// One more picture of the broadcast, below those that are there. Whoever makes it begins it,
    /// pushes what a packager of its own cut, and ends it; it is listed from its first segment on,
    /// and has a media playlist of its own.
    pub(crate) fn add_rendition(&self) -> Arc<Rendition> {
        // It is not recorded: it reaches back as far as memory does.
        let settings = Settings {
            dvr: Duration::ZERO,
            ..self.settings.clone()
        };
        let rendition = Arc::new(Rendition::new(settings));
        self.ladder
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&rendition));
        rendition
    }

    /// A rendition will be added, unless its maker gives up.
    pub(crate) fn expect_rendition(self: &Arc<Feed>) -> Coming {
        self.coming.send_modify(|coming| *coming += 1);
        Coming(Arc::clone(self))
    }

    /// Waits until all pictures are listed that will be, but no longer than this.
    pub(crate) async fn is_listed(&self, patience: Duration) {
        let mut coming = self.coming.subscribe();
        timeout(patience, coming.wait_for(|coming| *coming == 0))
            .await
            .ok();
    }

    /// Takes one out again, whose maker has given up.
    pub(crate) fn remove_rendition(&self, id: EventId) {
        self.ladder
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|rendition| rendition.id != id);
    }

    /// All pictures of the broadcast, the publisher's own first.
    pub(crate) fn renditions(&self) -> Vec<Arc<Rendition>> {
        let ladder = self.ladder.read().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(&self.source)
            .chain(&*ladder)
            .cloned()
            .collect()
    }

    pub(crate) fn rendition(&self, id: &str) -> Option<Arc<Rendition>> {
        self.renditions()
            .into_iter()
            .find(|rendition| rendition.id.to_string() == id)
    }

    /// The places to play from, told with their codecs: `None` until the first segment is there.
    pub(crate) fn master(&self) -> Option<Playlist> {
        let variants: Vec<hls::Variant> = self
            .renditions()
            .iter()
            .filter_map(|rendition| rendition.window().variant())
            .collect();
        hls::master(&variants)
    }

    /// How far the other pictures of the broadcast have got, for who changes over to one of them.
    pub(crate) fn reports(&self, of: &Rendition) -> Vec<Report> {
        self.renditions()
            .iter()
            .filter(|other| other.id != of.id)
            .filter_map(|other| other.window().report())
            .collect()
    }

    pub(crate) fn health(&self) -> Option<Health> {
        self.health
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn figures(&self) -> Option<Figures> {
        self.figures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_health(&self, health: Option<Health>) {
        if let Some(health) = &health {
            let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
            *figures = Some(health.figures());
        }
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }

    pub(crate) fn recording_fault(&self) -> Option<String> {
        self.recording_fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether there is one now where there was none, or none where there was one.
    pub(crate) fn set_recording_fault(&self, fault: Option<String>) -> bool {
        let mut known = self
            .recording_fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_new = known.is_some() != fault.is_some();
        *known = fault;
        is_new
    }

    pub(crate) fn thumbnail(&self) -> Option<Thumbnail> {
        self.thumbnail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_thumbnail(&self, thumbnail: Thumbnail) {
        *self
            .thumbnail
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(thumbnail);
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.coming.send_modify(|coming| *coming -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packager::Fragment;

    fn segment(kilobytes: usize) -> Vec<Piece> {
        let part = Fragment {
            bytes: vec![7; kilobytes * 1000].into(),
            duration: Duration::from_secs(2),
            independent: true,
        };
        let init = Piece::Init {
            bytes: Bytes::from_static(b"init"),
            codecs: "avc1.64001f".to_owned(),
            size: None,
        };
        vec![init, Piece::Fragment(part), Piece::SegmentEnd]
    }

    #[test]
    fn renditions_are_listed_from_their_first_segment_on_and_tell_of_each_other() {
        let feed = Feed::new(EventId::new(), crate::Config::default().hls);
        let small = feed.add_rendition();
        assert_eq!(feed.master(), None);
        feed.begin(1);
        small.begin(1);
        feed.push(1, segment(200), Timestamp(0)).unwrap();
        let text = |playlist: Playlist| String::from_utf8(playlist.text.to_vec()).unwrap();
        let alone = feed.master().unwrap();
        assert_eq!(text(alone.clone()).matches(".m3u8").count(), 1);
        assert_eq!(feed.reports(&feed.source), []);
        small.push(1, segment(100), Timestamp(0)).unwrap();
        let both = feed.master().unwrap();
        assert_ne!(alone.etag, both.etag);
        let names = [&feed.source, &small].map(|one| format!("\n{}.m3u8\n", one.id));
        let both = text(both);
        let places = names.each_ref().map(|name| both.find(name).unwrap());
        assert!(places.is_sorted(), "{both}");

        let playlist = feed.source.window().playlist(false).unwrap();
        let told = playlist.clone().with(&feed.reports(&feed.source));
        assert_ne!(playlist.etag, told.etag);
        let line = format!(
            "#EXT-X-RENDITION-REPORT:URI=\"{}.m3u8\",LAST-MSN=0,LAST-PART=0\n",
            small.id
        );
        assert!(text(told).ends_with(&line));

        // What is no longer listed can still be had for a while, by players that are late.
        for _ in 0..20 {
            small.push(1, segment(100), Timestamp(0)).unwrap();
        }
        let listed = text(small.window().playlist(false).unwrap());
        let (_, sequence) = listed.split_once("#EXT-X-MEDIA-SEQUENCE:").unwrap();
        let first: u64 = sequence.lines().next().unwrap().parse().unwrap();
        let late = format!("{}-{}.m4s", small.id, first - 1);
        assert!(small.window().file(&late).is_ok(), "{listed}");

        assert!(feed.rendition(&small.id.to_string()).is_some());
        feed.remove_rendition(small.id);
        assert!(feed.rendition(&small.id.to_string()).is_none());
        assert_eq!(text(feed.master().unwrap()), text(alone));
    }
}
