//! Fail points of a member that runs, over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;

/// One request; the status and the body.
pub fn request(address: &str, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    let length = body.len();
    let head =
        format!("{method} /{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    Ok((status.unwrap_or_else(|| panic!("odd answer: {answer}")), body.to_owned()))
}
