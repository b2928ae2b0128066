//! Just enough of Rust's grammar to find functions and test modules.

use std::ops::Range;

/// Rust code in which comments, strings and characters are spaces. Lines stay where they were.
pub struct Source {
    code: Vec<u8>,
}

/// Where a function stands, in lines from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of `fn`.
    pub first_line: usize,
    /// The line of the closing brace.
    pub last_line: usize,
}

impl Source {
    /// Reads Rust code.
    pub fn new(text: &str) -> Self {
        Self { code: blank(text.as_bytes()) }
    }

    /// Takes out everything under `#[cfg(test)]`.
    pub fn without_tests(mut self) -> Self {
        const ATTRIBUTE: &[u8] = b"#[cfg(test)]";
        let mut from = 0;
        while let Some(found) = find(&self.code[from..], ATTRIBUTE) {
            let start = from + found;
            let end = self.item_end(start + ATTRIBUTE.len());
            for byte in self.code[start..end].iter_mut().filter(|byte| **byte != b'\n') {
                *byte = b' ';
            }
            from = end;
        }
        self
    }

    /// The lines on which `word` stands as a word of its own.
    pub fn lines_with(&self, word: &str) -> Vec<usize> {
        self.words(word).map(|position| self.line(position)).collect()
    }

    /// Every function with a body.
    pub fn functions(&self) -> Vec<Function> {
        self.words("fn").filter_map(|position| self.function(position)).collect()
    }

    fn function(&self, position: usize) -> Option<Function> {
        let name_start =
            position + 2 + self.code[position + 2..].iter().position(|b| !b.is_ascii_whitespace())?;
        let name_length = self.code[name_start..].iter().position(|b| !is_word(*b))?;
        // `fn(u8) -> u8` is a type.
        if name_length == 0 {
            return None;
        }
        let end = self.item_end(position);
        (self.code[end - 1] == b'}').then(|| Function {
            name: String::from_utf8_lossy(&self.code[name_start..name_start + name_length]).into_owned(),
            first_line: self.line(position),
            last_line: self.line(end - 1),
        })
    }

    /// The end of the item that begins at `start`: after its closing brace, or after its semicolon.
    fn item_end(&self, start: usize) -> usize {
        let mut nesting = 0_usize;
        let mut in_body = false;
        for (position, byte) in self.code.iter().enumerate().skip(start) {
            match byte {
                b'{' if nesting == 0 => {
                    in_body = true;
                    nesting += 1;
                }
                b'(' | b'[' | b'{' => nesting += 1,
                b')' | b']' | b'}' => nesting = nesting.saturating_sub(1),
                b';' if nesting == 0 => return position + 1,
                _ => {}
            }
            if in_body && nesting == 0 {
                return position + 1;
            }
        }
        self.code.len()
    }

    fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let length = word.len();
        let stands_alone = move |position: usize| {
            let before = position.checked_sub(1).map(|before| self.code[before]);
            let after = self.code.get(position + length);
            !before.is_some_and(is_word) && !after.is_some_and(|byte| is_word(*byte))
        };
        let matches = self.code.windows(length).enumerate().filter(|(_, window)| *window == word.as_bytes());
        matches.map(|(position, _)| position).filter(move |position| stands_alone(*position))
    }

    fn line(&self, position: usize) -> usize {
        1 + self.code[..position].iter().filter(|byte| **byte == b'\n').count()
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Replaces comments and literals by spaces.
fn blank(text: &[u8]) -> Vec<u8> {
    let mut code = text.to_vec();
    let mut position = 0;
    while position < text.len() {
        let after_word = position > 0 && is_word(text[position - 1]);
        let range = literal_or_comment(text, position, after_word);
        for byte in code[range.clone()].iter_mut().filter(|byte| **byte != b'\n') {
            *byte = b' ';
        }
        position = range.end.max(position + 1);
    }
    code
}

/// What to blank at `position`: empty when plain code stands there.
fn literal_or_comment(text: &[u8], position: usize, after_word: bool) -> Range<usize> {
    let rest = &text[position..];
    let end = match rest {
        [b'/', b'/', ..] => rest.iter().position(|b| *b == b'\n'),
        [b'/', b'*', ..] => Some(block_comment_length(rest)),
        [b'"', ..] => Some(string_length(rest)),
        [b'\'', ..] => char_length(rest),
        [b'b' | b'c', b'"', ..] if !after_word => Some(1 + string_length(&rest[1..])),
        [b'b', b'\'', ..] if !after_word => char_length(&rest[1..]).map(|length| length + 1),
        [b'r', ..] if !after_word => raw_string_length(&rest[1..]).map(|length| length + 1),
        [b'b' | b'c', b'r', ..] if !after_word => raw_string_length(&rest[2..]).map(|length| length + 2),
        _ => Some(0),
    };
    let default = if rest.starts_with(b"//") { rest.len() } else { 0 };
    position..(position + end.unwrap_or(default)).min(text.len())
}

fn block_comment_length(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut position = 0;
    while position < rest.len() {
        match &rest[position..] {
            [b'/', b'*', ..] => {
                depth += 1;
                position += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                position += 2;
                if depth == 0 {
                    return position;
                }
            }
            _ => position += 1,
        }
    }
    rest.len()
}

/// Length of the string that begins with the quote at 0.
fn string_length(rest: &[u8]) -> usize {
    let mut position = 1;
    while position < rest.len() {
        match rest[position] {
            b'\\' => position += 2,
            b'"' => return position + 1,
            _ => position += 1,
        }
    }
    rest.len()
}

/// Length of `"..."` or `#"..."#` with any number of `#`; none for a raw identifier.
fn raw_string_length(rest: &[u8]) -> Option<usize> {
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    if rest.get(hashes) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = hashes + 1;
    Some(find(&rest[body..], &close).map_or(rest.len(), |end| body + end + close.len()))
}

/// Length of the character literal that begins at 0; none for a lifetime.
fn char_length(rest: &[u8]) -> Option<usize> {
    match rest {
        [_, b'\\', _, ..] => rest[3..].iter().position(|byte| *byte == b'\'').map(|end| end + 4),
        [_, first, ..] => {
            let width = match first {
                0x00..=0x7f => 1,
                0x80..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xff => 4,
            };
            (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_become_spaces() {
        for (text, left) in [
            ("a // { \"\nb", "a b"),
            ("a /* { /* } */ { */ b", "a b"),
            ("f(\"}\\\"{\") }", "f( ) }"),
            ("r#\"{\"# }", "}"),
            ("br\"\\\" }", "}"),
            ("'{' '\\'' '\\u{1f}' }", "}"),
            ("&'a str { b'{' }", "&'a str { }"),
            ("r#fn x", "r#fn x"),
            ("'ä' }", "}"),
        ] {
            let code = Source::new(text).code;
            assert_eq!(code.len(), text.len(), "positions stay: {text}");
            let words: Vec<_> = code.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
            assert_eq!(words.join(&b' '), left.as_bytes(), "{text}");
        }
    }

    #[test]
    fn functions_are_found_with_their_lines() {
        let text = "fn a() {}\n\nimpl X {\n    pub fn b(x: [u8; 2]) -> fn(u8) {\n        \"}\";\n    }\n    fn c();\n}\n";
        let found: Vec<_> =
            Source::new(text).functions().into_iter().map(|f| (f.name, f.first_line, f.last_line)).collect();
        assert_eq!(found, [("a".to_owned(), 1, 1), ("b".to_owned(), 4, 6)]);
    }

    #[test]
    fn test_modules_are_taken_out() {
        let text =
            "fn a() {}\n#[cfg(test)]\nuse x::y;\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        let names: Vec<_> = Source::new(text)
            .without_tests()
            .functions()
            .into_iter()
            .map(|f| (f.name, f.first_line))
            .collect();
        assert_eq!(names, [("a".to_owned(), 1), ("c".to_owned(), 8)]);
    }

    #[test]
    fn words_stand_alone() {
        let source = Source::new("unsafe_code\n\"unsafe\" // unsafe\nunsafe {}\n");
        assert_eq!(source.lines_with("unsafe"), [3]);
    }
}
