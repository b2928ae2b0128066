//! A question of a process that has no identity yet: one that wants to join asks who the members are.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use windlass_records::peer::{Hello, Purpose};
use windlass_tls::Tls;
use windlass_types::{ClusterId, MemberId};

use crate::assemble::Assembler;
use crate::dial;
use crate::handshake::{Broken, HELLO_BYTES_MAX, VERSION, VERSION_MIN, greet};
use crate::url::Url;

/// No URL gave an answer; what each of them said.
#[derive(Debug)]
pub struct InquireError {
    attempts: Vec<(String, String)>,
}

impl fmt::Display for InquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts.is_empty() {
            return f.write_str("nobody to ask: no peer URLs are given");
        }
        for (place, (url, why)) in self.attempts.iter().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(f, "{separator}{url}: {why}")?;
        }
        Ok(())
    }
}

impl std::error::Error for InquireError {}

/// Asks the members at `urls` in turn, each for at most `time_max`, until one of them answers. `tls` is for https.
///
/// # Errors
/// If none does.
pub async fn inquire(
    urls: &[String],
    question: Bytes,
    server_version: &str,
    tls: Option<&Tls>,
    time_max: Duration,
) -> Result<Bytes, InquireError> {
    let mut attempts = Vec::new();
    for text in urls {
        let why = match text.parse::<Url>() {
            Ok(url) => match timeout(time_max, ask(&url, question.clone(), server_version, tls)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(broken)) => broken.to_string(),
                Err(_) => "no answer in time".to_owned(),
            },
            Err(bad) => bad.to_string(),
        };
        attempts.push((text.clone(), why));
    }
    Err(InquireError { attempts })
}

async fn ask(url: &Url, question: Bytes, server_version: &str, tls: Option<&Tls>) -> Result<Bytes, Broken> {
    let hello = Hello {
        version: VERSION,
        version_min: VERSION_MIN,
        purpose: Purpose::Inquiry,
        cluster: ClusterId::ZERO,
        from: MemberId::ZERO,
        to: MemberId::ZERO,
        incarnation: 0,
        server_version: server_version.to_owned(),
        unpublished: false,
    };
    let mut stream = dial::connect(url, tls).await?;
    let mut assembler = Assembler::new(HELLO_BYTES_MAX);
    let (_, answer) = greet(&mut stream, &mut assembler, &hello, Some(question)).await?;
    Ok(answer)
}
