use expect_test::expect;
use lemonair_schemas::{RoomId, Timestamp};
use uuid::Uuid;

use super::journal::{self, Journal};
use super::keeper::expired;
use super::*;
use crate::Recorded;
use crate::hls::{Init, Kept, Stretch};
use crate::packager::Fragment;

const SESSION: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const LATER: &str = "01890a5d-ffff-774b-bcce-b302099a8057";

fn segment(session: &str, number: u64, begins: i64, millis: u64, init: u64) -> Segment {
    let name = Name {
        session: session.parse().expect("a UUID"),
        number,
        begins: Timestamp(1_700_000_000_000 + begins),
        duration: Duration::from_millis(millis),
        init,
    };
    Segment { name, len: 10 }
}

fn folder() -> (PathBuf, Recordings) {
    let folder = std::env::temp_dir().join(format!("lemonair-recording-{}", Uuid::now_v7()));
    let recordings = Recordings::open(folder.clone(), None).expect("a folder");
    (folder, recordings)
}

#[test]
fn a_name_says_it_all() {
    let Segment { name, .. } = segment(SESSION, 17, 2000, 1680, 1);
    let text = format!("{SESSION}-17-1700000002000-1680-1.m4s");
    assert_eq!(name.to_string(), text);
    assert_eq!(text.parse(), Ok(name));
    for wrong in [
        "",
        ".m4s",
        "17-1700000002000-1680-1.m4s",
        &text.replace("17-", "x-"),
        &text.replace(".m4s", ".mp4"),
        &format!("{SESSION}-init0.mp4"),
        &text.replace("1700000002000", "99999999999999999999"),
    ] {
        assert_eq!(wrong.parse::<Name>(), Err(()), "{wrong}");
    }
}

