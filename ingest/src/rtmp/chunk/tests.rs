use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 20;

fn message(timestamp: u32, kind: u8, payload: Vec<u8>) -> Message {
    Message {
        timestamp,
        kind,
        stream: 1,
        payload: payload.into(),
    }
}

fn read_all(reader: &mut Reader, mut input: &[u8]) -> Result<Vec<Message>, Error> {
    let mut messages = Vec::new();
    while let Some(message) = reader.read(&mut input)? {
        messages.push(message);
    }
    assert!(input.is_empty());
    Ok(messages)
}

/// A chunk with the given header bytes, written out by hand.
fn chunk(header: &[u8], payload: &[u8]) -> Vec<u8> {
    [header, payload].concat()
}

#[test]
fn messages_come_back_wherever_the_bytes_are_cut() {
    let mut bytes = BytesMut::new();
    let mut writer = Writer::new();
    let sent = [
        message(0, kind::COMMAND_AMF0, vec![1; 300]),
        message(0x00FF_FFFF, kind::VIDEO, vec![2; 400]),
        message(u32::MAX, kind::AUDIO, vec![3; 5]),
        message(7, kind::VIDEO, vec![4; 900]),
    ];
    writer.write(3, &sent[0], &mut bytes);
    writer.write(6, &sent[1], &mut bytes);
    writer.set_chunk_size(700, &mut bytes);
    writer.write(4, &sent[2], &mut bytes);
    writer.write(6, &sent[3], &mut bytes);
    for cut in 0..=bytes.len() {
        let mut reader = Reader::new(LIMIT);
        let mut got = read_all(&mut reader, &bytes[..cut]).unwrap();
        got.extend(read_all(&mut reader, &bytes[cut..]).unwrap());
        assert_eq!(got, sent, "cut at {cut}");
    }
}

#[test]
fn all_four_formats_add_up_their_timestamps() {
    let mut bytes = chunk(&[0x05, 0, 0, 100, 0, 0, 2, 8, 1, 0, 0, 0], b"aa");
    bytes.extend(chunk(&[0x45, 0, 0, 20, 0, 0, 1, 8], b"b"));
    bytes.extend(chunk(&[0x85, 0, 0, 30], b"c"));
    bytes.extend(chunk(&[0xC5], b"d"));
    let times: Vec<u32> = read_all(&mut Reader::new(LIMIT), &bytes)
        .unwrap()
        .iter()
        .map(|m| m.timestamp)
        .collect();
    assert_eq!(times, [100, 120, 150, 180]);
}

#[test]
fn timestamps_wrap() {
    let mut bytes = chunk(
        &[0x05, 255, 255, 255, 0, 0, 1, 8, 1, 0, 0, 0],
        &[255, 255, 255, 250, 1],
    );
    bytes.extend(chunk(&[0x85, 0, 0, 10], &[2]));
    let got = read_all(&mut Reader::new(LIMIT), &bytes).unwrap();
    assert_eq!([got[0].timestamp, got[1].timestamp], [u32::MAX - 5, 4]);
}

/// Where the 24-bit field is full, four more bytes tell the time, or the step in formats 1 and 2; and
/// format 3 repeats them, whether it goes on with a message or begins one.
#[test]
fn extended_timestamps_in_every_format() {
    const FULL: [u8; 3] = [255; 3];
    let far = 0x0100_0000u32.to_be_bytes();
    let mut bytes = chunk(
        &[&[0x05][..], &FULL, &[0, 0, 130, 8, 1, 0, 0, 0], &far].concat(),
        &[1; 128],
    );
    bytes.extend(chunk(&[&[0xC5][..], &far].concat(), &[1; 2]));
    bytes.extend(chunk(
        &[&[0x45][..], &FULL, &[0, 0, 1, 8], &far].concat(),
        &[2],
    ));
    bytes.extend(chunk(&[&[0x85][..], &FULL, &far].concat(), &[3]));
    bytes.extend(chunk(&[&[0xC5][..], &far].concat(), &[4]));
    // A step that fits ends it.
    bytes.extend(chunk(&[0x85, 0, 0, 40], &[5]));
    bytes.extend(chunk(&[0xC5], &[6]));
    for cut in 0..=bytes.len() {
        let mut reader = Reader::new(LIMIT);
        let mut got = read_all(&mut reader, &bytes[..cut]).unwrap();
        got.extend(read_all(&mut reader, &bytes[cut..]).unwrap());
        let times: Vec<u32> = got.iter().map(|m| m.timestamp).collect();
        let base = 0x0100_0000;
        let expected = [1, 2, 3, 4].map(|n| n * base);
        assert_eq!(times[..4], expected, "cut at {cut}");
        assert_eq!(times[4..], [4 * base + 40, 4 * base + 80], "cut at {cut}");
        assert_eq!(got[0].payload, [1; 130][..]);
    }
}

