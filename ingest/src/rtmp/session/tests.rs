use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::rtmp::handshake::PACKET;

/// A publisher's bytes, in the order in which encoders send them.
fn publisher(name: &str) -> Vec<u8> {
    let mut bytes = connected(name);
    bytes.extend(command_message("publish", 5.0, [Value::Null, name.into()]));
    bytes
}

/// Up to where a publisher would publish, or a player play.
fn connected(name: &str) -> Vec<u8> {
    let mut bytes = [&[3][..], &[0; 2 * PACKET]].concat();
    bytes.extend(command_message(
        "connect",
        1.0,
        [object([("app", "live/".into())]), Value::Null],
    ));
    bytes.extend(command_message(
        "releaseStream",
        2.0,
        [Value::Null, name.into()],
    ));
    bytes.extend(command_message(
        "FCPublish",
        3.0,
        [Value::Null, name.into()],
    ));
    bytes.extend(command_message(
        "createStream",
        4.0,
        [Value::Null, Value::Null],
    ));
    bytes
}

fn command_message(name: &str, transaction: f64, values: [Value; 2]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let payload = command(name, transaction, &values);
    Writer::new().write(
        3,
        &Message {
            timestamp: 0,
            kind: kind::COMMAND_AMF0,
            stream: 0,
            payload,
        },
        &mut out,
    );
    out.to_vec()
}

fn media(kind: u8, payload: &'static [u8]) -> Vec<u8> {
    message_of(kind, Bytes::from_static(payload))
}

fn message_of(kind: u8, payload: Bytes) -> Vec<u8> {
    let mut out = BytesMut::new();
    let message = Message {
        timestamp: 40,
        kind,
        stream: 1,
        payload,
    };
    Writer::new().write(6, &message, &mut out);
    out.to_vec()
}

fn goodbye(name: &str) -> Vec<u8> {
    command_message(name, 6.0, [Value::Null, 1.0.into()])
}

/// The server's messages in words.
fn replies(bytes: &[u8]) -> String {
    let mut reader = Reader::new(MAX_COMMAND);
    let mut input = bytes;
    let mut lines = String::new();
    while let Some(message) = reader.read(&mut input).expect("our own chunks") {
        if message.kind != kind::COMMAND_AMF0 {
            lines.push_str(&format!(
                "kind {} {:?}\n",
                message.kind,
                message.payload.to_vec()
            ));
            continue;
        }
        let mut values = Decoder::new(&message.payload);
        while let Some(value) = values.next_value().expect("our own values") {
            match value {
                Value::String(text) => lines.push_str(&format!("{text} ")),
                Value::Number(number) => lines.push_str(&format!("{number} ")),
                Value::Object(_) if value.get("code").is_some() => {
                    for name in ["level", "code", "description"] {
                        lines.push_str(value.get(name).and_then(Value::text).unwrap_or_default());
                        lines.push(' ');
                    }
                }
                _ => {}
            }
        }
        lines.push('\n');
    }
    lines
}

fn split(outputs: Vec<Output>) -> (Vec<u8>, Vec<Output>) {
    let mut written = Vec::new();
    let mut rest = Vec::new();
    for output in outputs {
        match output {
            Output::Write(bytes) => written.extend(bytes),
            other => rest.push(other),
        }
    }
    (written, rest)
}

fn check(outputs: Vec<Output>, expected: Expect) -> Vec<Output> {
    let (written, rest) = split(outputs);
    expected.assert_eq(&replies(&written));
    rest
}

fn asked() -> Session {
    let mut session = Session::new(1 << 20);
    let (_, rest) = split(session.handle(&publisher("secret?x=y")).unwrap());
    let key = StreamKey("secret".to_owned());
    assert_eq!(
        rest,
        [Output::Publish {
            app: "live".to_owned(),
            key
        }]
    );
    session
}

