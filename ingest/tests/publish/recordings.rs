//! What is kept of a broadcast can be watched from its first to its last picture.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lemonair_ingest::{Config, Lifecycle, RecordingNews, Recordings, Retention, Store};
use lemonair_schemas::EventId;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::conformance::Playlist;
use crate::stage::*;
use crate::{ENDED, STARTED, What};

/// A folder of its own, gone afterwards.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        let name = format!("lemonair-recordings-{}", Uuid::now_v7());
        Folder(std::env::temp_dir().join(name))
    }

    pub(crate) fn config(&self, store: Option<Store>) -> Config {
        Config {
            recordings: Some(Recordings::open(self.0.clone(), store).expect("a folder")),
            keep_every: Duration::from_millis(100),
            ..Config::default()
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A bucket, where recordings are kept below `kept`.
#[derive(Default)]
struct Bucket(Arc<InMemory>);

impl Bucket {
    fn store(&self) -> Option<Store> {
        Some(Store {
            bucket: Arc::clone(&self.0) as Arc<dyn ObjectStore>,
            within: Path::from("kept"),
            aside: None,
        })
    }

    async fn put(&self, stream: EventId, file: &str) {
        let place = Path::from(format!("kept/{stream}/{file}"));
        let put = self.0.put(&place, file.to_owned().into());
        put.await.expect("memory");
    }

    /// Its files of a broadcast.
    async fn files(&self, stream: EventId) -> Vec<String> {
        let found = self.0.list(Some(&Path::from(format!("kept/{stream}"))));
        let name = async |found: object_store::Result<object_store::ObjectMeta>| {
            let place = found.expect("memory").location;
            place.filename().map(str::to_owned)
        };
        found.filter_map(name).collect().await
    }

    /// Waits until all that the folder had of a broadcast is here.
    async fn until_kept(&self, folder: &Folder, stream: EventId) {
        until("it is in the bucket, and there alone", || async {
            let is_whole = self.files(stream).await.contains(&"index.m3u8".to_owned());
            (is_whole && !folder.0.join(stream.to_string()).exists()).then_some(())
        })
        .await;
    }

    async fn until_gone(&self, stream: EventId) {
        until("it is gone from the bucket", || async {
            self.files(stream).await.is_empty().then_some(())
        })
        .await;
    }
}

impl Topic {
    /// Knows of one more broadcast, which was over before, and that its recording was whole.
    fn with_past(self, stream: EventId, bytes: u64) -> Topic {
        let event = |what| Lifecycle {
            room: ROOM.parse().expect("a room"),
            stream,
            what,
            origin: String::new(),
            ingest: "another".to_owned(),
            figures: None,
        };
        let mut events = self.events.lock().expect("no panic");
        events.extend([STARTED, ENDED].map(event));
        drop(events);
        let whole = RecordingNews::Whole {
            begins: stream.at(),
            duration: Duration::from_secs(2),
            bytes,
        };
        let mut told = self.recordings.lock().expect("no panic");
        told.push((stream, whole));
        drop(told);
        self
    }

    /// Knows of one more broadcast, which went as the first.
    fn has_one_more(&self, stream: EventId) {
        let mut events = self.events.lock().expect("no panic");
        let first = events[0].stream;
        let of_first = events.iter().filter(|event| event.stream == first);
        let alike = of_first.map(|event| Lifecycle {
            stream,
            ..event.clone()
        });
        let alike: Vec<Lifecycle> = alike.collect();
        events.extend(alike);
    }
}

impl Stage {
    /// The newest broadcast.
    pub(crate) fn stream(&self) -> EventId {
        let events = self.topic.events.lock().expect("no panic");
        events.last().expect("a broadcast").stream
    }

    fn recording(&self) -> String {
        format!("{}/recordings/{}/index.m3u8", self.http, self.stream())
    }

    async fn until_whole(&self) -> (Duration, u64) {
        until("the recording is whole", || async {
            let told = self.topic.recordings.lock().expect("no panic");
            told.iter().find_map(|(_, news)| match news {
                RecordingNews::Whole {
                    duration, bytes, ..
                } => Some((*duration, *bytes)),
                _ => None,
            })
        })
        .await
    }
}

async fn text(url: &str) -> String {
    get(url).await.text().await.expect("a text")
}

#[tokio::test]
async fn a_broadcast_is_kept_from_its_first_to_its_last_picture() {
    let folder = Folder::new();
    let stage = Stage::with(folder.config(None), Topic::default()).await;
    let encoder = stage.publish(KEY, &picture_and_tone(6));
    stage.until_told(&[STARTED]).await;

    // While it is being made it can be watched as far as it is there.
    let growing = until("its first segments", || async {
        let answer = get(&stage.recording()).await;
        if !answer.status().is_success() {
            return None;
        }
        let cache = answer.headers()["cache-control"].clone();
        assert_eq!(cache, "public, max-age=1, must-revalidate");
        let text = answer.text().await.expect("a text");
        (text.matches("#EXTINF").count() >= 2).then_some(text)
    })
    .await;
    let check = |text: &str| Playlist::check(text).unwrap_or_else(|rule| panic!("{rule}:\n{text}"));
    let growing = check(&growing);
    assert_eq!((growing.kind.as_str(), growing.ended), ("EVENT", false));

    assert_eq!(finish(encoder).await, (true, String::new()));
    let (duration, bytes) = stage.until_whole().await;
    let whole = get(&stage.recording()).await;
    assert_eq!(whole.headers()["cache-control"], "public, max-age=60");
    let whole = whole.text().await.expect("a text");
    let known = check(&whole);
    assert_eq!((known.kind.as_str(), known.ended), ("VOD", true));
    known
        .check_after(&growing)
        .unwrap_or_else(|rule| panic!("{rule}:\n{whole}"));
    assert_eq!(whole.matches("#EXT-X-MAP").count(), 1, "{whole}");
    assert!(whole.contains("#EXT-X-PROGRAM-DATE-TIME"), "{whole}");
    crate::check_media_at(&stage.recording(), "h264,320,180\naac", 5.9..6.2).await;
    assert!((5900..6200).contains(&duration.as_millis()), "{duration:?}");
    let told = stage.topic.recordings.lock().expect("no panic").clone();
    assert_eq!(told[0], (stage.stream(), RecordingNews::Begun));
    assert_eq!(told.len(), 2, "{told:?}");

    // The same bytes as live, under names that never mean anything else.
    let mut found = 0;
    for name in whole.lines().filter(|line| line.ends_with(".m4s")) {
        let url = stage.recording().replace("index.m3u8", name);
        let answer = get(&url).await;
        assert_eq!(answer.headers()["content-type"], "video/mp4");
        let cache = answer.headers()["cache-control"].clone();
        assert_eq!(cache, "public, max-age=31536000, immutable");
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        let body = answer.bytes().await.expect("a body");
        found += body.len() as u64;
        let (live, _) = name.rsplit_once('-').expect("a name");
        let (live, _) = live.rsplit_once('-').expect("a name");
        let (live, _) = live.rsplit_once('-').expect("a name");
        let live = stage
            .playlist()
            .replace("index.m3u8", &format!("{live}.m4s"));
        assert_eq!(body, get(&live).await.bytes().await.expect("a body"));
    }
    assert_eq!(found, bytes);

    // A player that seeks asks for ranges.
    let name = whole.lines().find(|line| line.ends_with(".m4s"));
    let url = stage
        .recording()
        .replace("index.m3u8", name.expect("a segment"));
    let all = get(&url).await.bytes().await.expect("a body");
    let ask = |name: &'static str, value: String| {
        reqwest::Client::new().get(&url).header(name, value).send()
    };
    let part = ask("range", "bytes=10-19".to_owned())
        .await
        .expect("an answer");
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    let range = format!("bytes 10-19/{}", all.len());
    assert_eq!(part.headers()["content-range"], range.as_str());
    assert_eq!(part.bytes().await.expect("a body"), all[10..20]);
    let beyond = format!("bytes={}-", all.len());
    let beyond = ask("range", beyond).await.expect("an answer");
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let etag = get(&url).await.headers()["etag"].clone();
    let etag = etag.to_str().expect("a tag").to_owned();
    let known = ask("if-none-match", etag).await.expect("an answer");
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    for wrong in ["nothing.m4s", "..%2f..%2fkeys", "index.m3u8.m4s"] {
        let url = stage.recording().replace("index.m3u8", wrong);
        assert_eq!(get(&url).await.status(), 404, "{wrong}");
    }

    // Somebody deletes it: nothing is left.
    let stream = stage.stream();
    stage.topic.deleted.lock().expect("no panic").push(stream);
    until("it is gone", || async {
        (!folder.0.join(stream.to_string()).exists()).then_some(())
    })
    .await;
    assert_eq!(get(&stage.recording()).await.status(), 404);
}

/// A publisher whose line drops comes back with another size; the recording has both.
#[tokio::test]
async fn a_line_that_drops_is_a_discontinuity_of_the_recording() {
    let folder = Folder::new();
    let stage = Stage::with(folder.config(None), Topic::default()).await;
    let encoder = stage.publish(KEY, &picture_and_tone(20));
    stage
        .until_playlist("two segments", |text| text.matches("#EXTINF").count() >= 2)
        .await;
    kill(encoder).await;
    stage.until_told(&[STARTED, What::Interrupted]).await;
    let picture = "-re -f lavfi -i testsrc=size=640x360:rate=30";
    let again = format!("{picture} {} -t 3 {VIDEO} {AUDIO}", tone());
    let encoder = stage.publish(KEY, &again);
    assert_eq!(finish(encoder).await, (true, String::new()));
    let (duration, _) = stage.until_whole().await;
    let text = text(&stage.recording()).await;
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{text}");
    assert_eq!(text.matches("#EXT-X-MAP").count(), 2, "{text}");
    // A busy machine may date it anew in between, too.
    assert!(
        text.matches("#EXT-X-PROGRAM-DATE-TIME").count() >= 2,
        "{text}"
    );
    assert!(duration > Duration::from_secs(4), "{duration:?}");
    for (n, size) in ["320,180", "640,360"].into_iter().enumerate() {
        let stretch = crate::stage::stretches_of(&stage.recording())
            .await
            .remove(n);
        let file = stage.data.join(format!("{size}.mp4"));
        std::fs::write(&file, stretch).expect("a file");
        let file = file.to_str().expect("UTF-8");
        let video = [
            "-select_streams",
            "v",
            "-show_entries",
            "stream=width,height",
            file,
        ];
        assert_eq!(probe_streams(&video).await, size);
        assert_eq!(complaints(file).await, "");
    }
}

/// Viewers go back beyond what is in memory.
#[tokio::test]
async fn what_has_left_memory_comes_from_the_recording() {
    let folder = Folder::new();
    let mut config = folder.config(None);
    config.hls.window = Duration::from_secs(2);
    config.hls.kept = Duration::from_secs(1);
    config.hls.target = Duration::from_secs(1);
    config.cut.target = Duration::from_secs(1);
    let stage = Stage::with(config, Topic::default()).await;
    let encoder = stage.publish(KEY, &picture_and_tone(9));
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage.until_told(&[STARTED, ENDED]).await;
    let text = stage.playlist_text().await;
    Playlist::check(&text).unwrap_or_else(|rule| panic!("{rule}:\n{text}"));
    assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:0\n"), "{text}");
    crate::check_media(&stage, "h264,320,180\naac", 8.9..9.2).await;
    // Only the newest of them are in memory: without the folder the older are gone.
    let name = text.lines().find(|line| line.ends_with(".m4s"));
    let url = stage.playlist().replace("index.m3u8", name.expect("one"));
    let etag = format!("\"{}\"", name.expect("one"));
    let first = get(&url).await;
    assert_eq!(
        (first.status(), &first.headers()["etag"]),
        (StatusCode::OK, &etag.parse().expect("a tag"))
    );
    std::fs::remove_dir_all(folder.0.join(stage.stream().to_string())).expect("a folder");
    assert_eq!(get(&url).await.status(), 404);
    let last = text.lines().rfind(|line| line.ends_with(".m4s"));
    let url = stage.playlist().replace("index.m3u8", last.expect("one"));
    assert_eq!(get(&url).await.status(), 200);
}

/// The oldest go when there is too much, and what is too old.
#[tokio::test]
async fn what_is_too_much_goes() {
    let folder = Folder::new();
    let mut config = folder.config(None);
    config.retention = Retention {
        age: None,
        bytes: Some(1),
    };
    let stage = Stage::with(config, Topic::default()).await;
    let encoder = stage.publish(KEY, &picture_and_tone(2));
    assert_eq!(finish(encoder).await, (true, String::new()));
    until("it is gone", || async {
        let told = stage.topic.recordings.lock().expect("no panic").clone();
        let gone = told.iter().any(|(_, news)| *news == RecordingNews::Expired);
        (gone && !folder.0.join(stage.stream().to_string()).exists()).then_some(())
    })
    .await;
}

/// It was begun, and then no segment could be written to the end of the broadcast.
#[tokio::test]
async fn a_recording_without_anything_in_it_is_not_waited_for() {
    let folder = Folder::new();
    let stage = Stage::with(folder.config(None), Topic::default()).await;
    let encoder = stage.publish(KEY, &picture_and_tone(2));
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage.until_whole().await;
    let [told, untold] = [EventId::new(), EventId::new()];
    stage.topic.has_one_more(told);
    stage.topic.has_one_more(untold);
    let begun = (told, RecordingNews::Begun);
    stage.topic.recordings.lock().expect("no panic").push(begun);
    for stream in [told, untold] {
        let draft = folder.0.join("draft");
        std::fs::create_dir(&draft).expect("a folder");
        std::fs::write(draft.join(format!("{stream}-init0.mp4")), "init").expect("a file");
        std::fs::rename(draft, folder.0.join(stream.to_string())).expect("a folder");
    }
    until("they are gone", || async {
        let there = |stream: &EventId| folder.0.join(stream.to_string()).exists();
        (![told, untold].iter().any(there)).then_some(())
    })
    .await;
    let news = stage.topic.recordings.lock().expect("no panic").clone();
    let of = |stream: EventId| news.iter().filter(move |(of, _)| *of == stream);
    assert_eq!(of(told).count(), 2, "{news:?}");
    assert!(of(told).any(|(_, news)| *news == RecordingNews::Expired));
    assert_eq!(of(untold).count(), 0, "{news:?}");
}

/// What its streamer deletes is gone from the bucket as well.
#[tokio::test]
async fn what_is_deleted_goes_from_the_bucket() {
    let (folder, bucket) = (Folder::new(), Bucket::default());
    let stage = Stage::with(folder.config(bucket.store()), Topic::default()).await;
    let encoder = stage.publish(KEY, &picture_and_tone(3));
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage.until_whole().await;
    let stream = stage.stream();
    bucket.until_kept(&folder, stream).await;
    assert_eq!(get(&stage.recording()).await.status(), 200);
    stage.topic.deleted.lock().expect("no panic").push(stream);
    bucket.until_gone(stream).await;
    assert_eq!(get(&stage.recording()).await.status(), 404);
}

/// All that is in the bucket counts, whoever brought it there.
#[tokio::test]
async fn the_oldest_goes_from_the_bucket_when_there_is_too_much() {
    const MOST: u64 = 1 << 30;
    let (folder, bucket, old) = (Folder::new(), Bucket::default(), EventId::new());
    bucket.put(old, "index.m3u8").await;
    let mut config = folder.config(bucket.store());
    config.retention.bytes = Some(MOST);
    let stage = Stage::with(config, Topic::default().with_past(old, MOST)).await;
    let encoder = stage.publish(KEY, &picture_and_tone(2));
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage.until_told(&[STARTED, ENDED, STARTED, ENDED]).await;
    bucket.until_gone(old).await;
    let stream = stage.stream();
    bucket.until_kept(&folder, stream).await;
    assert_eq!(get(&stage.recording()).await.status(), 200);
    let told = stage.topic.recordings.lock().expect("no panic").clone();
    let expired = told
        .iter()
        .filter(|(_, news)| *news == RecordingNews::Expired);
    let expired: Vec<EventId> = expired.map(|(stream, _)| *stream).collect();
    assert_eq!(expired, [old]);
}

/// One that cannot be brought there keeps neither room from being made nor others from being brought.
#[tokio::test]
async fn what_cannot_be_brought_to_the_bucket_keeps_nothing_else_waiting() {
    let (folder, bucket) = (Folder::new(), Bucket::default());
    let (stuck, deleted) = (EventId::new(), EventId::new());
    let config = folder.config(bucket.store());
    // A file that cannot be read.
    let file = folder.0.join(stuck.to_string()).join("thumbnail.jpg");
    std::fs::create_dir_all(file).expect("a folder");
    bucket.put(deleted, "index.m3u8").await;
    let topic = Topic::default();
    topic.deleted.lock().expect("no panic").push(deleted);
    let topic = topic.with_past(stuck, 1).with_past(deleted, 1);
    let stage = Stage::with(config, topic).await;
    bucket.until_gone(deleted).await;
    let encoder = stage.publish(KEY, &picture_and_tone(2));
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage
        .until_told(&[STARTED, ENDED, STARTED, ENDED, STARTED, ENDED])
        .await;
    bucket.until_kept(&folder, stage.stream()).await;
    assert!(folder.0.join(stuck.to_string()).exists());
}
