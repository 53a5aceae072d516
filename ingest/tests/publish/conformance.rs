//! Whether a media playlist keeps the rules of HTTP Live Streaming (draft-pantos-hls-rfc8216bis), by
//! itself and beside the one that was read before it.

use std::collections::HashMap;

/// What a player makes of a playlist.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Playlist {
    pub(crate) target: u64,
    pub(crate) part_target: f64,
    pub(crate) sequence: u64,
    pub(crate) discontinuity_sequence: u64,
    pub(crate) skipped: u64,
    pub(crate) segments: Vec<Segment>,
    /// Of the segment that is not whole yet.
    pub(crate) parts: Vec<Part>,
    pub(crate) hint: Option<String>,
    /// `EVENT` or `VOD`, if it is of either.
    pub(crate) kind: String,
    pub(crate) ended: bool,
}

/// What a player makes of a line of a multivariant playlist.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Variant {
    pub(crate) uri: String,
    pub(crate) bandwidth: u64,
    pub(crate) codecs: String,
    pub(crate) size: String,
}

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Segment {
    pub(crate) uri: String,
    pub(crate) seconds: f64,
    pub(crate) map: String,
    pub(crate) parts: Vec<Part>,
    pub(crate) discontinuity: bool,
    pub(crate) gap: bool,
}

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Part {
    pub(crate) uri: String,
    pub(crate) seconds: f64,
    pub(crate) independent: bool,
}

impl Playlist {
    /// The number of the segment that is not whole yet.
    pub(crate) fn next(&self) -> u64 {
        self.sequence + self.skipped + self.segments.len() as u64
    }

