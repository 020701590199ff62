//! Quoting for a POSIX shell.

/// A word that the shell takes as it is.
pub(super) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,+@%=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A command that reads `content` from its standard input. A heredoc ends its last line; text that does not is piped.
pub(super) fn feed(command: &str, content: &str) -> String {
    if !content.is_empty() && !content.ends_with('\n') {
        return format!("printf %s {} | {command}", quote(content));
    }
    let mut end = "EOF".to_owned();
    while content.lines().any(|line| line == end) {
        end.push('_');
    }
    format!("{command} <<'{end}'\n{content}{end}")
}

#[cfg(test)]
mod tests {
    use super::{feed, quote};

    #[test]
    fn a_word_is_quoted_only_where_it_must() {
        assert_eq!(quote("a-b.c/d:1"), "a-b.c/d:1");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn a_heredoc_ends_where_its_text_does_not() {
        assert_eq!(feed("cat", "a\nEOF\n"), "cat <<'EOF_'\na\nEOF\nEOF_");
        assert_eq!(feed("cat", "no newline"), "printf %s 'no newline' | cat");
        assert_eq!(feed("cat", ""), "cat <<'EOF'\nEOF");
    }
}
