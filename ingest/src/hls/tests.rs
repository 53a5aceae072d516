use expect_test::{Expect, expect};

use super::*;

const STREAM: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn window() -> Window {
    let settings = Settings {
        listed: 3,
        kept: 1,
        bytes: 10_000,
        target: Duration::from_millis(2000),
    };
    let mut window = Window::new(STREAM.parse().expect("a UUID"), settings);
    assert_eq!(
        window.begin(1, Timestamp(1_700_000_000_000)),
        Duration::ZERO
    );
    window
}

fn init() -> Piece {
    Piece::Init {
        bytes: Bytes::from_static(b"init"),
        codecs: "avc1.64001f,mp4a.40.2".to_owned(),
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

fn check(window: &Window, expected: Expect) {
    let text = window.playlist().map_or("", |playlist| {
        std::str::from_utf8(&playlist.text).expect("UTF-8")
    });
    expected.assert_eq(text);
}

#[test]
fn nothing_before_the_first_segment() {
    let mut window = window();
    window.push(1, vec![init(), fragment(1000, 10)]).unwrap();
    check(&window, expect![""]);
    assert_eq!(window.codecs(), Some("avc1.64001f,mp4a.40.2"));
}

#[test]
fn the_window_moves_on() {
    let mut window = window();
    window.push(1, vec![init()]).unwrap();
    for _ in 0..6 {
        window.push(1, segment(2000)).unwrap();
    }
    check(
        &window,
        expect![[r#"
            #EXTM3U
            #EXT-X-VERSION:7
            #EXT-X-TARGETDURATION:2
            #EXT-X-MEDIA-SEQUENCE:3
            #EXT-X-INDEPENDENT-SEGMENTS
            #EXT-X-MAP:URI="01890a5d-ac96-774b-bcce-b302099a8057-init0.mp4"
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:26.000Z
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-3.m4s
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-4.m4s
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-5.m4s
        "#]],
    );
    // One that has left the playlist stays for a while; an older one is gone.
    let file = |name: &str| window.file(&format!("{STREAM}-{name}"));
    assert_eq!(file("1.m4s"), None);
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
        assert_eq!(file(wrong), None, "{wrong}");
    }
    assert_eq!(window.file("2.m4s"), None);
}

#[test]
fn a_publisher_that_comes_back_is_a_discontinuity() {
    let mut window = window();
    window.push(1, vec![init()]).unwrap();
    window.push(1, segment(2000)).unwrap();
    window.push(1, vec![fragment(400, 10)]).unwrap();
    let start = window.begin(2, Timestamp(1_700_000_030_000));
    assert_eq!(start, Duration::from_millis(2400));
    assert_eq!(window.push(1, segment(2000)), Err(Superseded));
    window.push(2, vec![init()]).unwrap();
    window.push(2, segment(2000)).unwrap();
    check(
        &window,
        expect![[r#"
            #EXTM3U
            #EXT-X-VERSION:7
            #EXT-X-TARGETDURATION:2
            #EXT-X-MEDIA-SEQUENCE:0
            #EXT-X-INDEPENDENT-SEGMENTS
            #EXT-X-MAP:URI="01890a5d-ac96-774b-bcce-b302099a8057-init0.mp4"
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.000Z
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-0.m4s
            #EXTINF:0.400,
            01890a5d-ac96-774b-bcce-b302099a8057-1.m4s
            #EXT-X-DISCONTINUITY
            #EXT-X-MAP:URI="01890a5d-ac96-774b-bcce-b302099a8057-init1.mp4"
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:50.000Z
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-2.m4s
        "#]],
    );
    for _ in 0..3 {
        window.push(2, segment(2000)).unwrap();
    }
    window.end();
    check(
        &window,
        expect![[r#"
            #EXTM3U
            #EXT-X-VERSION:7
            #EXT-X-TARGETDURATION:2
            #EXT-X-MEDIA-SEQUENCE:3
            #EXT-X-DISCONTINUITY-SEQUENCE:1
            #EXT-X-INDEPENDENT-SEGMENTS
            #EXT-X-MAP:URI="01890a5d-ac96-774b-bcce-b302099a8057-init1.mp4"
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:52.000Z
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-3.m4s
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-4.m4s
            #EXTINF:2.000,
            01890a5d-ac96-774b-bcce-b302099a8057-5.m4s
            #EXT-X-ENDLIST
        "#]],
    );
    assert_eq!(window.push(2, segment(2000)), Err(Superseded));
    assert_eq!(window.file(&format!("{STREAM}-init0.mp4")), None);
}

#[test]
fn a_long_segment_raises_the_target_for_good() {
    let mut window = window();
    window.push(1, vec![init()]).unwrap();
    window.push(1, segment(8400)).unwrap();
    for _ in 0..4 {
        window.push(1, segment(2000)).unwrap();
    }
    assert!(
        window
            .playlist()
            .unwrap()
            .text
            .windows(19)
            .any(|w| w == b"TARGETDURATION:8\n#E")
    );
}

#[test]
fn bytes_are_bounded_whatever_comes() {
    let mut window = window();
    window.push(1, vec![init()]).unwrap();
    for len in [4000, 4000, 4000, 9000, 30_000, 10, 10, 10, 10, 10] {
        window
            .push(1, vec![fragment(2000, len), Piece::SegmentEnd])
            .unwrap();
        let held: usize = window.segments.iter().map(|segment| segment.len).sum();
        assert_eq!(held, window.bytes);
        assert!(held <= 10_000 || window.segments.len() == 1, "{held}");
        assert!(window.unlisted <= 1);
        let first = window.segments[window.unlisted].number;
        let text = String::from_utf8(window.playlist().unwrap().text.to_vec()).unwrap();
        assert!(
            text.contains(&format!("MEDIA-SEQUENCE:{first}\n")),
            "{text}"
        );
    }
}