    /// Fails with the rule that is broken.
    pub(crate) fn check(text: &str) -> Result<Playlist, String> {
        let mut lines = text.lines();
        rule(lines.next() == Some("#EXTM3U"), "4.4.1.1 #EXTM3U is first")?;
        rule(text.ends_with('\n') && !text.contains('\r'), "lines end")?;
        let mut playlist = Playlist::default();
        let mut seen = HashMap::new();
        let (mut version, mut hold_back, mut part_hold_back, mut skip_until) = (0, 0.0, 0.0, 0.0);
        let mut block_reload = false;
        let mut segment = Segment::default();
        let mut map = String::new();
        let mut dated = false;
        for line in lines {
            rule(!playlist.ended, "nothing follows #EXT-X-ENDLIST")?;
            let Some(tag) = line.strip_prefix('#') else {
                rule(segment.seconds > 0.0, "4.4.4.1 each segment has #EXTINF")?;
                rule(!map.is_empty(), "fMP4 has #EXT-X-MAP before it")?;
                segment.uri = line.to_owned();
                segment.map.clone_from(&map);
                playlist.segments.push(std::mem::take(&mut segment));
                continue;
            };
            let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
            let count = seen.entry(name.to_owned()).or_insert(0u32);
            *count += 1;
            let once = *count == 1;
            let before_all = playlist.segments.is_empty() && segment.parts.is_empty();
            match name {
                "EXT-X-VERSION" => version = number(value)? as u64,
                "EXT-X-TARGETDURATION" => playlist.target = number(value)? as u64,
                "EXT-X-PART-INF" => {
                    playlist.part_target = number(&attribute(value, "PART-TARGET")?)?
                }
                "EXT-X-MEDIA-SEQUENCE" => playlist.sequence = number(value)? as u64,
                "EXT-X-DISCONTINUITY-SEQUENCE" => {
                    playlist.discontinuity_sequence = number(value)? as u64;
                }
                "EXT-X-SERVER-CONTROL" => {
                    block_reload = attribute(value, "CAN-BLOCK-RELOAD")? == "YES";
                    part_hold_back = number(&attribute(value, "PART-HOLD-BACK")?)?;
                    hold_back = number(&attribute(value, "HOLD-BACK")?)?;
                    skip_until = number(&attribute(value, "CAN-SKIP-UNTIL")?)?;
                }
                "EXT-X-INDEPENDENT-SEGMENTS" => {}
                "EXT-X-PLAYLIST-TYPE" => playlist.kind = value.to_owned(),
                "EXT-X-SKIP" => {
                    playlist.skipped = number(&attribute(value, "SKIPPED-SEGMENTS")?)? as u64
                }
                "EXT-X-MAP" => map = attribute(value, "URI")?,
                "EXT-X-PROGRAM-DATE-TIME" => {
                    rule(
                        value.len() == 24 && value.ends_with('Z'),
                        "a date of ISO 8601",
                    )?;
                    dated = true;
                }
                "EXT-X-DISCONTINUITY" => segment.discontinuity = true,
                "EXT-X-GAP" => segment.gap = true,
                "EXTINF" => segment.seconds = number(value.trim_end_matches(','))?,
                "EXT-X-PART" => segment.parts.push(Part {
                    uri: attribute(value, "URI")?,
                    seconds: number(&attribute(value, "DURATION")?)?,
                    independent: value.ends_with(",INDEPENDENT=YES"),
                }),
                "EXT-X-PRELOAD-HINT" => {
                    rule(attribute(value, "TYPE")? == "PART", "a part is hinted at")?;
                    playlist.hint = Some(attribute(value, "URI")?);
                }
                "EXT-X-RENDITION-REPORT" => {
                    attribute(value, "URI")?;
                    number(&attribute(value, "LAST-MSN")?)?;
                    number(&attribute(value, "LAST-PART")?)?;
                }
                "EXT-X-ENDLIST" => playlist.ended = true,
                other => return Err(format!("#{other} is not known")),
            }
            let head = matches!(
                name,
                "EXT-X-VERSION"
                    | "EXT-X-TARGETDURATION"
                    | "EXT-X-PART-INF"
                    | "EXT-X-SERVER-CONTROL"
                    | "EXT-X-MEDIA-SEQUENCE"
                    | "EXT-X-DISCONTINUITY-SEQUENCE"
                    | "EXT-X-PLAYLIST-TYPE"
                    | "EXT-X-SKIP"
                    | "EXT-X-INDEPENDENT-SEGMENTS"
                    | "EXT-X-PRELOAD-HINT"
                    | "EXT-X-ENDLIST"
            );
            rule(!head || once, "a tag of the whole playlist stands once")?;
            let foot = matches!(
                name,
                "EXT-X-PRELOAD-HINT" | "EXT-X-RENDITION-REPORT" | "EXT-X-ENDLIST"
            );
            rule(
                !head || foot || before_all,
                "it stands before the first segment",
            )?;
            rule(
                playlist.hint.is_none() || foot,
                "the hint is last but for reports",
            )?;
        }
        rule(segment.seconds == 0.0, "4.4.4.1 #EXTINF has a segment")?;
        playlist.parts = std::mem::take(&mut segment.parts);

        rule(
            playlist.target > 0,
            "4.4.3.1 there is #EXT-X-TARGETDURATION",
        )?;
        rule(
            version >= 9 || playlist.skipped == 0,
            "8 #EXT-X-SKIP is of version 9",
        )?;
        rule(version >= 6, "8 #EXT-X-MAP is of version 6")?;
        rule(dated, "there is a date")?;
        for segment in &playlist.segments {
            let rounded = segment.seconds.round() as u64;
            rule(
                rounded <= playlist.target,
                "4.4.3.1 no segment is longer than the target",
            )?;
            if !segment.parts.is_empty() {
                let sum: f64 = segment.parts.iter().map(|part| part.seconds).sum();
                rule(
                    (sum - segment.seconds).abs() < 0.001,
                    "parts last as long as their segment",
                )?;
            }
            let all_but_last = segment.parts.split_last().map_or(&[][..], |(_, rest)| rest);
            playlist.check_parts(&segment.parts, all_but_last)?;
        }
        playlist.check_parts(&playlist.parts, &playlist.parts)?;
        rule(
            matches!(playlist.kind.as_str(), "" | "EVENT" | "VOD"),
            "4.4.3.5 a playlist's type is EVENT or VOD",
        )?;
        rule(
            playlist.kind != "VOD" || playlist.ended,
            "4.4.3.5 what changes no more has ended",
        )?;
        if playlist.ended {
            rule(
                playlist.hint.is_none(),
                "nothing is hinted at behind the end",
            )?;
            return Ok(playlist);
        }
        if playlist.kind == "EVENT" && playlist.part_target == 0.0 {
            let hinted = playlist.hint.is_some();
            rule(!hinted, "4.4.3.7 a hint comes with #EXT-X-PART-INF")?;
            return Ok(playlist);
        }
        rule(block_reload, "parts come with CAN-BLOCK-RELOAD")?;
        rule(
            part_hold_back >= 2.0 * playlist.part_target,
            "4.4.3.8 PART-HOLD-BACK",
        )?;
        rule(
            hold_back >= 3.0 * playlist.target as f64,
            "4.4.3.8 HOLD-BACK",
        )?;
        rule(
            skip_until >= 6.0 * playlist.target as f64,
            "4.4.3.8 CAN-SKIP-UNTIL",
        )?;
        let mut age: f64 = playlist.parts.iter().map(|part| part.seconds).sum();
        for segment in playlist.segments.iter().rev() {
            let parts = !segment.parts.is_empty();
            rule(
                parts || segment.gap || age > 0.0,
                "6.2.2 the newest segments have parts",
            )?;
            age += segment.seconds;
            rule(
                !parts || age <= 4.0 * playlist.target as f64,
                "6.2.2 old segments have no parts",
            )?;
        }
        let hint = playlist.hint.clone().ok_or("the next part is hinted at")?;
        let listed = playlist.segments.iter().flat_map(|segment| &segment.parts);
        let known = listed.chain(&playlist.parts).any(|part| part.uri == hint);
        rule(!known, "what is hinted at is not there yet")?;
        Ok(playlist)
    }

