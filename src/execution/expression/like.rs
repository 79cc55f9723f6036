//! LIKE by searching for what stands between the per cent signs.

use memchr::memmem::Finder;

/// A pattern without underscores.
#[derive(Debug)]
pub enum Pattern {
    /// Without per cent signs.
    Whole(Vec<u8>),
    /// What comes first, what comes last, and what comes between, in order.
    Parts { start: Vec<u8>, end: Vec<u8>, middle: Vec<Finder<'static>> },
}

impl Pattern {
    /// Reads a pattern; `None` if it has what is left to PostgreSQL: an underscore, or a backslash at the end. The characters of texts and
    /// patterns must be such that none begins within another, as in UTF-8.
    pub fn parse(pattern: &[u8]) -> Option<Self> {
        let mut parts = vec![Vec::new()];
        let mut bytes = pattern.iter();
        while let Some(byte) = bytes.next() {
            let plain = match byte {
                b'_' => return None,
                b'%' => {
                    parts.push(Vec::new());
                    continue;
                }
                b'\\' => bytes.next()?,
                other => other,
            };
            parts.last_mut()?.push(*plain);
        }
        let end = parts.pop()?;
        if parts.is_empty() {
            return Some(Self::Whole(end));
        }
        let start = parts.remove(0);
        let middle = parts.iter().filter(|part| !part.is_empty()).map(|part| Finder::new(part).into_owned()).collect();
        Some(Self::Parts { start, end, middle })
    }

    /// Whether a text is like the pattern.
    pub fn matches(&self, text: &[u8]) -> bool {
        let (start, end, middle) = match self {
            Self::Whole(whole) => return text == whole,
            Self::Parts { start, end, middle } => (start, end, middle),
        };
        let Some(mut rest) = text.strip_prefix(start.as_slice()).and_then(|text| text.strip_suffix(end.as_slice()))
        else {
            return false;
        };
        for part in middle {
            match part.find(rest) {
                Some(place) => rest = rest.get(place + part.needle().len()..).unwrap_or_default(),
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod unit {
    use super::*;
    use proptest::prelude::*;

    /// By the definition, character by character.
    fn like(text: &[u8], pattern: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'%', rest @ ..] => (0..=text.len()).any(|skipped| like(&text[skipped..], rest)),
            [b'\\', plain, rest @ ..] | [plain, rest @ ..] => {
                text.split_first().is_some_and(|(first, text)| first == plain && like(text, rest))
            }
        }
    }

    proptest! {
        #[test]
        fn patterns_match_as_defined(text in "[ab%\\\\é]{0,12}", pattern in "(a|b|%|é|\\\\%|\\\\\\\\){0,7}") {
            let found = Pattern::parse(pattern.as_bytes()).expect("no underscore").matches(text.as_bytes());
            prop_assert_eq!(found, like(text.as_bytes(), pattern.as_bytes()));
        }
    }

    #[test]
    fn parts_do_not_overlap() {
        let matches =
            |pattern: &str, text: &str| Pattern::parse(pattern.as_bytes()).map(|p| p.matches(text.as_bytes()));
        assert_eq!([matches("ab%ba", "aba"), matches("ab%ba", "abba")], [Some(false), Some(true)]);
        assert_eq!([matches("%aa%aa%", "aaa"), matches("%aa%aa%", "xaaaa")], [Some(false), Some(true)]);
        assert_eq!([matches("", ""), matches("%", ""), matches("", "a")], [Some(true), Some(true), Some(false)]);
    }

    #[test]
    fn the_rest_is_left_to_others() {
        assert!(["a_b", "a\\", "%\\"].iter().all(|pattern| Pattern::parse(pattern.as_bytes()).is_none()));
        assert!(Pattern::parse(b"a\\_b").is_some_and(|pattern| pattern.matches(b"a_b") && !pattern.matches(b"axb")));
    }
}