#[test]
fn ids_of_two_and_three_bytes() {
    for header in [&[0x00, 10][..], &[0x01, 10, 0][..], &[0x01, 255, 255][..]] {
        let bytes = chunk(&[header, &[0, 0, 0, 0, 0, 1, 9, 1, 0, 0, 0]].concat(), b"x");
        assert_eq!(
            read_all(&mut Reader::new(LIMIT), &bytes).unwrap()[0].payload,
            "x"
        );
    }
}

#[test]
fn two_messages_interleave() {
    let mut bytes = chunk(&[0x04, 0, 0, 1, 0, 0, 200, 9, 1, 0, 0, 0], &[4; 128]);
    bytes.extend(chunk(&[0x05, 0, 0, 2, 0, 0, 130, 8, 1, 0, 0, 0], &[5; 128]));
    bytes.extend(chunk(&[0xC4], &[4; 72]));
    bytes.extend(chunk(&[0xC5], &[5; 2]));
    let got = read_all(&mut Reader::new(LIMIT), &bytes).unwrap();
    assert_eq!(
        got,
        [message(1, 9, vec![4; 200]), message(2, 8, vec![5; 130])]
    );
}

#[test]
fn an_encoder_that_leaves_out_repeated_extended_timestamps_is_understood() {
    for last in 1..=9 {
        let header = [
            0x04,
            255,
            255,
            255,
            0,
            0,
            128 + last,
            9,
            1,
            0,
            0,
            0,
            1,
            0,
            0,
            0,
        ];
        let mut bytes = chunk(&header, &[4; 128]);
        bytes.extend(chunk(&[0xC4], &vec![5; usize::from(last)]));
        bytes.extend(chunk(&[0x05, 0, 0, 2, 0, 0, 1, 8, 1, 0, 0, 0], &[6]));
        let expected = [[4; 128].to_vec(), vec![5; usize::from(last)]].concat();
        for cut in 0..=bytes.len() {
            let mut reader = Reader::new(LIMIT);
            let mut got = read_all(&mut reader, &bytes[..cut]).unwrap();
            got.extend(read_all(&mut reader, &bytes[cut..]).unwrap());
            let sent = [
                message(0x0100_0000, 9, expected.clone()),
                message(2, 8, vec![6]),
            ];
            assert_eq!(got, sent, "last {last}, cut {cut}");
        }
    }
}

#[test]
fn an_abort_drops_the_half_message() {
    let mut bytes = chunk(&[0x04, 0, 0, 1, 0, 0, 200, 9, 1, 0, 0, 0], &[4; 128]);
    bytes.extend(chunk(
        &[0x02, 0, 0, 0, 0, 0, 4, kind::ABORT, 0, 0, 0, 0],
        &[0, 0, 0, 4],
    ));
    bytes.extend(chunk(&[0x04, 0, 0, 9, 0, 0, 1, 9, 1, 0, 0, 0], &[7]));
    let mut reader = Reader::new(LIMIT);
    assert_eq!(
        read_all(&mut reader, &bytes).unwrap(),
        [message(9, 9, vec![7])]
    );
    assert_eq!(reader.held, 0);
}

fn chunk_size(size: u32) -> Vec<u8> {
    chunk(
        &[0x02, 0, 0, 0, 0, 0, 4, kind::SET_CHUNK_SIZE, 0, 0, 0, 0],
        &size.to_be_bytes(),
    )
}

/// What buffers of unfinished messages take.
fn capacity(reader: &Reader) -> usize {
    let payloads = reader.streams.values().filter_map(|s| s.payload.as_ref());
    payloads.map(BytesMut::capacity).sum()
}

