//! What people may be called beside their names: any script, and nothing that passes for another name
//! or changes what stands around it.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_security::restriction_level::{RestrictionLevel, RestrictionLevelDetection};
use unicode_security::skeleton;

/// Characters, at most.
pub(crate) const LONGEST: usize = 24;
/// Accents on one letter, at most.
const MARKS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("a display name has at most {LONGEST} characters")]
    TooLong,
    #[error("a display name has letters, digits, single spaces and - _ . · ' only")]
    Character,
    #[error("a display name has a letter or a digit")]
    Nothing,
    #[error("a display name has at most {MARKS} accents on a letter")]
    Marks,
    #[error("these scripts together, or these look-alike letters, pass for another name")]
    LookAlike,
}

/// The name as it is kept: composed (NFC), without spaces around it. Nothing for none.
pub(crate) fn fit(name: &str) -> Result<String, Unfit> {
    let name: String = name.trim().nfc().collect();
    if name.is_empty() {
        return Ok(name);
    }
    if name.chars().count() > LONGEST {
        return Err(Unfit::TooLong);
    }
    let mut marks = 0;
    let mut said = false;
    for c in name.chars() {
        use GeneralCategoryGroup::{Letter, Mark};
        let group = c.general_category_group();
        marks = if group == Mark { marks + 1 } else { 0 };
        if marks > MARKS {
            return Err(Unfit::Marks);
        }
        let digit = c.general_category() == GeneralCategory::DecimalNumber;
        said |= group == Letter || digit;
        let known = matches!(group, Letter | Mark) || digit || " -_.·'".contains(c);
        if !known || is_blank(c) {
            return Err(Unfit::Character);
        }
    }
    if name.contains("  ") {
        return Err(Unfit::Character);
    }
    if !said {
        return Err(Unfit::Nothing);
    }
    // Latin with Chinese, Japanese or Korean is common; Latin with Cyrillic is a trick.
    let words: String = name.chars().filter(|c| c.is_alphanumeric()).collect();
    if words.detect_restriction_level() > RestrictionLevel::HighlyRestrictive {
        return Err(Unfit::LookAlike);
    }
    // One script, and yet every letter of it looks like a Latin one.
    if !words.is_ascii() && skeleton(&words).all(|c| c.is_ascii()) {
        return Err(Unfit::LookAlike);
    }
    Ok(name)
}

/// Letters by their category, that are nothing to see.
fn is_blank(c: char) -> bool {
    matches!(c, '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_go_by_their_names() {
        for name in [
            "레몬",
            "김 레몬 Lemon",
            "Zoë O'Neil",
            "檸檬レモン",
            "Лимон",
            "लेमन",
            "lemon_7",
            "ليمون",
        ] {
            assert_eq!(fit(name).as_deref(), Ok(name));
        }
        assert_eq!(fit("  레몬 ").as_deref(), Ok("레몬"));
        // Jamo are composed.
        assert_eq!(
            fit("\u{1105}\u{1166}\u{1106}\u{1169}\u{11ab}").as_deref(),
            Ok("레몬")
        );
        assert_eq!(fit(" ").as_deref(), Ok(""));
    }

    #[test]
    fn nothing_that_passes_for_something_else() {
        for (name, why) in [
            ("a\u{202e}b", Unfit::Character),
            ("a\u{200b}b", Unfit::Character),
            ("a\nb", Unfit::Character),
            ("<b>", Unfit::Character),
            ("a  b", Unfit::Character),
            ("🍋", Unfit::Character),
            ("\u{3164}", Unfit::Character),
            ("\u{e000}", Unfit::Character),
            ("-·-", Unfit::Nothing),
            ("a\u{300}\u{316}\u{317}\u{318}", Unfit::Marks),
            ("lеmon", Unfit::LookAlike),
            ("аррӏе", Unfit::LookAlike),
        ] {
            assert_eq!(fit(name), Err(why), "{name:?}");
        }
        assert_eq!(fit(&"레".repeat(25)), Err(Unfit::TooLong));
    }
}
