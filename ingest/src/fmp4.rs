//! Access units into fragmented MP4: init segments, fragments, and stills for thumbnails.

use bytes::{BufMut, Bytes, BytesMut};
use mp4_atom::{
    Atom, Audio, Av01, Avc1, Codec, Dinf, Dref, Encode, Esds, Ftyp, Hdlr, Hvc1, Mdat, Mdhd, Mdia,
    Mfhd, Minf, Moof, Moov, Mp4a, Mvex, Mvhd, Opus, Smhd, Stbl, Stco, Stsd, Tfdt, Tfhd, Tkhd, Traf,
    Trak, Trex, Trun, TrunEntry, Url, Visual, Vmhd, Vp09, esds,
};

use crate::codec::{AudioCodec, AudioConfig, VideoCodec, VideoConfig};

/// Units a second on the picture track. RTMP's milliseconds fit in without loss.
pub const VIDEO_TIMESCALE: u32 = 90_000;

pub const VIDEO_TRACK: u32 = 1;
pub const AUDIO_TRACK: u32 = 2;

/// One frame, timed in its track's units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub duration: u32,
    pub composition: i32,
    /// Can be decoded by itself.
    pub key: bool,
    pub data: Bytes,
}

/// Samples of one track that follow each other without a gap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    pub track: u32,
    /// When the first is decoded.
    pub start: u64,
    pub samples: Vec<Sample>,
}

impl Run {
    /// No samples yet.
    pub fn of(track: u32) -> Run {
        Run {
            track,
            ..Default::default()
        }
    }
}

