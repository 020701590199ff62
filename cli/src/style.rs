//! Colours, and text in columns.

use anstyle::{AnsiColor, Effects, Style};

/// What held.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What failed.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().effects(Effects::BOLD);
/// What was not proved.
pub(crate) const DOUBT: Style = AnsiColor::Yellow.on_default();
/// What matters less.
pub(crate) const FAINT: Style = Style::new().effects(Effects::DIMMED);
/// Headings.
pub(crate) const HEAD: Style = Style::new().effects(Effects::BOLD);

/// How wide the reader's terminal is; 80 where there is none, so that a file or a pipe gets the same bytes everywhere.
pub(crate) fn columns() -> usize {
    terminal_size::terminal_size_of(std::io::stdout())
        .map_or(80, |(width, _)| usize::from(width.0).clamp(40, 120))
}

/// The text in a style.
pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// How many columns a text takes on a terminal.
pub(crate) fn width(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

/// The text, filled with blanks up to `columns`.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// The text's lines, each behind `columns` blanks; empty lines stay empty.
pub(crate) fn indent(text: &str, columns: usize) -> String {
    let blanks = " ".repeat(columns);
    let line = |l: &str| if l.is_empty() { "\n".to_owned() } else { format!("{blanks}{l}\n") };
    text.lines().map(line).collect()
}

/// The words in lines of at most `columns`; the second and later lines stand behind `hang` blanks.
pub(crate) fn wrap(text: &str, columns: usize, hang: usize) -> String {
    let (mut out, mut at) = (String::new(), 0);
    for word in text.split_whitespace() {
        let wide = width(word);
        if at > 0 && at + 1 + wide > columns {
            out.push('\n');
            out.push_str(&" ".repeat(hang));
            at = hang;
        } else if at > 0 {
            out.push(' ');
            at += 1;
        }
        out.push_str(word);
        at += wide;
    }
    out
}

/// The pieces, each whole, in lines of at most `columns`; `between` stands between those of one line.
pub(crate) fn join(pieces: impl Iterator<Item = String>, between: &str, columns: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for piece in pieces {
        match lines.last_mut() {
            Some(line) if width(line) + width(between) + width(&piece) <= columns => {
                *line += between;
                *line += &piece;
            }
            Some(_) | None => lines.push(piece),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_stay_whole_where_a_line_ends() {
        let pieces = ["1 a", "2 bb", "3 c", "4 a-long-one"].map(str::to_owned);
        assert_eq!(join(pieces.into_iter(), " · ", 10), "1 a · 2 bb\n3 c\n4 a-long-one");
    }

    #[test]
    fn words_are_wrapped_behind_a_hanging_indent() {
        assert_eq!(wrap("one two three four", 9, 2), "one two\n  three\n  four");
        assert_eq!(wrap("a-word-that-is-too-long b", 5, 1), "a-word-that-is-too-long\n b");
        assert_eq!(wrap("  ", 5, 1), "");
    }

    #[test]
    fn padding_counts_columns_and_not_bytes() {
        assert_eq!(pad("é", 3), "é  ");
        assert_eq!(pad("long", 3), "long");
    }
}
