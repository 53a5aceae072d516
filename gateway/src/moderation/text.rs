//! What a message says, as filters see it.
//!
//! - **Words** are whole words or phrases, whatever their case, width, accents or invisible
//!   characters; `b a d` and `b.a.d` are `bad`. Look-alike letters of other scripts, digits for
//!   letters and words run together are other words.
//! - **A link** is anything with `scheme://` or `www.`, or a name with a dot and at least two Latin
//!   letters behind it: `lemonair.example/x`, but also `end.Next` without a space.
//! - **Emotes** are emoji and `:name:`.

use std::hash::{DefaultHasher, Hash, Hasher};

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{
    GeneralCategory, GeneralCategoryGroup, UnicodeEmoji, UnicodeGeneralCategory,
};

/// Blocked words and phrases, folded.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Words(Vec<Vec<String>>);

impl Words {
    pub(super) fn new(words: &[String]) -> Words {
        let folded = words.iter().map(|word| tokens(&fold(word)));
        Words(folded.filter(|tokens| !tokens.is_empty()).collect())
    }

    pub(super) fn are_in(&self, text: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let said = tokens(&fold(text));
        let spelled = spelled_out(&said);
        self.0.iter().any(|word| {
            let plain = said.windows(word.len()).any(|window| window == word);
            plain || (word.len() == 1 && spelled.iter().any(|run| run.contains(word[0].as_str())))
        })
    }
}

/// Whether a blocked word would block nothing.
pub(crate) fn folds_to_nothing(word: &str) -> bool {
    tokens(&fold(word)).is_empty()
}

/// The same for texts that look alike: compatibility forms, case, accents and invisible characters
/// make no difference.
fn fold(text: &str) -> String {
    text.nfkd()
        .flat_map(char::to_lowercase)
        .filter(|c| !is_invisible(*c))
        .nfc()
        .collect()
}

fn is_invisible(c: char) -> bool {
    matches!(
        c.general_category(),
        GeneralCategory::Format | GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark
    ) || matches!(
        c,
        '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}' | '\u{2800}'
    )
}

/// Runs of letters, digits and the marks that belong to them.
fn tokens(folded: &str) -> Vec<String> {
    let in_word = |c: char| {
        matches!(
            c.general_category_group(),
            GeneralCategoryGroup::Letter
                | GeneralCategoryGroup::Number
                | GeneralCategoryGroup::Mark
        )
    };
    let words = folded.split(|c| !in_word(c));
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Words spelled out letter by letter: runs of at least two tokens of one character, joined.
fn spelled_out(tokens: &[String]) -> Vec<String> {
    let single = |token: &String| token.chars().nth(1).is_none();
    tokens
        .chunk_by(|a, b| single(a) && single(b))
        .filter(|run| run.len() > 1)
        .map(<[String]>::concat)
        .collect()
}

pub(super) fn has_link(text: &str) -> bool {
    // Dots that browsers take for dots.
    let text: String = text
        .nfkc()
        .filter(|c| c.general_category() != GeneralCategory::Format)
        .map(|c| if c == '\u{3002}' { '.' } else { c })
        .flat_map(char::to_lowercase)
        .collect();
    if text.contains("://") || text.contains("www.") {
        return true;
    }
    let in_name = |c: char| c.is_alphanumeric() || c == '-' || c == '.';
    text.split(|c| !in_name(c)).any(is_host)
}

/// `name.tld`, where the last part is of Latin letters.
fn is_host(name: &str) -> bool {
    let name = name.trim_matches('.');
    let Some((rest, last)) = name.rsplit_once('.') else {
        return false;
    };
    let latin = last.len() >= 2 && last.bytes().all(|c| c.is_ascii_alphabetic());
    let punycode = last.starts_with("xn--");
    (latin || punycode) && rest.ends_with(char::is_alphanumeric)
}

pub(super) fn is_emotes(text: &str) -> bool {
    const KEYCAP: char = '\u{20E3}';
    let mut rest = text;
    let mut emotes = 0;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        if let Some(end) = emote_code(rest) {
            rest = &rest[end..];
            emotes += 1;
        } else if matches!(c, '0'..='9' | '#' | '*') {
            let cap = after.strip_prefix('\u{FE0F}').unwrap_or(after);
            let Some(after) = cap.strip_prefix(KEYCAP) else {
                return false;
            };
            rest = after;
            emotes += 1;
        } else if c.is_emoji_char() {
            rest = after;
            emotes += 1;
        } else if c.is_whitespace() || (emotes > 0 && changes_emoji(c)) {
            rest = after;
        } else {
            return false;
        }
    }
    emotes > 0
}

/// Joiners, selectors and tags, which change the emoji before them.
fn changes_emoji(c: char) -> bool {
    matches!(
        c,
        '\u{200D}' | '\u{FE0E}' | '\u{FE0F}' | '\u{E0020}'..='\u{E007F}'
    )
}

