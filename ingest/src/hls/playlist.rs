//! How a window is written down: the playlists of HTTP Live Streaming (RFC 8216bis).

use std::fmt::Write as _;
use std::time::Duration;

use super::{Playlist, Report, Segment, Variant, Window};

/// The version that knows delta updates.
const VERSION: u32 = 9;
/// A viewer stays so many parts behind the newest, and so many target durations without parts.
const HOLD_BACK: u32 = 3;
/// Parts are listed for segments that begin so many target durations before the end.
const PARTS_UNTIL: u64 = 3;
const ENDLIST: &str = "#EXT-X-ENDLIST\n";
/// What is older than so many target durations can be left out.
const SKIP_UNTIL: u64 = 6;

/// The places to play a broadcast from. `None` if there is none yet.
pub fn master(variants: &[Variant]) -> Option<Playlist> {
    if variants.is_empty() {
        return None;
    }
    let mut text = format!("#EXTM3U\n#EXT-X-VERSION:{VERSION}\n");
    let mut etag = String::new();
    for Variant {
        stream,
        init,
        bandwidth,
        codecs,
        size,
    } in variants
    {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},CODECS=\"{codecs}\""
        );
        if let Some((width, height)) = size {
            let _ = write!(text, ",RESOLUTION={width}x{height}");
        }
        let _ = writeln!(text, "\n{stream}.m3u8");
        let _ = write!(etag, "{stream}-{init}-{bandwidth}.");
    }
    Some(Playlist {
        text: text.into(),
        etag: format!("\"{}\"", etag.trim_end_matches('.')),
    })
}

impl Playlist {
    /// The same, with how far the broadcast's other renditions have got.
    #[must_use]
    pub fn with(self, reports: &[Report]) -> Playlist {
        if reports.is_empty() || self.text.ends_with(ENDLIST.as_bytes()) {
            return self;
        }
        let mut lines = String::new();
        let mut etag = self.etag.trim_end_matches('"').to_owned();
        for Report {
            stream,
            segment,
            part,
        } in reports
        {
            let _ = writeln!(
                lines,
                "#EXT-X-RENDITION-REPORT:URI=\"{stream}.m3u8\",LAST-MSN={segment},LAST-PART={part}"
            );
            let _ = write!(etag, "-{segment}.{part}");
        }
        Playlist {
            text: [&self.text[..], lines.as_bytes()].concat().into(),
            etag: etag + "\"",
        }
    }
}

impl Window {
    pub(super) fn write(&self, skip: bool) -> Playlist {
        let stream = self.stream;
        let count = self.segments.len() - self.unlisted;
        let first = self
            .listed()
            .next()
            .map_or(self.next_segment, |segment| segment.number);
        let ages = self.ages();
        let until = |targets| Duration::from_secs(targets * self.target);
        let skipped = match skip {
            // The one that reaches over the boundary stays.
            true => ages
                .partition_point(|age| *age > until(SKIP_UNTIL))
                .saturating_sub(1),
            false => 0,
        };
        let with_parts = ages.partition_point(|age| *age > until(PARTS_UNTIL));

        let mut text = String::with_capacity(1024 + 160 * (count - skipped));
        let _ = writeln!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{}",
            self.target
        );
        if !self.ended {
            let part = self.part_target(with_parts).as_secs_f64();
            let _ = writeln!(text, "#EXT-X-PART-INF:PART-TARGET={part:.3}");
            let _ = writeln!(
                text,
                "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={:.3},HOLD-BACK={}.0,CAN-SKIP-UNTIL={}.0",
                part * f64::from(HOLD_BACK),
                self.target * u64::from(HOLD_BACK),
                self.target * SKIP_UNTIL,
            );
        }
        let _ = writeln!(text, "#EXT-X-MEDIA-SEQUENCE:{first}");
        // Of the first segment, without the tag before it.
        let stretch = self.listed().next().map_or(0, |segment| {
            segment.stretch.number - u64::from(segment.discontinuity)
        });
        if stretch > 0 {
            let _ = writeln!(text, "#EXT-X-DISCONTINUITY-SEQUENCE:{stretch}");
        }
        if self.listed().all(|segment| segment.independent) {
            text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        }
        if skipped > 0 {
            let _ = writeln!(text, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}");
        }
        let mut init = None;
        for (n, segment) in self.listed().enumerate().skip(skipped) {
            self.write_head(segment, &mut init, &mut text);
            if n >= with_parts && !self.ended {
                self.write_parts(segment, &mut text);
            }
            if segment.gap {
                text.push_str("#EXT-X-GAP\n");
            }
            let seconds = segment.duration.as_secs_f64();
            let _ = writeln!(
                text,
                "#EXTINF:{seconds:.3},\n{stream}-{}.m4s",
                segment.number
            );
        }
        if let Some(open) = &self.open {
            self.write_head(open, &mut init, &mut text);
            self.write_parts(open, &mut text);
        }
        if self.ended {
            text.push_str(ENDLIST);
        } else {
            let made = self.open.as_ref().map_or(0, |open| open.parts.len());
            let _ = writeln!(
                text,
                "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{stream}-{}.{made}.m4s\"",
                self.next_segment
            );
        }
        let kind = if skipped > 0 { "d" } else { "" };
        Playlist {
            text: text.into(),
            etag: format!("\"{stream}-{}{kind}\"", self.revision),
        }
    }

    /// What has to be known before the segment's first byte.
    fn write_head(&self, segment: &Segment, init: &mut Option<u64>, text: &mut String) {
        let stream = self.stream;
        if segment.discontinuity {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        let news = *init != Some(segment.init) || segment.discontinuity;
        if news {
            let _ = writeln!(text, "#EXT-X-MAP:URI=\"{stream}-init{}.mp4\"", segment.init);
        }
        if news || segment.dated {
            let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", segment.date);
        }
        *init = Some(segment.init);
    }

    fn write_parts(&self, segment: &Segment, text: &mut String) {
        for (n, part) in segment.parts.iter().enumerate() {
            let _ = write!(
                text,
                "#EXT-X-PART:DURATION={:.3},URI=\"{}-{}.{n}.m4s\"",
                part.duration.as_secs_f64(),
                self.stream,
                segment.number
            );
            let independent = if part.independent {
                ",INDEPENDENT=YES\n"
            } else {
                "\n"
            };
            text.push_str(independent);
        }
    }

    /// From the start of each listed segment to the end of all.
    fn ages(&self) -> Vec<Duration> {
        let mut age = self
            .open
            .as_ref()
            .map_or(Duration::ZERO, |open| open.duration);
        let mut ages: Vec<Duration> = self
            .listed()
            .rev()
            .map(|segment| {
                age += segment.duration;
                age
            })
            .collect();
        ages.reverse();
        ages
    }

    /// The longest listed part, so that a pause of the encoder counts only while it is listed.
    fn part_target(&self, with_parts: usize) -> Duration {
        let segments = self.listed().skip(with_parts).chain(&self.open);
        let longest = segments
            .flat_map(|segment| &segment.parts)
            .map(|part| part.duration)
            .max();
        longest.unwrap_or_default().max(self.settings.part)
    }
}
