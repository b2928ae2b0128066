//! Paths that are written in a roundabout way: they are answered with the plain one. Source: Go's `http.ServeMux`. Pure.

/// The plain spelling of a path: without `.`, `..` and empty parts. `None` if it is that already.
#[must_use]
pub fn cleaned(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut plain = format!("/{}", parts.join("/"));
    if path.ends_with('/') && plain != "/" {
        plain.push('/');
    }
    (plain != path).then_some(plain)
}

/// What a browser shows that does not follow.
#[must_use]
pub fn page(location: &str) -> String {
    let mut text = String::with_capacity(location.len());
    for char in location.chars() {
        match char {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&#34;"),
            '\'' => text.push_str("&#39;"),
            char => text.push(char),
        }
    }
    format!("<a href=\"{text}\">Moved Permanently</a>.\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_cleans_them() {
        for (path, plain) in [
            ("//health", "/health"),
            ("/v3//kv/range", "/v3/kv/range"),
            ("/v3/./kv/../kv/range", "/v3/kv/range"),
            ("/..", "/"),
            ("/a//", "/a/"),
            ("", "/"),
        ] {
            assert_eq!(cleaned(path).as_deref(), Some(plain), "{path}");
        }
        for plain in ["/", "/health", "/v3/kv/", "/a.b/..c"] {
            assert_eq!(cleaned(plain), None);
        }
    }

    #[test]
    fn pages_hold_no_markup_of_the_path() {
        assert_eq!(page("/<b>?a&b"), "<a href=\"/&lt;b&gt;?a&amp;b\">Moved Permanently</a>.\n\n");
    }
}
