//! One HTTP/1.1 request on a connection of its own, for what servers tell beside the API, such as `/metrics`.

use std::io::{Read, Write};
use std::time::Duration;

use crate::security::Dialer;
use crate::{Endpoint, Error, Security};

/// The largest answer taken, in bytes; what is beyond is cut off.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// The body of what `GET path` is answered with by the server at `endpoint`. The TLS of `security` must not offer HTTP/2.
///
/// # Errors
/// There is no answer in time, or it is not 200.
pub fn fetch(endpoint: &str, security: &Security, path: &str, timeout: Duration) -> Result<String, Error> {
    let endpoint = Endpoint::parse(endpoint)?;
    let dialer = Dialer::new(security, std::slice::from_ref(&endpoint))?;
    let lost = |error: std::io::Error| Error::Disconnected {
        endpoint: endpoint.authority().to_owned(),
        why: error.to_string(),
    };
    let mut socket = dialer.socket(&endpoint, timeout).map_err(lost)?;
    socket.set_read_timeout(timeout).map_err(lost)?;
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: {}\r\nConnection: close\r\n\r\n", endpoint.authority());
    socket.write_all(request.as_bytes()).and_then(|()| socket.flush()).map_err(lost)?;
    let mut answer = Vec::new();
    match socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer) {
        // Who closes the connection without a word of TLS may have said everything: the head tells.
        Err(error) if answer.is_empty() => return Err(lost(error)),
        _ => {}
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        return Err(Error::Malformed(format!("{path} is answered with status {status:?}")));
    }
    Ok(body.to_owned())
}