#[test]
fn a_publisher_from_handshake_to_goodbye() {
    let mut session = Session::new(1 << 20);
    let (written, rest) = split(session.handle(&publisher("secret")).unwrap());
    assert_eq!(rest.len(), 1);
    let (_, written) = written.split_at(1 + 2 * PACKET);
    expect![[r#"
        kind 5 [0, 38, 37, 160]
        kind 6 [0, 38, 37, 160, 2]
        _result 1 status NetConnection.Connect.Success connected 
        _result 2 
        _result 3 
        _result 4 1 
    "#]]
    .assert_eq(&replies(written));

    let rest = check(
        session.accept().unwrap(),
        expect![[r#"
            kind 4 [0, 0, 0, 0, 0, 1]
            onStatus 0 status NetStream.Publish.Start on air 
        "#]],
    );
    assert!(rest.is_empty());

    let rest = check(
        session.handle(&media(kind::VIDEO, b"picture")).unwrap(),
        expect![""],
    );
    let payload = Bytes::from_static(b"picture");
    assert_eq!(
        rest,
        [Output::Media(Media {
            kind: MediaKind::Video,
            timestamp: 40,
            payload
        })]
    );

    let rest = check(
        session.handle(&goodbye("deleteStream")).unwrap(),
        expect![[r#"
            onStatus 0 status NetStream.Unpublish.Success off air 
        "#]],
    );
    assert_eq!(rest, [Output::Unpublish]);
    assert!(
        session
            .handle(&media(kind::VIDEO, b"late"))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn the_same_wherever_the_bytes_are_cut() {
    let bytes = publisher("secret");
    let mut whole = Session::new(1 << 20);
    let expected = split(whole.handle(&bytes).unwrap());
    for cut in (0..bytes.len())
        .step_by(7)
        .chain(bytes.len() - 300..bytes.len())
    {
        let mut session = Session::new(1 << 20);
        let mut outputs = session.handle(&bytes[..cut]).unwrap();
        outputs.extend(session.handle(&bytes[cut..]).unwrap());
        assert_eq!(split(outputs), expected, "cut at {cut}");
    }
}

#[test]
fn a_wrong_key_is_told_and_nothing_behind_it_is_read() {
    let mut session = asked();
    assert!(
        session
            .handle(&media(kind::VIDEO, b"eager"))
            .unwrap()
            .is_empty()
    );
    let rest = check(
        session.reject("no such stream key"),
        expect![[r#"
            onStatus 0 error NetStream.Publish.BadName no such stream key 
        "#]],
    );
    assert_eq!(rest, [Output::Close]);
    assert!(
        session
            .handle(&media(kind::VIDEO, b"stubborn"))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn media_that_came_early_follows_acceptance() {
    let mut session = asked();
    assert!(
        session
            .handle(&media(kind::AUDIO, b"eager"))
            .unwrap()
            .is_empty()
    );
    let (_, rest) = split(session.accept().unwrap());
    assert!(matches!(rest.as_slice(), [Output::Media(media)] if media.kind == MediaKind::Audio));
}

#[test]
fn media_without_publish_is_refused() {
    let mut session = Session::new(1 << 20);
    session.handle(&connected("secret")).unwrap();
    assert_eq!(
        session.handle(&media(kind::VIDEO, b"rude")),
        Err(Error::MediaBeforeAccept)
    );

    let mut session = Session::new(1 << 20);
    session.handle(&connected("")[..=2 * PACKET]).unwrap();
    assert_eq!(
        session.handle(&goodbye("publish")),
        Err(Error::OutOfTurn("a command before connect"))
    );
}

#[test]
fn long_messages_only_after_acceptance() {
    let long = [4, 0, 0, 0, 1, 0, 1, kind::VIDEO, 1, 0, 0, 0];
    let mut session = Session::new(1 << 20);
    session.handle(&connected("secret")).unwrap();
    assert!(matches!(
        session.handle(&long),
        Err(Error::MessageSize { .. })
    ));

    let mut session = asked();
    session.accept().unwrap();
    assert!(session.handle(&long).unwrap().is_empty());
}

#[test]
fn received_bytes_are_acknowledged() {
    let mut session = asked();
    session.accept().unwrap();
    let mut window = BytesMut::new();
    let payload = Bytes::from_static(&[0, 0, 0, 100]);
    let message = Message {
        timestamp: 0,
        kind: kind::WINDOW_ACK_SIZE,
        stream: 0,
        payload,
    };
    Writer::new().write(2, &message, &mut window);
    let (written, _) = split(session.handle(&window).unwrap());
    let received = session.received.to_be_bytes().to_vec();
    assert_eq!(replies(&written), format!("kind 3 {received:?}\n"));
}

#[test]
fn a_ping_is_answered_with_what_it_holds() {
    let mut session = asked();
    session.accept().unwrap();
    let ping = media(kind::USER_CONTROL, &[0, 6, 1, 2, 3, 4]);
    let rest = check(
        session.handle(&ping).unwrap(),
        expect![[r#"
            kind 4 [0, 7, 1, 2, 3, 4]
        "#]],
    );
    assert!(rest.is_empty());
}

#[test]
fn any_goodbye_is_one() {
    for name in ["deleteStream", "closeStream", "FCUnpublish"] {
        let mut session = asked();
        session.accept().unwrap();
        let both = [goodbye(name), goodbye("deleteStream")].concat();
        let (_, rest) = split(session.handle(&both).unwrap());
        assert_eq!(rest, [Output::Unpublish], "{name}");
    }
}

/// As Flash's descendants connect: commands of kind 17, and values that switch to AMF3.
#[test]
fn commands_in_the_other_notation() {
    let mut session = Session::new(1 << 20);
    session.handle(&connected("")[..=2 * PACKET]).unwrap();
    let number = |value: f64| {
        let mut out = BytesMut::new();
        amf::encode(&value.into(), &mut out);
        out
    };
    let connect = [
        b"\0\x02\0\x07connect",
        &number(1.0)[..],
        b"\x11\x0A\x1B\x01\x07app\x06\x09live\x1DobjectEncoding\x04\x03\x01",
    ];
    let create = [b"\0\x02\0\x0CcreateStream", &number(2.0)[..], b"\x05"];
    let publish = [
        b"\0\x02\0\x07publish",
        &number(3.0)[..],
        b"\x05\x11\x06\x0Dsecret",
    ];
    let mut outputs = Vec::new();
    for command in [connect.concat(), create.concat(), publish.concat()] {
        let message = message_of(kind::COMMAND_AMF3, command.into());
        outputs.extend(session.handle(&message).unwrap());
    }
    let (_, rest) = split(outputs);
    let key = StreamKey("secret".to_owned());
    let app = "live".to_owned();
    assert_eq!(rest, [Output::Publish { app, key }]);
}

#[test]
fn an_aggregate_is_its_parts() {
    let mut session = asked();
    session.accept().unwrap();
    let tags = b"\x09\0\0\x01\0\0\x64\0\0\0\0v\0\0\0\x0C\x08\0\0\x01\0\0\x79\0\0\0\0a\0\0\0\x0C";
    let (_, rest) = split(session.handle(&media(kind::AGGREGATE, tags)).unwrap());
    let part = |kind, timestamp, payload: &'static [u8]| {
        let payload = Bytes::from_static(payload);
        Output::Media(Media {
            kind,
            timestamp,
            payload,
        })
    };
    assert_eq!(
        rest,
        [
            part(MediaKind::Video, 40, b"v"),
            part(MediaKind::Audio, 61, b"a")
        ]
    );
    let nested = media(kind::AGGREGATE, b"\x16\0\0\0\0\0\0\0\0\0\0\0\0\0\x0B");
    assert_eq!(session.handle(&nested), Err(Error::Malformed("aggregate")));
}

#[test]
fn a_player_is_sent_to_hls() {
    let mut session = Session::new(1 << 20);
    session.handle(&connected("secret")).unwrap();
    check(
        session.handle(&goodbye("play")).unwrap(),
        expect![[r#"
            onStatus 0 error NetStream.Play.Failed watch over HLS, not RTMP 
        "#]],
    );
}

#[test]
fn a_key_does_not_show_itself() {
    assert_eq!(
        format!("{:?}", StreamKey("secret".to_owned())),
        "StreamKey(…)"
    );
    assert!(
        !format!(
            "{:?}",
            Output::Publish {
                app: String::new(),
                key: StreamKey("secret".into())
            }
        )
        .contains("secret")
    );
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let mut session = asked();
        session.accept().unwrap();
        let _ = session.handle(&bytes);
    }
}
