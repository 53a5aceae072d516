//! Codecs of enhanced RTMP. The ffmpeg at hand may be too old to publish them, so it encodes a film,
//! whose frames are sent by hand.

use std::process::Stdio;

use bytes::Buf as _;
use mp4_atom::{Any, Atom, Codec, Decode as _, Dops, Encode as _, Moof, Moov};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::raw;
use crate::stage::*;
use crate::{ENDED, STARTED};

/// What an encoder made: its header, and each frame with its time, whether it is a key frame, and how
/// much later it is shown.
#[derive(Default)]
pub(crate) struct Film {
    pub(crate) header: Vec<u8>,
    pub(crate) frames: Vec<(u32, bool, i32, Vec<u8>)>,
}

pub(crate) async fn film(stage: &Stage, arguments: &str) -> Film {
    let path = stage.data.join("film.mp4");
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(arguments.split_whitespace())
        .args([
            "-movflags",
            "frag_keyframe+empty_moov+delay_moov+default_base_moof",
        ])
        .arg(&path)
        .stdin(Stdio::null())
        .status()
        .await;
    assert!(status.expect("ffmpeg").success(), "{arguments}");
    let bytes = std::fs::read(path).expect("a film");
    let mut input = bytes.as_slice();
    let (mut film, mut timescale) = (Film::default(), 0);
    while input.has_remaining() {
        let start = bytes.len() - input.len();
        match Any::decode(&mut input).expect("a box") {
            Any::Moov(moov) => {
                timescale = moov.trak[0].mdia.mdhd.timescale;
                film.header = header(&moov);
            }
            Any::Moof(moof) => film.take(&moof, &bytes[start..], timescale),
            _ => {}
        }
    }
    assert!(film.frames.len() > 50, "{}", film.frames.len());
    film
}

fn header(moov: &Moov) -> Vec<u8> {
    fn body(atom: &impl Atom) -> Vec<u8> {
        let mut bytes = Vec::new();
        atom.encode(&mut bytes).expect("a header");
        bytes.split_off(8)
    }
    match &moov.trak[0].mdia.minf.stbl.stsd.codecs[0] {
        Codec::Avc1(avc1) => body(&avc1.avcc),
        Codec::Hvc1(hvc1) => body(&hvc1.hvcc),
        Codec::Av01(av01) => body(&av01.av1c),
        Codec::Vp09(vp09) => body(&vp09.vpcc),
        Codec::Opus(opus) => opus_head(&opus.dops),
        other => panic!("{other:?}"),
    }
}

fn opus_head(dops: &Dops) -> Vec<u8> {
    let mut head = b"OpusHead\x01".to_vec();
    head.push(dops.output_channel_count);
    head.extend(dops.pre_skip.to_le_bytes());
    head.extend(dops.input_sample_rate.to_le_bytes());
    head.extend(dops.output_gain.to_le_bytes());
    head.push(0);
    head
}

impl Film {
    fn take(&mut self, moof: &Moof, bytes: &[u8], timescale: u32) {
        let traf = &moof.traf[0];
        let mut time = traf.tfdt.as_ref().expect("tfdt").base_media_decode_time;
        for trun in &traf.trun {
            let mut at = usize::try_from(trun.data_offset.expect("an offset")).expect("an offset");
            for (n, sample) in trun.samples.iter().enumerate() {
                let size = sample
                    .size
                    .or(traf.tfhd.default_sample_size)
                    .expect("a size") as usize;
                let duration = sample.duration.or(traf.tfhd.default_sample_duration);
                let millis = |units: i64| units * 1000 / i64::from(timescale);
                let composition = sample.cts.map_or(0, |cts| millis(cts) as i32);
                let frame = bytes[at..at + size].to_vec();
                // A fragment begins with its only key frame.
                let shown = millis(time.cast_signed()) as u32;
                self.frames.push((shown, n == 0, composition, frame));
                at += size;
                time += u64::from(duration.expect("a duration"));
            }
        }
    }
}

/// Publishes frames by hand, and says goodbye.
pub(crate) async fn publish(stage: &Stage, metadata: Vec<u8>, messages: Vec<Vec<u8>>) {
    let (mut socket, mut said) = raw::on_air(stage, KEY).await;
    let bytes = [vec![metadata], messages, vec![raw::goodbye()]].concat();
    socket.write_all(&bytes.concat()).await.expect("write");
    let _ = socket.read_to_end(&mut said).await;
}

