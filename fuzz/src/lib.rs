//! Every parser of strangers' bytes as a function that takes any, and bytes that get far in it.
//!
//! `tests/bounded.rs` runs them all for a while, `fuzz/run` one after the other for longer, guided by
//! coverage. Bytes that once broke something stay in `corpus/`, and both begin with them.

mod media;
mod rtmp;
mod viewers;

/// A parser, and bytes that it takes.
#[derive(Debug)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

pub const TARGETS: &[Target] = &[
    Target {
        name: "handshake",
        run: rtmp::handshake,
        seeds: rtmp::handshakes,
    },
    Target {
        name: "chunk",
        run: rtmp::chunk,
        seeds: rtmp::conversations,
    },
    Target {
        name: "amf",
        run: rtmp::amf,
        seeds: rtmp::values,
    },
    Target {
        name: "session",
        run: rtmp::session,
        seeds: rtmp::conversations,
    },
    Target {
        name: "client",
        run: rtmp::client,
        seeds: rtmp::answers,
    },
    Target {
        name: "codec",
        run: media::codec,
        seeds: media::headers,
    },
    Target {
        name: "media",
        run: media::media,
        seeds: media::broadcasts,
    },
    Target {
        name: "websocket",
        run: viewers::websocket,
        seeds: viewers::frames,
    },
    Target {
        name: "deflate",
        run: viewers::deflate,
        seeds: viewers::deflated,
    },
    Target {
        name: "cursor",
        run: viewers::cursor,
        seeds: viewers::cursors,
    },
];

/// The same bytes whole and in pieces.
fn cuts(bytes: &[u8]) -> [Vec<&[u8]>; 3] {
    [
        vec![bytes],
        bytes.chunks(7).collect(),
        bytes.chunks(1).collect(),
    ]
}
