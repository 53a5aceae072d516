//! What the conditions of a statement leave to read.

use lemonair_sql::{Cell, Condition, Test};

/// Everything that may meet the conditions, and perhaps more.
#[derive(Debug, PartialEq)]
pub(super) struct Narrow {
    /// In milliseconds; the end is not in it, as with offsets.
    pub(super) times: (i64, i64),
    pub(super) offsets: (i64, i64),
    pub(super) partitions: Option<Vec<i64>>,
    pub(super) rooms: Option<Vec<String>>,
}

impl Narrow {
    /// `name` gives the name of a column.
    pub(super) fn new<'a>(conditions: &[Condition], name: impl Fn(usize) -> &'a str) -> Narrow {
        let mut narrow = Narrow {
            times: (i64::MIN, i64::MAX),
            offsets: (i64::MIN, i64::MAX),
            partitions: None,
            rooms: None,
        };
        for condition in conditions {
            let numbers = condition.values.iter().filter_map(|value| match value {
                Cell::Number(number) => Some(*number),
                _ => None,
            });
            let texts = condition.values.iter().filter_map(|value| match value {
                Cell::Text(text) => Some(text.clone().into_owned()),
                _ => None,
            });
            match name(condition.column) {
                "partition" if condition.test == Test::Is => {
                    keep(&mut narrow.partitions, numbers.collect());
                }
                "room" if condition.test == Test::Is => keep(&mut narrow.rooms, texts.collect()),
                "offset" => {
                    let spans = numbers.map(|offset| (offset, offset.saturating_add(1)));
                    clamp(&mut narrow.offsets, condition.test, spans.map(Some));
                }
                "at_ms" | "recorded_at_ms" => {
                    let spans = numbers.map(|millis| (millis, millis.saturating_add(1)));
                    clamp(&mut narrow.times, condition.test, spans.map(Some));
                }
                "at" | "recorded_at" => {
                    clamp(
                        &mut narrow.times,
                        condition.test,
                        texts.map(|text| span(&text)),
                    );
                }
                _ => {}
            }
        }
        narrow
    }
}

fn keep<T: PartialEq>(kept: &mut Option<Vec<T>>, values: Vec<T>) {
    match kept {
        Some(kept) => kept.retain(|value| values.contains(value)),
        None => *kept = Some(values),
    }
}

/// Cuts `kept` to what passes the test for any of the spans; one that is not known cuts nothing.
fn clamp(kept: &mut (i64, i64), test: Test, spans: impl Iterator<Item = Option<(i64, i64)>>) {
    let mut whole: Option<(i64, i64)> = None;
    for span in spans {
        let Some((start, end)) = span else { return };
        whole = Some(whole.map_or((start, end), |whole| (whole.0.min(start), whole.1.max(end))));
    }
    // A list without a value lets nothing pass.
    let (start, end) = whole.unwrap_or((0, 0));
    if matches!(test, Test::Is | Test::More | Test::AtLeast) {
        kept.0 = kept.0.max(start);
    }
    if matches!(test, Test::Is | Test::Less | Test::AtMost) {
        kept.1 = kept.1.min(end);
    }
}

/// The times that a text may stand for, compared as text with times such as
/// `2026-01-02T03:04:05.678Z`: it is cut to the longest part of one that it begins with.
fn span(text: &str) -> Option<(i64, i64)> {
    const ZERO: &str = "0000-01-01T00:00:00.000Z";
    for (length, unit) in [
        (23, 1),
        (19, 1000),
        (16, 60_000),
        (13, 3_600_000),
        (10, 86_400_000),
    ] {
        let Some(head) = text.get(..length) else {
            continue;
        };
        let whole = format!("{head}{}", &ZERO[length..]);
        if let Ok(time) = whole.parse::<lemonair_schemas::Timestamp>()
            // Other forms of the same time do not compare as text.
            && time.to_string() == whole
        {
            return Some((time.millis(), time.millis() + unit));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    type Passes = fn(&str, &str) -> bool;

    fn narrow(column: &'static str, test: Test, values: &[Cell<'static>]) -> Narrow {
        let condition = Condition {
            column: 0,
            test,
            values: values.to_vec(),
        };
        Narrow::new(&[condition], |_| column)
    }

    fn text(text: &'static str) -> Cell<'static> {
        Cell::Text(text.into())
    }

    /// Whatever a comparison of texts lets pass must be read.
    #[test]
    fn no_time_is_cut_off_that_compares_right() {
        let times: Vec<i64> = (0..100_000)
            .map(|step| 1_767_300_000_000 + step * 1_731)
            .collect();
        for bound in [
            "2026-01-02",
            "2026-01-02T03",
            "2026-01-02T03:04",
            "2026-01-02 03:04:05",
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.678Z",
            "2026-01-02T03:04:05.678",
            "2026-01-02T03:04:05+09:00",
            "2026-01-0",
            "2026-13-02",
            "soon",
            "",
        ] {
            let tests: [(Test, Passes); 5] = [
                (Test::Is, |time, bound| time == bound),
                (Test::Less, |time, bound| time < bound),
                (Test::AtMost, |time, bound| time <= bound),
                (Test::More, |time, bound| time > bound),
                (Test::AtLeast, |time, bound| time >= bound),
            ];
            for (test, passes) in tests {
                let (start, end) = narrow("at", test, &[text(bound)]).times;
                for time in &times {
                    let at = lemonair_schemas::Timestamp(*time).to_string();
                    let kept = (start..end).contains(time);
                    assert!(kept || !passes(&at, bound), "{at} {test:?} {bound}");
                }
            }
        }
    }

    #[test]
    fn a_full_time_is_cut_to_the_millisecond() {
        let bound = [text("2026-01-02T03:04:05.678Z")];
        let at = 1_767_323_045_678;
        assert_eq!(narrow("at", Test::Is, &bound).times, (at, at + 1));
        assert_eq!(
            narrow("recorded_at", Test::Less, &bound).times,
            (i64::MIN, at + 1)
        );
        assert_eq!(narrow("at", Test::AtLeast, &bound).times, (at, i64::MAX));
    }

    #[test]
    fn lists_keep_what_any_of_their_values_may_be() {
        let found = narrow("offset", Test::Is, &[Cell::Number(7), Cell::Number(3)]);
        assert_eq!(found.offsets, (3, 8));
        let found = narrow("room", Test::Is, &[text("mint"), text("basil")]);
        assert_eq!(
            found.rooms,
            Some(vec!["mint".to_owned(), "basil".to_owned()])
        );
        assert_eq!(narrow("offset", Test::Is, &[]).offsets, (0, 0));
    }
}