/// What the library could not write; a sign of a bug rather than of bad input.
#[derive(Debug, thiserror::Error)]
#[error("write MP4: {0}")]
pub struct Error(#[from] mp4_atom::Error);

/// `ftyp` and `moov`: how to decode all that follows.
pub fn init(video: Option<&VideoConfig>, audio: Option<&AudioConfig>) -> Result<Bytes, Error> {
    let mut trak = Vec::new();
    let mut trex = Vec::new();
    if let Some(config) = video {
        trak.push(video_track(config));
        trex.push(track_defaults(VIDEO_TRACK));
    }
    if let Some(config) = audio {
        trak.push(audio_track(config));
        trex.push(track_defaults(AUDIO_TRACK));
    }
    let moov = Moov {
        mvhd: Mvhd {
            creation_time: 0,
            modification_time: 0,
            timescale: 1000,
            duration: 0,
            rate: 1.into(),
            volume: 1.into(),
            matrix: Default::default(),
            next_track_id: AUDIO_TRACK + 1,
        },
        mvex: Some(Mvex { mehd: None, trex }),
        trak,
        meta: None,
        udta: None,
        ainf: None,
    };
    let ftyp = Ftyp {
        major_brand: b"iso6".into(),
        minor_version: 0,
        compatible_brands: vec![b"iso6".into(), b"cmfc".into(), b"mp41".into()],
    };
    let mut out = Vec::new();
    ftyp.encode(&mut out)?;
    moov.encode(&mut out)?;
    Ok(out.into())
}

/// `moof` and `mdat`. Runs without samples are left out.
pub fn fragment(sequence: u32, runs: &[Run]) -> Result<Bytes, Error> {
    let runs: Vec<&Run> = runs.iter().filter(|run| !run.samples.is_empty()).collect();
    let mut moof = Moof {
        mfhd: Mfhd {
            sequence_number: sequence,
        },
        traf: runs.iter().map(|run| track_fragment(run)).collect(),
    };
    // Where each run's bytes begin is told from the start of `moof`, whose length does not depend on it.
    let mut header = Vec::new();
    moof.encode(&mut header)?;
    let mut offset = header.len() + 8;
    for (traf, run) in moof.traf.iter_mut().zip(&runs) {
        for trun in &mut traf.trun {
            trun.data_offset = i32::try_from(offset).ok();
        }
        offset += run
            .samples
            .iter()
            .map(|sample| sample.data.len())
            .sum::<usize>();
    }
    let media = offset - header.len();
    header.clear();
    moof.encode(&mut header)?;

    let mut out = BytesMut::with_capacity(offset);
    out.extend_from_slice(&header);
    out.put_u32(u32::try_from(media).map_err(|_| mp4_atom::Error::TooLarge(Mdat::KIND))?);
    out.extend_from_slice(b"mdat");
    for run in runs {
        for sample in &run.samples {
            out.extend_from_slice(&sample.data);
        }
    }
    Ok(out.freeze())
}

/// A film of one picture.
pub fn still(config: &VideoConfig, data: Bytes) -> Result<Bytes, Error> {
    let sample = Sample {
        duration: VIDEO_TIMESCALE,
        composition: 0,
        key: true,
        data,
    };
    let run = Run {
        track: VIDEO_TRACK,
        start: 0,
        samples: vec![sample],
    };
    let mut out = BytesMut::from(init(Some(config), None)?);
    out.extend_from_slice(&fragment(1, &[run])?);
    Ok(out.freeze())
}

fn video_track(config: &VideoConfig) -> Trak {
    let (width, height) = config.size.unwrap_or_default();
    let visual = Visual {
        data_reference_index: 1,
        width,
        height,
        ..Default::default()
    };
    let codec = match &config.codec {
        VideoCodec::Avc(avcc) => Codec::Avc1(Avc1 {
            visual,
            avcc: avcc.clone(),
            ..Default::default()
        }),
        VideoCodec::Hevc(hvcc) => Codec::Hvc1(Hvc1 {
            visual,
            hvcc: hvcc.clone(),
            ..Default::default()
        }),
        VideoCodec::Av1(av1c) => Codec::Av01(Av01 {
            visual,
            av1c: av1c.clone(),
            ..Default::default()
        }),
        VideoCodec::Vp9(vpcc) => Codec::Vp09(Vp09 {
            visual,
            vpcc: vpcc.clone(),
            ..Default::default()
        }),
    };
    let tkhd = Tkhd {
        width: width.into(),
        height: height.into(),
        ..track_header(VIDEO_TRACK)
    };
    let minf = Minf {
        vmhd: Some(Vmhd::default()),
        ..media_information(codec)
    };
    track(tkhd, VIDEO_TIMESCALE, b"vide", minf)
}

fn audio_track(config: &AudioConfig) -> Trak {
    let audio = Audio {
        data_reference_index: 1,
        channel_count: config.channels.into(),
        sample_size: 16,
        // Rates that do not fit are in the decoder's own header.
        sample_rate: u16::try_from(config.sample_rate).unwrap_or(0).into(),
    };
    let codec = match &config.codec {
        AudioCodec::Aac { specific, .. } => Codec::Mp4a(Mp4a {
            audio,
            esds: Esds {
                es_desc: aac(specific),
            },
            btrt: None,
            taic: None,
        }),
        AudioCodec::Opus(dops) => Codec::Opus(Opus {
            audio,
            dops: dops.clone(),
            btrt: None,
        }),
    };
    let tkhd = Tkhd {
        volume: 1.into(),
        alternate_group: 1,
        ..track_header(AUDIO_TRACK)
    };
    let minf = Minf {
        smhd: Some(Smhd::default()),
        ..media_information(codec)
    };
    track(tkhd, config.sample_rate, b"soun", minf)
}

fn aac(specific: &Bytes) -> esds::EsDescriptor {
    esds::EsDescriptor {
        es_id: 0,
        dec_config: esds::DecoderConfig {
            object_type_indication: 0x40, // MPEG-4 audio
            stream_type: 5,
            dec_specific: Some(esds::DecoderSpecific {
                raw: specific.to_vec(),
                ..Default::default()
            }),
            ..Default::default()
        },
        ..Default::default()
    }
}

fn track(tkhd: Tkhd, timescale: u32, handler: &[u8; 4], minf: Minf) -> Trak {
    let mdhd = Mdhd {
        timescale,
        language: "und".to_owned(),
        ..Default::default()
    };
    let hdlr = Hdlr {
        handler: handler.into(),
        name: "lemonair".to_owned(),
    };
    Trak {
        tkhd,
        mdia: Mdia { mdhd, hdlr, minf },
        ..Default::default()
    }
}

fn track_header(track_id: u32) -> Tkhd {
    Tkhd {
        track_id,
        enabled: true,
        in_movie: true,
        ..Default::default()
    }
}

fn media_information(codec: Codec) -> Minf {
    // The bytes are in the same file.
    let dref = Dref {
        entries: vec![
            Url {
                location: String::new(),
            }
            .into(),
        ],
    };
    let stbl = Stbl {
        stsd: Stsd {
            codecs: vec![codec],
        },
        stco: Some(Stco::default()),
        ..Default::default()
    };
    Minf {
        dinf: Dinf { dref },
        stbl,
        ..Default::default()
    }
}

fn track_defaults(track_id: u32) -> Trex {
    Trex {
        track_id,
        default_sample_description_index: 1,
        ..Default::default()
    }
}

fn track_fragment(run: &Run) -> Traf {
    let entry = |sample: &Sample| TrunEntry {
        duration: Some(sample.duration),
        size: Some(sample.data.len() as u32),
        // Depends on no other, or depends on others and is no place to begin.
        flags: Some(if sample.key { 0x0200_0000 } else { 0x0101_0000 }),
        cts: (run.track == VIDEO_TRACK).then(|| sample.composition.into()),
    };
    let entries: Vec<TrunEntry> = run.samples.iter().map(entry).collect();
    Traf {
        tfhd: Tfhd {
            track_id: run.track,
            default_base_is_moof: true,
            ..Default::default()
        },
        tfdt: Some(Tfdt {
            base_media_decode_time: run.start,
        }),
        trun: vec![Trun {
            data_offset: Some(0),
            samples: entries.into(),
        }],
        ..Default::default()
    }
}
