//! Section 8: what a request must be.

use crate::Expect::{Answered, Stream};
use crate::wire::*;
use crate::{PROTOCOL_ERROR, case, check};

const METHOD: (&str, &str) = (":method", "POST");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/");

#[test]
fn fields() {
    let malformed =
        |section, name, field| case(section, name, [request_with(&[field])], Stream(1, PROTOCOL_ERROR));
    check(vec![
        case("8.2", "a field", [request_with(&[("a", "b")])], Answered(vec![1])),
        malformed("8.2.1", "a name in upper case", ("X-Test", "ok")),
        malformed("8.2.1", "a name with a space", ("x test", "ok")),
        malformed("8.2.1", "a name with a colon within", ("x:y", "ok")),
        malformed("8.2.1", "an empty name", ("", "ok")),
        malformed("8.2.1", "a value with a line feed", ("x", "a\nb")),
        malformed("8.2.1", "a value with a zero", ("x", "a\0b")),
        malformed("8.2.1", "a value with a space before", ("x", " a")),
        malformed("8.2.2", "`connection`", ("connection", "keep-alive")),
        malformed("8.2.2", "`transfer-encoding`", ("transfer-encoding", "chunked")),
        malformed("8.2.2", "`te` other than `trailers`", ("te", "trailers, deflate")),
        case("8.2.2", "`te: trailers`", [request_with(&[("te", "trailers")])], Answered(vec![1])),
        case(
            "8.2.3",
            "`cookie` in two fields",
            [request_with(&[("cookie", "a=b"), ("cookie", "c=d")])],
            Answered(vec![1]),
        ),
    ]);
}

#[test]
fn pseudo_fields() {
    let malformed = |section, name, fields: &[(&str, &str)]| {
        case(section, name, [request_of(fields)], Stream(1, PROTOCOL_ERROR))
    };
    check(vec![
        malformed("8.3", "one that nobody knows", &[METHOD, SCHEME, PATH, (":test", "ok")]),
        malformed("8.3", "one of a response", &[METHOD, SCHEME, PATH, (":status", "200")]),
        malformed("8.3", "after a field", &[METHOD, SCHEME, ("x", "y"), PATH]),
        malformed("8.3.1", "an empty path", &[METHOD, SCHEME, (":path", "")]),
        malformed("8.3.1", "no method", &[SCHEME, PATH]),
        malformed("8.3.1", "no scheme", &[METHOD, PATH]),
        malformed("8.3.1", "no path", &[METHOD, SCHEME]),
        malformed("8.3.1", "two methods", &[METHOD, METHOD, SCHEME, PATH]),
        malformed("8.3.1", "two schemes", &[METHOD, SCHEME, SCHEME, PATH]),
        malformed("8.3.1", "two paths", &[METHOD, SCHEME, PATH, PATH]),
        malformed("8.3.1", "no field at all", &[]),
        // Permitted; a server that is no proxy need not serve it.
        malformed("8.5", "CONNECT", &[(":method", "CONNECT"), (":authority", "a:1")]),
    ]);
}

#[test]
fn bodies_and_trailers() {
    let trailers = |flags, fields: &[(&str, &str)]| frame(HEADERS, flags, 1, &literals(fields));
    let of_length =
        |text| frame(HEADERS, END_HEADERS, 1, &[REQUEST, &literals(&[("content-length", text)])].concat());
    let body = |bytes: &[u8], flags| frame(DATA, flags, 1, bytes);
    let malformed = Stream(1, PROTOCOL_ERROR);
    check(vec![
        case("8.1", "trailers", [open(1), body(b"x", 0), trailers(WHOLE, &[("a", "b")])], Answered(vec![1])),
        case(
            "8.1",
            "trailers that do not end the stream",
            [open(1), body(b"x", 0), trailers(END_HEADERS, &[("a", "b")])],
            malformed.clone(),
        ),
        case(
            "8.1",
            "a pseudo field in the trailers",
            [open(1), trailers(WHOLE, &[(":method", "POST")])],
            malformed.clone(),
        ),
        case(
            "8.1.1",
            "content-length as the body's",
            [of_length("3"), body(b"abc", END_STREAM)],
            Answered(vec![1]),
        ),
        case(
            "8.1.1",
            "content-length as the body's in parts",
            [of_length("3"), body(b"a", 0), body(b"bc", END_STREAM)],
            Answered(vec![1]),
        ),
        case(
            "8.1.1",
            "content-length above the body's",
            [of_length("4"), body(b"abc", END_STREAM)],
            malformed.clone(),
        ),
        case(
            "8.1.1",
            "content-length below the body's",
            [of_length("1"), body(b"a", 0), body(b"bc", END_STREAM)],
            malformed.clone(),
        ),
        case(
            "8.1.1",
            "content-length without a body",
            [request_with(&[("content-length", "1")])],
            malformed.clone(),
        ),
        case(
            "8.1.1",
            "content-length that is no number",
            [of_length("-1"), body(b"a", END_STREAM)],
            malformed.clone(),
        ),
        case(
            "8.1.1",
            "two content-lengths",
            [request_with(&[("content-length", "0"), ("content-length", "0")])],
            malformed,
        ),
    ]);
}
