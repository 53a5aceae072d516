use proptest::prelude::*;

use super::*;

const LARGEST: usize = 8 * 1024;

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(0x80 | short as u8),
        medium @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// All that comes of these pieces.
fn read<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> (Vec<Received>, Option<Fault>) {
    read_from(pieces, false)
}

/// The same where permessage-deflate was agreed on.
fn read_deflated<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> (Vec<Received>, Option<Fault>) {
    read_from(pieces, true)
}

fn read_from<'b>(
    pieces: impl IntoIterator<Item = &'b [u8]>,
    deflate: bool,
) -> (Vec<Received>, Option<Fault>) {
    let mut reader = Reader::new(LARGEST, 64, deflate);
    let mut received = Vec::new();
    for piece in pieces {
        reader.feed(piece);
        loop {
            match reader.take() {
                Ok(Some(message)) => received.push(message),
                Ok(None) => break,
                Err(fault) => return (received, Some(fault)),
            }
        }
    }
    (received, None)
}

fn text(text: &str) -> Received {
    Received::Text(text.to_owned())
}

#[test]
fn accepts_as_the_rfc_does() {
    let accepted = accept(b"dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(accepted.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    for key in ["", "nonsense", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZQ=="] {
        assert_eq!(accept(key.as_bytes()), None, "{key}");
    }
}

#[test]
fn every_cut_gives_the_same() {
    let session = [
        frame(0x81, "größer".as_bytes()),
        frame(0x01, "fri".as_bytes()),
        frame(0x89, b"still there?"),
        frame(0x00, &"é".as_bytes()[..1]),
        frame(0x80, &"é".as_bytes()[1..]),
        frame(0x8a, b""),
        frame(0x82, &[0xff; 200]),
        frame(0x81, "x".repeat(LARGEST).as_bytes()),
        frame(0x88, &[3, 232, b'b', b'y', b'e']),
    ]
    .concat();
    let expected = vec![
        text("größer"),
        Received::Ping(b"still there?".to_vec()),
        text("frié"),
        Received::Pong,
        Received::Binary(vec![0xff; 200]),
        text(&"x".repeat(LARGEST)),
        Received::Close(Some(1000)),
    ];
    for cut in 0..session.len() {
        let (before, after) = session.split_at(cut);
        assert_eq!(
            read([before, after]),
            (expected.clone(), None),
            "cut at {cut}"
        );
    }
    assert_eq!(read(session.chunks(1)), (expected, None), "byte by byte");
}

#[test]
fn faults_are_found_in_the_head() {
    use Fault::{NotUtf8, TooBig};
    let protocol = Fault::Protocol("").code();
    for (bytes, code) in [
        (&[0xc1, 0x80][..], protocol),
        (&[0x81, 0x01], protocol),
        (&[0x83, 0x80], protocol),
        (&[0x8b, 0x80], protocol),
        (&[0x80, 0x80], protocol),
        (&[0x09, 0x80], protocol),
        (&[0x89, 0xfe], protocol),
        (&[0x81, 0xfe, 0, 125], protocol),
        (&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 255, 255], protocol),
        (
            &[0x81, 0xff, 255, 255, 255, 255, 255, 255, 255, 255],
            TooBig.code(),
        ),
        (&[0x81, 0xfe, 0x20, 0x01], TooBig.code()),
        (&frame(0x81, &[0xff]), NotUtf8.code()),
        (&frame(0x81, &[0xed, 0xa0, 0x80]), NotUtf8.code()),
        (&frame(0x88, &[3]), protocol),
        (&frame(0x88, &[3, 237]), protocol),
        (&frame(0x88, &[19, 136]), protocol),
        (&frame(0x88, &[3, 232, 0xff]), NotUtf8.code()),
        (&[frame(0x01, b"a"), frame(0x81, b"b")].concat(), protocol),
        (
            &[frame(0x01, &[b'a'; LARGEST]), frame(0x80, b"b")].concat(),
            TooBig.code(),
        ),
        (
            &[frame(0x01, b"a"), frame(0x00, b"").repeat(64)].concat(),
            TooBig.code(),
        ),
    ] {
        let (received, fault) = read([bytes]);
        assert_eq!(fault.map(Fault::code), Some(code), "{bytes:?}");
        assert_eq!(received, [], "{bytes:?}");
    }
}