/// The length of a leading `:name:`.
fn emote_code(text: &str) -> Option<usize> {
    let (name, _) = text.strip_prefix(':')?.split_once(':')?;
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'+');
    ((1..=32).contains(&name.len()) && name.bytes().all(plain)).then_some(name.len() + 2)
}

/// The same for messages that say the same: fold, and spaces as one.
pub(super) fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Most messages, at a tenth of the cost.
    let folded = match text.is_ascii() {
        true => text.to_ascii_lowercase(),
        false => fold(text),
    };
    for word in folded.split_whitespace() {
        word.hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn blocked(word: &str, text: &str) -> bool {
        Words::new(&[word.to_owned()]).are_in(text)
    }

    #[test]
    fn a_blocked_word_is_found_however_it_is_dressed() {
        for text in [
            "bad",
            "so BAD!",
            "b\u{200B}a\u{200D}d",
            "b\u{AD}ad",
            "b a d",
            "b.a.d",
            "b-a_d",
            "ｂａｄ",
            "𝐁𝐚𝐝",
            "bäd",
            "ba\u{301}d",
            "(bad)",
            "u r b a d",
            "bad\u{FEFF}",
            "b 🍋 a 🍋 d",
            "\u{202E}bad",
        ] {
            assert!(blocked("bad", text), "{text:?}");
        }
    }

    #[test]
    fn other_words_pass() {
        for text in ["badge", "forbad", "ba d", "b a", "", "sad", "b4d", "aba d"] {
            assert!(!blocked("bad", text), "{text:?}");
        }
        assert!(!blocked("ass", "class as sure"));
    }

    #[test]
    fn words_of_any_script_and_phrases() {
        assert!(blocked("나쁜", "아 나쁜 사람"));
        assert!(blocked("나쁜", "나 쁜"));
        assert!(!blocked("나쁜", "나쁜사람"));
        assert!(blocked("STRASSE", "straße") || blocked("straße", "STRAßE"));
        assert!(blocked("İstanbul", "istanbul"));
        assert!(blocked("go home", "Go,  home!"));
        assert!(!blocked("go home", "go to home"));
        assert!(folds_to_nothing(" \u{200B}!?"));
        assert!(!blocked("!?", "anything !?"));
    }

    #[test]
    fn links_are_seen() {
        for text in [
            "https://lemonair.example",
            "see www.x",
            "lemonair.example/path",
            "go to EVIL.XYZ!",
            "evil\u{200B}.com",
            "evil。com",
            "evil．com",
            "ftp://x",
            "(evil.com)",
            "a@evil.com",
            "пример.com",
            "x.xn--p1ai",
            "evil.com:8080",
            "javascript://x",
        ] {
            assert!(has_link(text), "{text}");
        }
        for text in [
            "no link",
            "3.5",
            "e.g. this",
            "wait...",
            "...what",
            "1.2.3",
            "です。はい",
            "a. b",
            ".com",
            "1:2",
            "no.",
            "",
        ] {
            assert!(!has_link(text), "{text}");
        }
    }

    #[test]
    fn emotes_are_seen() {
        for text in [
            "🍋",
            "🍋 🍋🍋",
            ":lemon:",
            ":lemon::lemon: 🍋",
            "👩‍👩‍👧",
            "👍🏽",
            "❤️",
            "🇰🇷",
            "1️⃣",
            "#⃣",
            "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        ] {
            assert!(is_emotes(text), "{text}");
        }
        for text in [
            "", " ", "hi 🍋", "🍋 hi", "1", "123", "#", ":lemon", ":a b:", "::", "\u{200D}",
            "\u{FE0F}", ":)", "🍋1",
        ] {
            assert!(!is_emotes(text), "{text:?}");
        }
    }

    #[test]
    fn what_says_the_same_is_the_same() {
        assert_eq!(hash("Hello  there"), hash(" hello\u{200B} THERE "));
        assert_ne!(hash("hello there"), hash("hellothere"));
        assert_ne!(hash("🍋"), hash("🍋🍋"));
    }

    proptest! {
        #[test]
        fn strangers_text_never_panics(text in ".{0,60}", word in ".{0,20}") {
            let _ = (blocked(&word, &text), has_link(&text), is_emotes(&text), hash(&text));
        }

        #[test]
        fn a_word_is_found_between_any_others(
            word in "[a-z]{2,8}",
            before in "[ .,!🍋]{0,3}",
            after in "[ .,!🍋]{0,3}",
        ) {
            let text = format!("{before}{word}{after}");
            prop_assert!(blocked(&word, &text));
            let spaced: Vec<String> = word.to_uppercase().chars().map(String::from).collect();
            prop_assert!(blocked(&word, &spaced.join(" ")));
        }
    }
}