async fn check_video(encoder: &str, four_cc: &[u8; 4], composed: bool, name: &str, codecs: &str) {
    let stage = Stage::new().await;
    let source = "-f lavfi -i testsrc=size=320x180:rate=25 -t 3 -pix_fmt yuv420p -threads 1";
    let film = film(&stage, &format!("{source} {encoder}")).await;
    let packet = |frame: u8, kind: u8, rest: &[&[u8]]| {
        [&[0x80 | frame << 4 | kind][..], four_cc, &rest.concat()].concat()
    };
    let mut messages = vec![raw::video_at(0, packet(1, 0, &[&film.header]))];
    for (time, key, composition, data) in &film.frames {
        let frame = if *key { 1 } else { 2 };
        let message = if composed {
            packet(frame, 1, &[&composition.to_be_bytes()[1..], data])
        } else {
            packet(frame, 3, &[data])
        };
        messages.push(raw::video_at(*time, message));
    }
    // The size is told by the codec; what the metadata says of it is wrong.
    let metadata = raw::metadata(&[("videocodecid", 0.0), ("width", 64.0), ("height", 64.0)]);
    publish(&stage, metadata, messages).await;
    stage.until_told(&[STARTED, ENDED]).await;
    let master = get(&stage.playlist()).await.text().await.expect("a text");
    assert!(master.contains(&format!("CODECS=\"{codecs}")), "{master}");
    assert!(master.contains("RESOLUTION=320x180\n"), "{master}");
    let show = [
        "-show_entries",
        "stream=codec_name,width,height",
        &stage.playlist(),
    ];
    assert_eq!(probe_streams(&show).await, format!("{name},320,180"));
    assert_eq!(complaints(&stage.playlist()).await, "");
    let count = [
        "-count_frames",
        "-show_entries",
        "stream=nb_read_frames",
        &stage.playlist(),
    ];
    assert_eq!(probe_streams(&count).await, film.frames.len().to_string());
}

#[tokio::test]
async fn hevc() {
    let encoder = "-c:v libx265 -preset ultrafast -x265-params keyint=25:bframes=2:log-level=none:pools=none -tag:v hvc1";
    check_video(encoder, b"hvc1", true, "hevc", "hvc1.1.6.L").await;
}

#[tokio::test]
async fn av1() {
    let encoder = "-c:v libaom-av1 -cpu-used 8 -usage realtime -g 25";
    check_video(encoder, b"av01", false, "av1", "av01.0.00M.08").await;
}

#[tokio::test]
async fn vp9() {
    let encoder = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25 -lag-in-frames 0";
    check_video(encoder, b"vp09", false, "vp9", "vp09.00.").await;
}

#[tokio::test]
async fn opus() {
    let stage = Stage::new().await;
    let source = "-f lavfi -i sine=frequency=440:sample_rate=48000 -t 3 -ac 2 -c:a libopus";
    let film = film(&stage, &format!("{source} -frag_duration 500000")).await;
    let packet = |kind: u8, data: &[u8]| [&[0x90 | kind][..], b"Opus", data].concat();
    let mut messages = vec![raw::audio_at(0, packet(0, &film.header))];
    for (time, _, _, data) in &film.frames {
        messages.push(raw::audio_at(*time, packet(1, data)));
    }
    // A second track that nobody understands does no harm.
    messages.insert(2, raw::audio_at(0, b"\x95\x01mp4a\x01data".to_vec()));
    let metadata = raw::metadata(&[("audiocodecid", 0.0)]);
    publish(&stage, metadata, messages).await;
    stage.until_told(&[STARTED, ENDED]).await;
    let master = get(&stage.playlist()).await.text().await.expect("a text");
    assert!(master.contains("CODECS=\"opus\""), "{master}");
    let show = [
        "-show_entries",
        "stream=codec_name,sample_rate,channels",
        &stage.playlist(),
    ];
    assert_eq!(probe_streams(&show).await, "opus,48000,2");
    assert_eq!(complaints(&stage.playlist()).await, "");
}
