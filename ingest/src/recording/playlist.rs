//! A recording as a playlist (RFC 8216): whole, or as far as it has got.

use std::fmt::Write as _;

use super::{Name, Segment};

/// The version that knows `EXT-X-MAP` for fragmented MP4.
const VERSION: u32 = 7;
/// Seconds that segments last mostly. The first of all is shorter, and what is told must stay true.
const TARGET: f64 = 2.0;

/// `segments` are in order.
pub(super) fn write(segments: &[Segment], whole: bool) -> String {
    let longest = segments.iter().map(|segment| segment.name.duration).max();
    let target = longest
        .unwrap_or_default()
        .as_secs_f64()
        .round()
        .max(TARGET);
    let kind = if whole { "VOD" } else { "EVENT" };
    let mut text = String::with_capacity(256 + 112 * segments.len());
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{target}\n\
         #EXT-X-PLAYLIST-TYPE:{kind}\n#EXT-X-MEDIA-SEQUENCE:0"
    );
    let mut before: Option<&Name> = None;
    for Segment { name, .. } in segments {
        // Behind another run of the ingest, another init segment, or one that could not be kept.
        let goes_on = before.is_some_and(|before: &Name| {
            (before.session, before.init, before.number + 1)
                == (name.session, name.init, name.number)
        });
        if !goes_on {
            if before.is_some() {
                text.push_str("#EXT-X-DISCONTINUITY\n");
            }
            let _ = writeln!(text, "#EXT-X-MAP:URI=\"{}\"", name.init_file());
        }
        if !goes_on || before.is_none_or(|before| before.ends() != name.begins) {
            let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", name.begins);
        }
        let seconds = name.duration.as_secs_f64();
        let _ = writeln!(text, "#EXTINF:{seconds:.3},\n{name}");
        before = Some(name);
    }
    if whole {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}