/// Some announce 128 MiB, whatever their messages are. Memory follows the bytes that are there.
#[test]
fn chunks_as_large_as_they_can_be_take_no_memory_by_themselves() {
    for size in [1 << 20, 134_217_728, 0x7FFF_FFFF] {
        let mut bytes = chunk_size(size);
        let whole = vec![5; 300_000];
        bytes.extend(chunk(
            &[0x06, 0, 0, 40, 0x04, 0x93, 0xE0, 9, 1, 0, 0, 0],
            &whole,
        ));
        let mut reader = Reader::new(LIMIT);
        let read = read_all(&mut reader, &bytes).unwrap();
        assert!(read == [message(40, 9, whole)], "{size}");
        // A message of which nothing is there but its length, as large as may be.
        let begun = [0x06, 0, 0, 40, 0x10, 0, 0, 9, 1, 0, 0, 0];
        assert_eq!(read_all(&mut reader, &begun).unwrap(), []);
        assert_eq!(capacity(&reader), 0, "{size}");
        for n in 1..=10 {
            assert_eq!(read_all(&mut reader, &[7; 100_000]).unwrap(), []);
            assert_eq!(reader.held, n * 100_000);
            assert!(capacity(&reader) <= 2 * reader.held);
        }
    }
}

#[test]
fn messages_on_all_chunk_streams_take_what_came_of_them() {
    let mut reader = Reader::new(LIMIT);
    for id in 2..34 {
        let begun = chunk(&[id, 0, 0, 0, 0, 255, 255, 9, 1, 0, 0, 0], &[7; 128]);
        assert_eq!(read_all(&mut reader, &begun).unwrap(), []);
    }
    assert_eq!(reader.held, 32 * 128);
    assert!(capacity(&reader) <= 2 * reader.held);
}

#[test]
fn limits() {
    let refused = |bytes: &[u8]| read_all(&mut Reader::new(1000), bytes).unwrap_err();
    assert_eq!(refused(&chunk_size(127)), Error::ChunkSize(127));
    let too_large = 0x8000_0000;
    assert_eq!(refused(&chunk_size(too_large)), Error::ChunkSize(too_large));
    assert_eq!(refused(&chunk_size(u32::MAX)), Error::ChunkSize(u32::MAX));
    assert_eq!(
        refused(&[0x04, 0, 0, 0, 255, 255, 255, 9, 1, 0, 0, 0]),
        Error::MessageSize {
            size: 0x00FF_FFFF,
            limit: 1000
        }
    );
    assert_eq!(refused(&[0xC4]), Error::NoEarlierChunk);

    let mut changed = chunk(&[0x04, 0, 0, 1, 0, 0, 200, 9, 1, 0, 0, 0], &[4; 128]);
    changed.extend([0x44, 0, 0, 1, 0, 0, 201, 9]);
    assert_eq!(refused(&changed), Error::SizeChanged);

    // Half-finished messages on many chunk streams count together.
    let mut hoard = Vec::new();
    for id in 3..12 {
        hoard.extend(chunk(&[id, 0, 0, 1, 0, 3, 0, 9, 1, 0, 0, 0], &[4; 128]));
    }
    assert_eq!(
        refused(&hoard),
        Error::MessageSize {
            size: 1024,
            limit: 1000
        }
    );

    let many: Vec<u8> = (3..=40)
        .flat_map(|id| chunk(&[id, 0, 0, 1, 0, 0, 1, 9, 1, 0, 0, 0], &[4]))
        .collect();
    assert_eq!(refused(&many), Error::ChunkStreams(MAX_CHUNK_STREAMS));
}

proptest! {
    #[test]
    fn any_bytes_are_read_within_the_limits(
        size in 128..=0x7FFF_FFFF_u32,
        bytes in proptest::collection::vec(any::<u8>(), 0..4096),
    ) {
        let mut reader = Reader::new(2000);
        let bytes = [chunk_size(size), bytes].concat();
        let mut input = bytes.as_slice();
        while let Ok(Some(message)) = reader.read(&mut input) {
            prop_assert!(message.payload.len() <= 2000);
        }
        prop_assert!(reader.held <= 2000 + bytes.len());
        prop_assert!(reader.streams.len() <= MAX_CHUNK_STREAMS);
        prop_assert!(capacity(&reader) <= MAX_CHUNK_STREAMS * 2000 + 2 * 65_536);
    }

    #[test]
    fn any_messages_come_back(
        messages in proptest::collection::vec(
            (any::<u32>(), 8u8..=9, proptest::collection::vec(any::<u8>(), 1..700)), 0..8),
        cut in any::<proptest::sample::Index>(),
    ) {
        let sent: Vec<Message> = messages.into_iter().map(|(t, k, p)| message(t, k, p)).collect();
        let mut bytes = BytesMut::new();
        for message in &sent {
            Writer::new().write(message.kind, message, &mut bytes);
        }
        let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
        let mut reader = Reader::new(LIMIT);
        let mut got = read_all(&mut reader, head).unwrap();
        got.extend(read_all(&mut reader, tail).unwrap());
        prop_assert_eq!(got, sent);
    }
}
