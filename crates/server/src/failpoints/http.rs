//! Fail points over HTTP, as gofail serves them: `GET /` lists those that are set, `GET /name` and `GET /name/count` show one,
//! `PUT /name` sets it to the body, `DELETE /name` ends it. One connection at a time, one request each: this is for tests.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::{Error, delete, names, set, status};

/// Longest body that is read, in bytes; terms are far shorter.
const BODY_BYTES_MAX: u64 = 64 << 10;

/// How long a client has for its request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Serves them on a thread of its own, for the life of the process.
pub fn serve(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    std::thread::Builder::new().name("failpoints".to_owned()).spawn(move || {
        for connection in listener.incoming().flatten() {
            // A client that does not speak HTTP is no matter of this process.
            let _ = answer(&connection);
        }
    })?;
    Ok(())
}

struct Request {
    method: String,
    path: String,
    body: String,
}

fn answer(connection: &TcpStream) -> io::Result<()> {
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    let request = read(&mut BufReader::new(connection))?;
    let key = request.path.trim_start_matches('/');
    let (status, body) = match request.method.as_str() {
        "GET" => get(key).map_or_else(|error| (404, format!("failed to GET: {error}\n")), |body| (200, body)),
        // Set once the answer is out: it may be the end of this process.
        "PUT" => match super::terms::Terms::parse(&request.body) {
            Ok(_) if super::find(key).is_ok() => {
                respond(connection, 204, "")?;
                let _ = set(key, &request.body);
                return Ok(());
            }
            _ => (400, format!("failed to set failpoint {key}\n")),
        },
        "DELETE" => match delete(key) {
            Ok(()) => (204, String::new()),
            Err(error) => (400, format!("failed to delete failpoint {error}\n")),
        },
        _ => (405, "Method not allowed\n".to_owned()),
    };
    respond(connection, status, &body)
}

fn get(key: &str) -> Result<String, Error> {
    if key.is_empty() {
        let line =
            |name| Some(format!("{name}={}\n", status(name).map(|(text, _)| text).unwrap_or_default()));
        return Ok(names().filter_map(line).collect());
    }
    match key.strip_suffix("/count") {
        Some(name) => Ok(format!("{}\n", status(name)?.1)),
        None => Ok(format!("{}\n", status(key)?.0)),
    }
}

fn read(from: &mut impl BufRead) -> io::Result<Request> {
    let odd = || io::Error::from(io::ErrorKind::InvalidData);
    let mut head = from.by_ref().take(BODY_BYTES_MAX);
    let mut line = String::new();
    head.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = words.next().zip(words.next()).ok_or_else(odd)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        head.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(|_| odd())?;
        }
    }
    let mut body = String::new();
    from.take(BODY_BYTES_MAX.min(length)).read_to_string(&mut body)?;
    Ok(Request { method, path, body })
}

fn respond(mut connection: &TcpStream, status: u16, body: &str) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        404 => "Not Found",
        _ => "Method Not Allowed",
    };
    let length = if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    write!(connection, "HTTP/1.1 {status} {reason}\r\n{length}Connection: close\r\n\r\n{body}")
}
