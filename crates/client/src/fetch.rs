//! One HTTP/1.1 request on a connection of its own, for what servers tell beside the API, such as `/metrics`.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use crate::security::Dialer;
use crate::{Endpoint, Error, Security};

/// The largest answer taken, in bytes; what is beyond is cut off.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A request for [`ask`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask<'a> {
    /// Such as `PUT`.
    pub method: &'a str,
    /// With its query.
    pub path: &'a str,
    /// Of the user as whom to ask; empty for nobody.
    pub token: &'a str,
    /// Empty for none.
    pub body: &'a str,
}

/// The body of what `GET path` is answered with by the server at `endpoint`. The TLS of `security` must not offer HTTP/2.
///
/// # Errors
/// There is no answer in time, or it is not 200.
pub fn fetch(endpoint: &str, security: &Security, path: &str, timeout: Duration) -> Result<String, Error> {
    match ask(endpoint, security, Ask { method: "GET", path, ..Ask::default() }, timeout)? {
        (200, body) => Ok(body),
        (status, _) => Err(Error::Malformed(format!("{path} is answered with status {status}"))),
    }
}

/// Status and body of the answer to a request, by the server at `endpoint`. As for [`fetch`]; the user of `security` is not
/// logged in.
///
/// # Errors
/// There is no answer in time, or it is none of HTTP.
pub fn ask(
    endpoint: &str,
    security: &Security,
    request: Ask<'_>,
    timeout: Duration,
) -> Result<(u16, String), Error> {
    let endpoint = Endpoint::parse(endpoint)?;
    let dialer = Dialer::new(security, std::slice::from_ref(&endpoint))?;
    let lost = |error: std::io::Error| Error::Disconnected {
        endpoint: endpoint.authority().to_owned(),
        why: why(&error, timeout),
    };
    let mut socket = dialer.socket(&endpoint, timeout).map_err(lost)?;
    socket.set_read_timeout(timeout).map_err(lost)?;
    let text = request.to_text(endpoint.authority());
    socket.write_all(text.as_bytes()).and_then(|()| socket.flush()).map_err(lost)?;
    let mut answer = Vec::new();
    match socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer) {
        // Who closes the connection without a word of TLS may have said everything: the head tells.
        Err(error) if answer.is_empty() => return Err(lost(error)),
        _ => {}
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.strip_prefix("HTTP/").and_then(|head| head.split_whitespace().nth(1)?.parse().ok());
    let path = request.path;
    let status = status.ok_or_else(|| Error::Malformed(format!("{path} is not answered in HTTP")))?;
    Ok((status, body.to_owned()))
}

/// What became of a connection. That a socket waited in vain the system calls an unavailable resource.
fn why(error: &std::io::Error, timeout: Duration) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("no answer within {timeout:?}"),
        _ => error.to_string(),
    }
}

impl Ask<'_> {
    fn to_text(self, host: &str) -> String {
        let Self { method, path, token, body } = self;
        let mut text = format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n");
        if !token.is_empty() {
            text += &format!("Authorization: {token}\r\n");
        }
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text + "\r\n" + body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_a_connection_and_says_nothing_is_said_to_say_nothing() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("is bound").to_string();
        let silent = fetch(&address, &Security::default(), "/", Duration::from_millis(20));
        let error = silent.expect_err("nobody answers").to_string();
        assert!(error.ends_with("no answer within 20ms"), "{error}");
    }

    #[test]
    fn a_request_has_what_it_needs_and_no_more() {
        let get = Ask { method: "GET", path: "/a?b=c", ..Ask::default() };
        assert_eq!(get.to_text("h:1"), "GET /a?b=c HTTP/1.0\r\nHost: h:1\r\nConnection: close\r\n\r\n");
        let put = Ask { method: "PUT", path: "/", token: "t", body: "x = 1" };
        assert!(put.to_text("h").ends_with("\r\nAuthorization: t\r\nContent-Length: 5\r\n\r\nx = 1"));
    }
}
