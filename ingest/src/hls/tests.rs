use expect_test::{Expect, expect};

use super::*;

const STREAM: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn window() -> Window {
    let settings = Settings {
        window: Duration::from_millis(6000),
        dvr: Duration::ZERO,
        kept: Duration::from_millis(2000),
        bytes: 10_000,
        target: Duration::from_millis(2000),
        part: Duration::from_millis(335),
    };
    let mut window = Window::new(STREAM.parse().expect("a UUID"), settings);
    assert_eq!(window.begin(1), Duration::ZERO);
    window
}

/// The clock when the broadcast's line has got to `millis`.
fn at(millis: i64) -> Timestamp {
    Timestamp(1_700_000_000_000 + millis)
}

fn init() -> Piece {
    Piece::Init {
        bytes: Bytes::from_static(b"init"),
        codecs: "avc1.64001f,mp4a.40.2".to_owned(),
        size: Some((1280, 720)),
    }
}

fn fragment(millis: u64, len: usize) -> Piece {
    let duration = Duration::from_millis(millis);
    Piece::Fragment(Fragment {
        bytes: vec![7; len].into(),
        duration,
        independent: true,
    })
}

fn segment(millis: u64) -> Vec<Piece> {
    vec![
        fragment(millis / 2, 10),
        fragment(millis / 2, 10),
        Piece::SegmentEnd,
    ]
}

fn text(playlist: Option<Playlist>) -> String {
    playlist.map_or(String::new(), |playlist| {
        String::from_utf8(playlist.text.to_vec()).expect("UTF-8")
    })
}

fn check(window: &mut Window, expected: Expect) {
    expected.assert_eq(&text(window.playlist(false)));
}