#[test]
fn deflated_messages_are_read_however_they_come() {
    let said = "größer ".repeat(500);
    let deflated = deflate::deflate(said.as_bytes()).unwrap();
    let (one, two) = deflated.split_at(deflated.len() / 2);
    let session = [
        frame(0xc1, &deflated),
        frame(0x81, b"as it is"),
        frame(0x41, one),
        frame(0x89, b"?"),
        frame(0x80, two),
        frame(0xc2, &deflated),
    ]
    .concat();
    let expected = vec![
        text(&said),
        text("as it is"),
        Received::Ping(b"?".to_vec()),
        text(&said),
        Received::Binary(said.clone().into_bytes()),
    ];
    for cut in 0..session.len() {
        let (before, after) = session.split_at(cut);
        let read = read_deflated([before, after]);
        assert_eq!(read, (expected.clone(), None), "cut at {cut}");
    }
}

#[test]
fn deflated_faults_are_found() {
    let protocol = Fault::Protocol("").code();
    let bomb = deflate::deflate(&vec![b' '; 8_000_000]).unwrap();
    let latin = deflate::deflate(&[0xe4; 600]).unwrap();
    for (what, bytes, code) in [
        (
            "a bomb",
            frame(0xc1, &bomb[..LARGEST.min(bomb.len())]),
            1009,
        ),
        ("no deflate at all", frame(0xc1, &[0xff; 20]), protocol),
        ("another reserved bit", frame(0xe1, b"x"), protocol),
        ("a ping", frame(0xc9, b"x"), protocol),
        (
            "a continuation",
            [frame(0x01, b"x"), frame(0xc0, b"x")].concat(),
            protocol,
        ),
        ("not UTF-8", frame(0xc1, &latin), 1007),
    ] {
        let (_, fault) = read_deflated([&bytes[..]]);
        assert_eq!(fault.map(Fault::code), Some(code), "{what}");
    }
}

#[test]
fn heads_say_the_length() {
    for (length, head) in [
        (0, &[0x81, 0][..]),
        (125, &[0x81, 125]),
        (126, &[0x81, 126, 0, 126]),
        (65_535, &[0x81, 126, 255, 255]),
        (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let payload = "x".repeat(length);
        let mut whole = Message::with_capacity(0);
        whole.push(payload.as_bytes());
        let whole = whole.finish(Payload::Text);
        assert_eq!(whole, [head, payload.as_bytes()].concat());
        let before = Message::with_capacity(0).finish_before(Payload::Text, length);
        assert_eq!(before, head);
    }
}

proptest! {
    #[test]
    fn strangers_bytes_never_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
        read(pieces.iter().map(Vec::as_slice));
    }

    /// Bytes that look like frames get further than noise.
    #[test]
    fn nearly_frames_never_panic(frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..300)), 0..20)) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(first, payload)| frame(first & 0x8f, payload)).collect();
        let whole = read([&bytes[..]]);
        prop_assert_eq!(read(bytes.chunks(7)), whole);
        let bytes: Vec<u8> = frames.iter().flat_map(|(first, payload)| frame(first & 0xcf, payload)).collect();
        let whole = read_deflated([&bytes[..]]);
        prop_assert_eq!(read_deflated(bytes.chunks(7)), whole);
    }

    #[test]
    fn what_is_said_is_heard(said in ".{0,300}", cuts in prop::collection::vec(0..300usize, 0..5)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(said.len())).collect();
        cuts.extend([0, said.len()]);
        cuts.sort_unstable();
        let last = cuts.len() - 2;
        let bytes: Vec<u8> = cuts.windows(2).enumerate().flat_map(|(index, cut)| {
            let first = if index == 0 { TEXT } else { CONTINUATION } | if index == last { 0x80 } else { 0 };
            frame(first, &said.as_bytes()[cut[0]..cut[1]])
        }).collect();
        prop_assert_eq!(read([&bytes[..]]), (vec![Received::Text(said)], None));
    }
}