    /// 4.4.3.7 and 4.4.4.9: none longer than the target, and none shorter than 85 % of it but the last
    /// of its segment.
    fn check_parts(&self, all: &[Part], long: &[Part]) -> Result<(), String> {
        for part in all {
            rule(
                part.seconds <= self.part_target,
                "no part is longer than the target",
            )?;
        }
        for part in long.split_last().map_or(&[][..], |(_, rest)| rest) {
            rule(
                part.seconds >= 0.85 * self.part_target,
                &format!("a part is short: {part:?}"),
            )?;
        }
        Ok(())
    }

    /// 6.2.1: what a later playlist may change.
    pub(crate) fn check_after(&self, old: &Playlist) -> Result<(), String> {
        rule(self.target == old.target, "the target stays")?;
        rule(
            self.sequence >= old.sequence,
            "the sequence never goes back",
        )?;
        rule(self.next() >= old.next(), "no segment is taken back")?;
        rule(!old.ended || self == old, "what has ended stays")?;
        rule(
            old.kind != "EVENT" || self.sequence == old.sequence,
            "4.4.3.5 nothing leaves an EVENT playlist",
        )?;
        let gone = (self.sequence - old.sequence) as usize;
        let mut discontinuities = old.discontinuity_sequence;
        for (n, segment) in old.segments.iter().enumerate() {
            let number = old.sequence + old.skipped + n as u64;
            if number < self.sequence {
                discontinuities += u64::from(segment.discontinuity);
                continue;
            }
            let Some(n) = number.checked_sub(self.sequence + self.skipped) else {
                continue;
            };
            let new = &self.segments[n as usize];
            let same =
                (&new.uri, new.seconds, &new.map) == (&segment.uri, segment.seconds, &segment.map);
            rule(same, "a segment stays as it is")?;
            rule(
                new.parts.is_empty() || new.parts == segment.parts,
                "parts stay as they are",
            )?;
        }
        if old.skipped == 0 && gone <= old.segments.len() {
            rule(
                discontinuities == self.discontinuity_sequence,
                "discontinuities are counted",
            )?;
        }
        let grown = match old.next().checked_sub(self.sequence + self.skipped) {
            Some(n) if (n as usize) < self.segments.len() => &self.segments[n as usize].parts,
            _ => &self.parts,
        };
        rule(
            self.ended || grown.is_empty() || grown.starts_with(&old.parts),
            "a segment is made of the parts before it",
        )
    }
}

/// The same of a multivariant playlist.
pub(crate) fn check_master(text: &str) -> Result<Vec<Variant>, String> {
    let mut lines = text.lines();
    rule(lines.next() == Some("#EXTM3U"), "4.4.1.1 #EXTM3U is first")?;
    rule(text.ends_with('\n') && !text.contains('\r'), "lines end")?;
    let mut variants: Vec<Variant> = Vec::new();
    while let Some(line) = lines.next() {
        let Some(tag) = line.strip_prefix('#') else {
            return Err(format!("4.4.6.2 {line} has #EXT-X-STREAM-INF before it"));
        };
        match tag.split_once(':') {
            Some(("EXT-X-VERSION", _)) => {
                rule(variants.is_empty(), "the version stands before all else")?;
            }
            Some(("EXT-X-STREAM-INF", list)) => {
                let uri = lines.next().filter(|uri| !uri.starts_with('#'));
                let variant = Variant {
                    uri: uri.ok_or("4.4.6.2 a URI follows")?.to_owned(),
                    bandwidth: attribute(list, "BANDWIDTH")?
                        .parse()
                        .map_err(|_| "4.4.6.2 BANDWIDTH is a decimal integer")?,
                    codecs: attribute(list, "CODECS")?,
                    size: attribute(list, "RESOLUTION").unwrap_or_default(),
                };
                let known = variants.iter().any(|known| known.uri == variant.uri);
                rule(!known, "each is listed once")?;
                rule(variant.bandwidth > 0, "4.4.6.2 BANDWIDTH is told")?;
                variants.push(variant);
            }
            _ => return Err(format!("#{tag} is of no multivariant playlist")),
        }
    }
    rule(!variants.is_empty(), "there is something to play")?;
    Ok(variants)
}

fn rule(holds: bool, name: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(name.to_owned()) }
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn attribute(list: &str, name: &str) -> Result<String, String> {
    let mut quoted = false;
    let pairs = list.split(|c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
    let value = pairs.find_map(|(found, value)| (found == name).then_some(value));
    let value = value.ok_or_else(|| format!("{name} is missing in {list}"))?;
    Ok(value.trim_matches('"').to_owned())
}
