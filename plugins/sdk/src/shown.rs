//! Texts of a counterpart's own in logs, in reasons that are kept, and in front of people.

/// At most so many characters of a text that comes from outside, without what would move somebody's cursor or turn the direction
/// of what is beside it.
pub fn shown(text: &str, longest: usize) -> String {
    let mut shown: String = text.chars().take(longest).map(|c| if moves(c) { ' ' } else { c }).collect();
    if text.chars().nth(longest).is_some() {
        shown.push('…');
    }
    shown
}

fn moves(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_is_cut() {
        assert_eq!(shown("", 3), "");
        assert_eq!(shown("éçà", 3), "éçà");
        assert_eq!(shown("éçàè", 3), "éçà…");
    }

    #[test]
    fn nothing_moves_the_cursor_or_turns_the_text() {
        assert_eq!(shown("a\u{1b}[2Jb\r\nc\u{2028}d\u{202e}e\u{2066}f\u{200e}g\u{9b}h\0", 100), "a [2Jb  c d e f g h ");
    }
}