#[test]
fn a_playlist_follows_from_the_names() {
    let segments = [
        segment(SESSION, 0, 0, 320, 0),
        segment(SESSION, 1, 320, 1680, 0),
        // The clock was set meanwhile.
        segment(SESSION, 2, 9000, 2000, 0),
        // Number 3 was lost.
        segment(SESSION, 4, 13_000, 2000, 0),
        // The publisher came back with another codec.
        segment(SESSION, 5, 15_000, 2000, 1),
        // Ingest was started again.
        segment(LATER, 0, 40_000, 2600, 0),
    ];
    expect![[r#"
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-TARGETDURATION:3
        #EXT-X-PLAYLIST-TYPE:VOD
        #EXT-X-MEDIA-SEQUENCE:0
        #EXT-X-MAP:URI="01890a5d-ac96-774b-bcce-b302099a8057-init0.mp4"
        #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.000Z
        #EXTINF:0.320,
        01890a5d-ac96-774b-bcce-b302099a8057-0-1700000000000-320-0.m4s
        #EXTINF:1.680,
        01890a5d-ac96-774b-bcce-b302099a8057-1-1700000000320-1680-0.m4s
        #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:29.000Z
        #EXTINF:2.000,
        01890a5d-ac96-774b-bcce-b302099a8057-2-1700000009000-2000-0.m4s
        #EXT-X-DISCONTINUITY
        #EXT-X-MAP:URI="01890a5d-ac96-774b-bcce-b302099a8057-init0.mp4"
        #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:33.000Z
        #EXTINF:2.000,
        01890a5d-ac96-774b-bcce-b302099a8057-4-1700000013000-2000-0.m4s
        #EXT-X-DISCONTINUITY
        #EXT-X-MAP:URI="01890a5d-ac96-774b-bcce-b302099a8057-init1.mp4"
        #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:35.000Z
        #EXTINF:2.000,
        01890a5d-ac96-774b-bcce-b302099a8057-5-1700000015000-2000-1.m4s
        #EXT-X-DISCONTINUITY
        #EXT-X-MAP:URI="01890a5d-ffff-774b-bcce-b302099a8057-init0.mp4"
        #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:14:00.000Z
        #EXTINF:2.600,
        01890a5d-ffff-774b-bcce-b302099a8057-0-1700000040000-2600-0.m4s
        #EXT-X-ENDLIST
    "#]]
    .assert_eq(&playlist::write(&segments, true));
    let growing = playlist::write(&segments[..1], false);
    assert!(growing.contains("#EXT-X-PLAYLIST-TYPE:EVENT\n"));
    assert!(growing.contains("#EXT-X-TARGETDURATION:2\n"));
    assert!(!growing.contains("#EXT-X-ENDLIST"));
}

/// Killed at any byte, the journal gives back all parts but the one that was being written.
#[tokio::test]
async fn a_journal_loses_one_part_at_most() {
    let (folder, recordings) = folder();
    let journals = folder.join("journals");
    let stream = EventId::new();
    let part = |byte| Fragment {
        bytes: vec![byte; 100].into(),
        duration: Duration::from_millis(320),
        independent: false,
    };
    let mut open = Kept {
        name: segment(SESSION, 3, 0, 320, 0).name,
        init: Init {
            number: 0,
            bytes: Bytes::from_static(b"init"),
            codecs: String::new(),
            size: None,
        },
        stretch: Stretch::default(),
        parts: vec![part(1)],
    };
    let mut journal = Journal::new(journals.clone());
    journal.note(stream, &open).await.expect("a disk");
    open.parts.push(part(2));
    journal.note(stream, &open).await.expect("a disk");
    let file = std::fs::read_dir(&journals).expect("a folder").next();
    let file = file.expect("a journal").expect("a journal").path();
    let whole = std::fs::read(&file).expect("a journal");
    assert_eq!(whole.len(), 2 * 108);
    for cut in 0..=whole.len() {
        std::fs::write(&file, &whole[..cut]).expect("a disk");
        journal::recover(&journals, &recordings)
            .await
            .expect("recover");
        assert!(!file.exists());
        let kept = recordings.segments(stream).await.expect("a list");
        let parts = cut / 108;
        assert_eq!(kept.len(), parts.min(1), "{cut}");
        if let [kept] = kept[..] {
            let millis = 320 * parts as u64;
            assert_eq!(
                kept,
                Segment {
                    len: 100 * parts as u64,
                    ..segment(SESSION, 3, 0, millis, 0)
                }
            );
        }
        recordings.delete(stream).await.expect("delete");
    }

    // One that became whole before the end is not there twice.
    recordings
        .put_segment(stream, open.name, vec![Bytes::from_static(b"whole")])
        .await
        .expect("a disk");
    std::fs::write(&file, &whole).expect("a disk");
    journal::recover(&journals, &recordings)
        .await
        .expect("recover");
    assert_eq!(recordings.segments(stream).await.expect("a list").len(), 1);
    std::fs::remove_dir_all(folder).expect("a folder");
}

#[test]
fn the_oldest_go_first() {
    const DAY: i64 = 86_400_000;
    let recorded = |day: i64, bytes| {
        let recorded = Recorded {
            room: "mint".parse::<RoomId>().expect("a room"),
            stream: EventId(Uuid::from_u128(day as u128)),
            ingest: "one".to_owned(),
            started_at: Timestamp(day * DAY),
            ended_at: Some(Timestamp(day * DAY)),
            begun: true,
            bytes: Some(bytes),
            deleted: false,
        };
        (recorded, bytes)
    };
    let all = || {
        vec![
            recorded(3, 10),
            recorded(1, 30),
            recorded(4, 20),
            recorded(2, 5),
        ]
    };
    let check = |age: Option<i64>, bytes, expected: &[u128]| {
        let retention = Retention {
            age: age.map(|days| Duration::from_millis((days * DAY) as u64)),
            bytes,
        };
        let gone = expired(all(), &retention, Timestamp(5 * DAY));
        let gone: Vec<u128> = gone.iter().map(|one| one.stream.0.as_u128()).collect();
        assert_eq!(gone, expected, "{retention:?}");
    };
    check(None, None, &[]);
    check(Some(3), None, &[1]);
    check(Some(1), None, &[1, 2, 3]);
    check(None, Some(65), &[]);
    check(None, Some(64), &[1]);
    check(None, Some(30), &[1, 2]);
    check(Some(3), Some(30), &[1, 2]);
    check(None, Some(0), &[1, 2, 3, 4]);
}