#[test]
fn nothing_before_the_first_segment() {
    let mut window = window();
    window
        .push(1, vec![init(), fragment(335, 10)], at(335))
        .unwrap();
    check(&mut window, expect![""]);
    assert_eq!(window.variant(), None);
    window.push(1, vec![Piece::SegmentEnd], at(335)).unwrap();
    expect![[r##"
        #EXTM3U
        #EXT-X-VERSION:9
        #EXT-X-STREAM-INF:BANDWIDTH=238,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720
        01890a5d-ac96-774b-bcce-b302099a8057.m3u8
    "##]]
    .assert_eq(&text(window.variant().and_then(|one| master(&[one]))));
}

/// The first is short, and little but a key frame.
#[test]
fn bandwidth_is_that_of_segments_that_last() {
    let mut window = window();
    let told = |window: &Window| window.variant().map(|variant| variant.bandwidth);
    window.push(1, vec![init()], at(0)).unwrap();
    let mut push = |millis, len, expected| {
        let segment = vec![fragment(millis, len), Piece::SegmentEnd];
        window.push(1, segment, at(0)).unwrap();
        assert_eq!(told(&window), Some(expected), "{millis} {len}");
    };
    push(335, 1000, 23_880);
    push(400, 2000, 40_000);
    push(1600, 1000, 5_000);
    push(335, 1000, 5_000);
    push(2000, 3000, 12_000);
    push(1000, 2000, 16_000);
    push(2000, 1000, 16_000);
}

fn skip_to(window: &mut Window, millis: u64) {
    window.skip_to(Duration::from_millis(millis), Stretch::default());
}

#[test]
fn what_is_missing_is_a_gap() {
    let mut window = window();
    skip_to(&mut window, 10_000);
    window.push(1, vec![init()], at(10_000)).unwrap();
    window.push(1, segment(2000), at(11_000)).unwrap();
    skip_to(&mut window, 12_100);
    skip_to(&mut window, 15_000);
    window.begin(2);
    window.push(2, segment(2000), at(16_000)).unwrap();
    window.end();
    check(
        &mut window,
        expect![[r##"
            #EXTM3U
            #EXT-X-VERSION:9
            #EXT-X-TARGETDURATION:2
            #EXT-X-MEDIA-SEQUENCE:0
            #EXT-X-INDEPENDENT-SEGMENTS
            #EXT-X-MAP:URI="01890a5d-ac96-774b-bcce-b302099a8057-init0.mp4"
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:30.000Z
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-0.m4s
            #EXT-X-GAP
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-1.m4s
            #EXT-X-GAP
            #EXTINF:0.900,
            01890a5d-ac96-774b-bcce-b302099a8057-2.m4s
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:35.000Z
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-3.m4s
            #EXT-X-ENDLIST
        "##]],
    );
    assert_eq!(window.file(&format!("{STREAM}-1.m4s")), Err(Reach::Never));
}

/// Whoever makes a rung may have been away while the publisher came back, once or more often.
#[test]
fn a_rung_has_the_discontinuities_of_its_source() {
    let mut source = window();
    source.settings.window = Duration::from_secs(60);
    for (publisher, segments) in [(1, 1), (2, 3), (3, 1)] {
        source.begin(publisher);
        source.push(publisher, vec![init()], at(0)).unwrap();
        for _ in 0..segments {
            source.push(publisher, segment(2000), at(0)).unwrap();
        }
    }
    let of = |number| source.whole(number).expect("a segment").stretch;
    let stretch = |number, seconds| Stretch {
        number,
        begins: Duration::from_secs(seconds),
    };
    assert_eq!(of(0), stretch(0, 0));
    assert_eq!([of(1), of(3)], [stretch(1, 2); 2]);
    assert_eq!(of(4), stretch(2, 8));

    let mut rung = window();
    rung.settings.window = Duration::from_secs(60);
    rung.skip_to(Duration::from_secs(4), of(2));
    rung.push(1, vec![init()], at(4000)).unwrap();
    rung.push(1, segment(2000), at(6000)).unwrap();
    // In the same stretch, of another make.
    rung.skip_to(Duration::from_secs(6), of(3));
    rung.push(1, vec![init()], at(6000)).unwrap();
    rung.push(1, segment(2000), at(8000)).unwrap();
    let marks = |rung: &mut Window| {
        let text = text(rung.playlist(false));
        let sequence = text.lines().find_map(|line| {
            let (_, number) = line.split_once("DISCONTINUITY-SEQUENCE:")?;
            number.parse::<u64>().ok()
        });
        let mut marks = String::new();
        for line in text.lines() {
            match line {
                "#EXT-X-DISCONTINUITY" => marks.push('|'),
                "#EXT-X-GAP" => marks.push('-'),
                line if line.ends_with(".m4s") => marks.push('.'),
                _ => {}
            }
        }
        (sequence, marks)
    };
    assert_eq!(marks(&mut rung), (Some(1), "..".to_owned()));
    // At the seam itself, and where the gap reaches over it.
    rung.skip_to(Duration::from_secs(8), of(4));
    rung.push(1, vec![init()], at(8000)).unwrap();
    rung.push(1, segment(2000), at(10_000)).unwrap();
    assert_eq!(marks(&mut rung), (Some(1), "..|.".to_owned()));
    rung.skip_to(Duration::from_secs(20), stretch(5, 16));
    rung.push(1, vec![init()], at(20_000)).unwrap();
    rung.push(1, segment(2000), at(22_000)).unwrap();
    let expected = "..|.|-.|-.-.|-.-..";
    assert_eq!(marks(&mut rung), (Some(1), expected.to_owned()));
    // What has left the list still counts.
    rung.settings.window = Duration::from_secs(4);
    rung.push(1, segment(2000), at(24_000)).unwrap();
    assert_eq!(marks(&mut rung), (Some(5), "..".to_owned()));
}

#[test]
fn the_window_moves_on() {
    let mut window = window();
    window.push(1, vec![init()], at(0)).unwrap();
    for _ in 0..6 {
        window.push(1, segment(2000), at(0)).unwrap();
    }
    check(
        &mut window,
        expect![[r##"
            #EXTM3U
            #EXT-X-VERSION:9
            #EXT-X-TARGETDURATION:2
            #EXT-X-PART-INF:PART-TARGET=1.000
            #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=3.000,HOLD-BACK=6.0,CAN-SKIP-UNTIL=12.0
            #EXT-X-MEDIA-SEQUENCE:3
            #EXT-X-INDEPENDENT-SEGMENTS
            #EXT-X-MAP:URI="01890a5d-ac96-774b-bcce-b302099a8057-init0.mp4"
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:25.000Z
            #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-3.0.m4s",INDEPENDENT=YES
            #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-3.1.m4s",INDEPENDENT=YES
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-3.m4s
            #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-4.0.m4s",INDEPENDENT=YES
            #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-4.1.m4s",INDEPENDENT=YES
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-4.m4s
            #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-5.0.m4s",INDEPENDENT=YES
            #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-5.1.m4s",INDEPENDENT=YES
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-5.m4s
            #EXT-X-PRELOAD-HINT:TYPE=PART,URI="01890a5d-ac96-774b-bcce-b302099a8057-6.0.m4s"
        "##]],
    );
    // One that has left the playlist stays for a while; an older one is gone.
    let file = |name: &str| window.file(&format!("{STREAM}-{name}"));
    assert_eq!(file("1.m4s"), Err(Reach::Never));
    assert_eq!(file("2.m4s").unwrap().len, 20);
    assert_eq!(file("5.m4s").unwrap().len, 20);
    assert_eq!(file("init0.mp4").unwrap().len, 4);
    for wrong in [
        "6.m4s",
        "02.m4s",
        "+2.m4s",
        "init1.mp4",
        "init00.mp4",
        "2.mp4",
        "",
        "init",
    ] {
        assert_eq!(file(wrong), Err(Reach::Never), "{wrong}");
    }
    assert_eq!(window.file("2.m4s"), Err(Reach::Never));
}

#[test]
fn a_publisher_that_comes_back_is_a_discontinuity() {
    let mut window = window();
    window.push(1, vec![init()], at(0)).unwrap();
    window.push(1, segment(2000), at(0)).unwrap();
    window.push(1, vec![fragment(400, 10)], at(0)).unwrap();
    let start = window.begin(2);
    assert_eq!(start, Duration::from_millis(2400));
    assert_eq!(window.push(1, segment(2000), at(0)), Err(Superseded));
    window.push(2, vec![init()], at(30_000)).unwrap();
    window.push(2, segment(2000), at(30_000)).unwrap();
    check(
        &mut window,
        expect![[r##"
            #EXTM3U
            #EXT-X-VERSION:9
            #EXT-X-TARGETDURATION:2
            #EXT-X-PART-INF:PART-TARGET=1.000
            #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=3.000,HOLD-BACK=6.0,CAN-SKIP-UNTIL=12.0
            #EXT-X-MEDIA-SEQUENCE:0
            #EXT-X-INDEPENDENT-SEGMENTS
            #EXT-X-MAP:URI="01890a5d-ac96-774b-bcce-b302099a8057-init0.mp4"
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:19.000Z
            #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-0.0.m4s",INDEPENDENT=YES
            #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-0.1.m4s",INDEPENDENT=YES
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-0.m4s
            #EXT-X-PART:DURATION=0.400,URI="01890a5d-ac96-774b-bcce-b302099a8057-1.0.m4s",INDEPENDENT=YES
            #EXTINF:0.400,
            01890a5d-ac96-774b-bcce-b302099a8057-1.m4s
            #EXT-X-DISCONTINUITY
            #EXT-X-MAP:URI="01890a5d-ac96-774b-bcce-b302099a8057-init1.mp4"
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:49.000Z
            #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-2.0.m4s",INDEPENDENT=YES
            #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-2.1.m4s",INDEPENDENT=YES
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-2.m4s
            #EXT-X-PRELOAD-HINT:TYPE=PART,URI="01890a5d-ac96-774b-bcce-b302099a8057-3.0.m4s"
        "##]],
    );
    for _ in 0..3 {
        window.push(2, segment(2000), at(0)).unwrap();
    }
    window.end();
    check(
        &mut window,
        expect![[r##"
            #EXTM3U
            #EXT-X-VERSION:9
            #EXT-X-TARGETDURATION:2
            #EXT-X-MEDIA-SEQUENCE:3
            #EXT-X-DISCONTINUITY-SEQUENCE:1
            #EXT-X-INDEPENDENT-SEGMENTS
            #EXT-X-MAP:URI="01890a5d-ac96-774b-bcce-b302099a8057-init1.mp4"
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:51.000Z
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-3.m4s
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-4.m4s
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-5.m4s
            #EXT-X-ENDLIST
        "##]],
    );
    assert_eq!(window.push(2, segment(2000), at(0)), Err(Superseded));
    assert_eq!(
        window.file(&format!("{STREAM}-init0.mp4")),
        Err(Reach::Never)
    );
}

#[test]
fn a_long_segment_raises_the_target_for_good() {
    let mut window = window();
    window.push(1, vec![init()], at(0)).unwrap();
    window.push(1, segment(8400), at(0)).unwrap();
    for _ in 0..4 {
        window.push(1, segment(2000), at(0)).unwrap();
    }
    assert!(text(window.playlist(false)).contains("TARGETDURATION:8\n"));
}

#[test]
fn bytes_are_bounded_whatever_comes() {
    let mut window = window();
    window.push(1, vec![init()], at(0)).unwrap();
    for len in [4000, 4000, 4000, 9000, 30_000, 10, 10, 10, 10, 10] {
        window
            .push(1, vec![fragment(2000, len), Piece::SegmentEnd], at(0))
            .unwrap();
        let held: usize = window.segments.iter().map(|segment| segment.len).sum();
        assert_eq!(held, window.bytes);
        assert!(held <= 10_000 || window.segments.len() == 1, "{held}");
        assert!(window.unlisted <= 1);
        let first = window.segments[window.unlisted].number;
        let text = text(window.playlist(false));
        assert!(
            text.contains(&format!("MEDIA-SEQUENCE:{first}\n")),
            "{text}"
        );
    }
}

#[test]
fn parts_come_before_their_segment_is_whole() {
    let mut window = window();
    window.push(1, vec![init()], at(0)).unwrap();
    for n in 1..=5 {
        window.push(1, segment(2000), at(n * 2000)).unwrap();
    }
    window.push(1, vec![fragment(320, 10)], at(10_320)).unwrap();
    window.push(1, vec![fragment(320, 20)], at(10_640)).unwrap();
    check(
        &mut window,
        expect![[r##"
        #EXTM3U
        #EXT-X-VERSION:9
        #EXT-X-TARGETDURATION:2
        #EXT-X-PART-INF:PART-TARGET=1.000
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=3.000,HOLD-BACK=6.0,CAN-SKIP-UNTIL=12.0
        #EXT-X-MEDIA-SEQUENCE:2
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-MAP:URI="01890a5d-ac96-774b-bcce-b302099a8057-init0.mp4"
        #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:25.000Z
        #EXTINF:2.000,
        01890a5d-ac96-774b-bcce-b302099a8057-2.m4s
        #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-3.0.m4s",INDEPENDENT=YES
        #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-3.1.m4s",INDEPENDENT=YES
        #EXTINF:2.000,
        01890a5d-ac96-774b-bcce-b302099a8057-3.m4s
        #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-4.0.m4s",INDEPENDENT=YES
        #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-4.1.m4s",INDEPENDENT=YES
        #EXTINF:2.000,
        01890a5d-ac96-774b-bcce-b302099a8057-4.m4s
        #EXT-X-PART:DURATION=0.320,URI="01890a5d-ac96-774b-bcce-b302099a8057-5.0.m4s",INDEPENDENT=YES
        #EXT-X-PART:DURATION=0.320,URI="01890a5d-ac96-774b-bcce-b302099a8057-5.1.m4s",INDEPENDENT=YES
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI="01890a5d-ac96-774b-bcce-b302099a8057-5.2.m4s"
    "##]],
    );
    let file = |window: &Window, name: &str| window.file(&format!("{STREAM}-{name}.m4s"));
    assert_eq!(file(&window, "5.1").unwrap().len, 20);
    assert_eq!(file(&window, "4.1").unwrap().len, 10);
    assert_eq!(file(&window, "5"), Err(Reach::Never));
    assert_eq!(file(&window, "5.2"), Err(Reach::Soon));
    assert_eq!(file(&window, "5.3"), Err(Reach::Never));
    assert_eq!(file(&window, "6.0"), Err(Reach::Never));
    assert_eq!(file(&window, "4.2"), Err(Reach::Never));
    window.push(1, vec![Piece::SegmentEnd], at(10_640)).unwrap();
    // What was told ahead does not come after all; what comes instead is told.
    assert_eq!(file(&window, "5.2"), Err(Reach::Never));
    assert_eq!(file(&window, "6.0"), Err(Reach::Soon));
    assert_eq!(file(&window, "5").unwrap().len, 30);
}

#[test]
fn a_playlist_can_be_waited_for() {
    let mut window = window();
    window.push(1, vec![init()], at(0)).unwrap();
    window.push(1, segment(2000), at(2000)).unwrap();
    window.push(1, vec![fragment(320, 10)], at(2320)).unwrap();
    for (segment, part, expected) in [
        (0, None, Reach::Here),
        (0, Some(1), Reach::Here),
        // Behind the last part of a segment is the first of the next.
        (0, Some(2), Reach::Here),
        (1, Some(0), Reach::Here),
        (1, Some(1), Reach::Soon),
        (1, Some(10), Reach::Soon),
        (1, Some(11), Reach::Absurd),
        (1, None, Reach::Soon),
        (2, Some(0), Reach::Soon),
        (3, None, Reach::Absurd),
        (u64::MAX, Some(usize::MAX), Reach::Absurd),
    ] {
        assert_eq!(window.reach(segment, part), expected, "{segment} {part:?}");
    }
    window.end();
    assert_eq!(window.reach(2, None), Reach::Here);
}

#[test]
fn what_a_viewer_knows_is_left_out() {
    let mut window = window();
    window.settings.window = Duration::from_secs(60);
    window.push(1, vec![init()], at(0)).unwrap();
    for n in 1..=10 {
        window.push(1, segment(2000), at(n * 2000)).unwrap();
    }
    expect![[r##"
        #EXTM3U
        #EXT-X-VERSION:9
        #EXT-X-TARGETDURATION:2
        #EXT-X-PART-INF:PART-TARGET=1.000
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=3.000,HOLD-BACK=6.0,CAN-SKIP-UNTIL=12.0
        #EXT-X-MEDIA-SEQUENCE:0
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-SKIP:SKIPPED-SEGMENTS=3
        #EXT-X-MAP:URI="01890a5d-ac96-774b-bcce-b302099a8057-init0.mp4"
        #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:27.000Z
        #EXTINF:2.000,
        01890a5d-ac96-774b-bcce-b302099a8057-3.m4s
        #EXTINF:2.000,
        01890a5d-ac96-774b-bcce-b302099a8057-4.m4s
        #EXTINF:2.000,
        01890a5d-ac96-774b-bcce-b302099a8057-5.m4s
        #EXTINF:2.000,
        01890a5d-ac96-774b-bcce-b302099a8057-6.m4s
        #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-7.0.m4s",INDEPENDENT=YES
        #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-7.1.m4s",INDEPENDENT=YES
        #EXTINF:2.000,
        01890a5d-ac96-774b-bcce-b302099a8057-7.m4s
        #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-8.0.m4s",INDEPENDENT=YES
        #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-8.1.m4s",INDEPENDENT=YES
        #EXTINF:2.000,
        01890a5d-ac96-774b-bcce-b302099a8057-8.m4s
        #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-9.0.m4s",INDEPENDENT=YES
        #EXT-X-PART:DURATION=1.000,URI="01890a5d-ac96-774b-bcce-b302099a8057-9.1.m4s",INDEPENDENT=YES
        #EXTINF:2.000,
        01890a5d-ac96-774b-bcce-b302099a8057-9.m4s
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI="01890a5d-ac96-774b-bcce-b302099a8057-10.0.m4s"
    "##]].assert_eq(&text(window.playlist(true)));
    let tags = [false, true].map(|skip| window.playlist(skip).expect("a playlist").etag);
    assert_ne!(tags[0], tags[1]);
}

/// The encoder's clock may be slow, or lose time; the dates follow the wall clock, but never step back.
#[test]
fn a_line_that_lags_is_dated_anew() {
    let mut window = window();
    window.push(1, vec![init()], at(0)).unwrap();
    window.push(1, segment(2000), at(2000)).unwrap();
    window.push(1, segment(2000), at(4000)).unwrap();
    window.push(1, segment(2000), at(16_000)).unwrap();
    let text = text(window.playlist(false));
    let dates: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:"))
        .collect();
    assert_eq!(dates, ["21.000Z", "35.000Z"]);
}

/// What a recording has stays listed when memory lets go of it.
#[test]
fn the_recording_reaches_back_further() {
    let mut window = window();
    window.settings.dvr = Duration::from_secs(20);
    window.push(1, vec![init()], at(0)).unwrap();
    for number in 0..12 {
        window.push(1, segment(2000), at(0)).unwrap();
        window.mark_recorded(number);
    }
    let listed = text(window.playlist(false));
    assert!(listed.contains("#EXT-X-MEDIA-SEQUENCE:2\n"), "{listed}");
    assert!(listed.contains("#EXT-X-INDEPENDENT-SEGMENTS\n"), "{listed}");
    assert_eq!(listed.matches("#EXTINF").count(), 10);
    let name = |number: u64| format!("{STREAM}-{number}.m4s");
    for number in 0..=11 {
        let here = window.file(&name(number)).is_ok();
        let there = window.in_recording(&name(number));
        assert_eq!(
            (here, there.is_some()),
            (number >= 8, number < 8),
            "{number}"
        );
        assert!(there.is_none_or(|there| there.number == number));
    }
    assert_eq!(window.bytes, 4 * 20);
    // A delta is as short as without.
    let delta = text(window.playlist(true));
    assert!(
        delta.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n"),
        "{delta}"
    );
    // Who has an old playlist may ask for its first segment when that has long left it.
    for number in 12..24 {
        assert!(window.in_recording(&name(0)).is_some(), "{number}");
        window.push(1, segment(2000), at(0)).unwrap();
        window.mark_recorded(number);
    }
    let there = [0, 1].map(|number| window.in_recording(&name(number)).is_some());
    assert_eq!(there, [false, true]);
}

/// A playlist has no holes: it begins behind what nobody has.
#[test]
fn what_was_not_recorded_ends_the_way_back() {
    let mut window = window();
    window.settings.dvr = Duration::from_secs(100);
    window.push(1, vec![init()], at(0)).unwrap();
    for number in 0..12 {
        window.push(1, segment(2000), at(0)).unwrap();
        if number != 4 {
            window.mark_recorded(number);
        }
    }
    let listed = text(window.playlist(false));
    assert!(listed.contains("#EXT-X-MEDIA-SEQUENCE:5\n"), "{listed}");
    assert_eq!(listed.matches("#EXTINF").count(), 7);
}

/// What is in memory is bounded, recorded or not.
#[test]
fn memory_lets_go_of_the_oldest() {
    let mut window = window();
    window.settings.dvr = Duration::from_secs(100);
    window.settings.bytes = 50;
    window.push(1, vec![init()], at(0)).unwrap();
    for number in 0..4 {
        window.push(1, segment(500), at(0)).unwrap();
        window.mark_recorded(number);
    }
    assert_eq!(window.bytes, 40);
    assert_eq!(text(window.playlist(false)).matches("#EXTINF").count(), 4);
}
