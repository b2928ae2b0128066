//! The syntax of etcdctl's transactions: words with quotes, and compares such as `mod("key") > "0"`.
//!
//! Lines are bytes, for keys and values are.

use windlass_api::etcdserverpb::Compare;
use windlass_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};

use crate::go;

/// Splits a line into words: bare, in single quotes (taken as they are) or in double quotes (with Go's escapes).
///
/// A quote that nothing closes is skipped, as etcdctl does. `None` if an escape is wrong.
pub fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some((&first, after)) = rest.split_first() {
        match first {
            b'"' => match closing_quote(after) {
                Some(_) => {
                    let (word, after) = go::unquote_prefix(rest)?;
                    words.push(word);
                    rest = after;
                }
                None => rest = after,
            },
            b'\'' => match after.iter().position(|&byte| byte == b'\'') {
                Some(end) => {
                    words.push(after[..end].to_vec());
                    rest = &after[end + 1..];
                }
                None => rest = after,
            },
            _ if first.is_ascii_whitespace() => rest = after,
            _ => {
                let (word, after) = bare_word(rest);
                words.push(word.to_vec());
                rest = after;
            }
        }
    }
    Some(words)
}

/// Where the double quote closes that was opened before `rest`.
fn closing_quote(rest: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    rest.iter().position(|&byte| {
        let closes = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        closes
    })
}

/// Up to the next white space, and what follows.
fn bare_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    text.split_at(end)
}

/// Parses one compare. What follows it on the line is ignored, as etcdctl does.
///
/// # Errors
/// etcdctl's text for what is wrong.
pub fn compare(line: &[u8]) -> Result<Compare, String> {
    let text = String::from_utf8_lossy(line);
    let Some(paren) = line.iter().position(|&byte| byte == b'(') else {
        return Err(format!("malformed comparison: {text}"));
    };
    let target = String::from_utf8_lossy(&line[..paren]);
    let parts = Parts::parse(&line[paren + 1..]).map_err(|Parts { key, operator, value }| {
        let (key, value) = (go::quote(&key), go::quote(&value));
        format!("malformed comparison: {text}; got {target}({key}) {operator} {value}")
    })?;
    let (target, value) = target_value(&target, &parts.value).map_err(|fault| match fault {
        Fault::UnknownTarget => format!("malformed comparison: {text} (unknown target {target})"),
        Fault::BadValue => format!("invalid txn compare request: {text}"),
    })?;
    let result = match parts.operator.as_str() {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        other => return Err(format!("malformed comparison: {text} (unknown operator {other})")),
    };
    Ok(Compare {
        result: result.into(),
        target: target.into(),
        key: parts.key.into(),
        target_union: Some(value),
        ..Default::default()
    })
}

enum Fault {
    UnknownTarget,
    BadValue,
}

fn target_value(name: &str, value: &[u8]) -> Result<(CompareTarget, TargetUnion), Fault> {
    let integer = |base| go::parse_int(&String::from_utf8_lossy(value), base).map_err(|_| Fault::BadValue);
    Ok(match name {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(integer(10)?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(integer(10)?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(integer(10)?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.to_vec().into())),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(integer(16)?)),
        _ => return Err(Fault::UnknownTarget),
    })
}

/// What follows the opening parenthesis: `"key") operator "value"`.
#[derive(Default)]
struct Parts {
    key: Vec<u8>,
    operator: String,
    value: Vec<u8>,
}

impl Parts {
    /// The parts, or as many of them as were read before the fault.
    fn parse(text: &[u8]) -> Result<Self, Self> {
        let mut parts = Self::default();
        let Some((key, rest)) = go::unquote_prefix(text.trim_ascii_start()) else {
            return Err(parts);
        };
        parts.key = key;
        let Some(rest) =
            rest.strip_prefix(b")").filter(|rest| rest.first().is_some_and(u8::is_ascii_whitespace))
        else {
            return Err(parts);
        };
        let (operator, rest) = bare_word(rest.trim_ascii_start());
        parts.operator = String::from_utf8_lossy(operator).into_owned();
        let Some((value, _)) = go::unquote_prefix(rest.trim_ascii_start()) else {
            return Err(parts);
        };
        parts.value = value;
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        let split = |line: &str| {
            words(line.as_bytes()).map(|words| {
                words.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect::<Vec<_>>()
            })
        };
        let expect = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(split("put a  b"), expect(&["put", "a", "b"]));
        assert_eq!(split(r#"put 'a "b' "c\" \x41""#), expect(&["put", "a \"b", "c\" A"]));
        assert_eq!(split(r#"a"b c" d"#), expect(&["a\"b", "c\"", "d"]));
        assert_eq!(split("'open x"), expect(&["open", "x"]));
        assert_eq!(split(r#""open x"#), expect(&["open", "x"]));
        assert_eq!(split(r#""\q""#), None);
        assert_eq!(split("''"), expect(&[""]));
    }

    #[test]
    fn compares() {
        let parsed = compare(br#"mod("a") > "5" and more"#).expect("valid");
        assert_eq!((parsed.result(), parsed.target()), (CompareResult::Greater, CompareTarget::Mod));
        assert_eq!((parsed.key, parsed.target_union), ("a".into(), Some(TargetUnion::ModRevision(5))));
        let parsed = compare(br#"val("a(b") != "q\x41\xff""#).expect("valid");
        assert_eq!(parsed.target_union, Some(TargetUnion::Value(b"qA\xff"[..].into())));
        assert_eq!(
            compare(br#"lease("a") = "ff""#).expect("valid").target_union,
            Some(TargetUnion::Lease(255))
        );
    }

    #[test]
    fn wrong_compares_are_named_as_etcdctl_names_them() {
        let fault = |line: &str| compare(line.as_bytes()).expect_err("is wrong");
        assert_eq!(fault("foo"), "malformed comparison: foo");
        assert_eq!(fault("mod(a) = \"1\""), "malformed comparison: mod(a) = \"1\"; got mod(\"\")  \"\"");
        assert_eq!(fault("mod(\"a\") = 1"), "malformed comparison: mod(\"a\") = 1; got mod(\"a\") = \"\"");
        assert_eq!(
            fault("foo(\"a\") = \"1\""),
            "malformed comparison: foo(\"a\") = \"1\" (unknown target foo)"
        );
        assert_eq!(fault("m(\"a\") ~ \"1\""), "malformed comparison: m(\"a\") ~ \"1\" (unknown operator ~)");
        assert_eq!(fault("mod(\"a\") = \"x\""), "invalid txn compare request: mod(\"a\") = \"x\"");
    }
}
