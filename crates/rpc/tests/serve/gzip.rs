//! Requests that the client compressed.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use windlass_rpc::{Code, Limits};

use super::{Client, echo, failed, framed, ok, with_net};

const GZIP: &[(&str, &str)] = &[("grpc-encoding", "gzip")];

fn compressed(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(message).expect("a vector takes any bytes");
    let mut frame = framed(&encoder.finish().expect("a vector takes any bytes"));
    frame[0] = 1;
    frame
}

#[test]
fn compressed_messages_are_inflated() {
    with_net(Limits::default(), echo, |_, address| async move {
        let mut client = Client::connect(address).await;
        let message = vec![7; 1 << 20];
        for frame in [compressed(&message), framed(&message)] {
            let stream = client.open("/t.T/Unary", GZIP);
            client.session.push(stream, &frame);
            client.end(stream);
            assert!(client.finish(stream).await == ok(&[&message]));
        }
        let stream = client.open("/t.T/Bidi", GZIP);
        client.session.push(stream, &[compressed(b"a"), framed(b"b"), compressed(b"")].concat());
        client.session.push(stream, &compressed(b"c"));
        client.end(stream);
        assert_eq!(client.finish(stream).await, ok(&[b"a", b"b", b"", b"c"]));
    });
}

#[test]
fn what_cannot_be_inflated_is_refused() {
    let limits = Limits { message_bytes_max: 1000, ..Limits::default() };
    with_net(limits, echo, |_, address| async move {
        let mut client = Client::connect(address).await;
        let mut damaged = compressed(b"abc");
        damaged[8] ^= 0xff;
        for (path, frame, code, text) in [
            (
                "/t.T/Unary",
                compressed(&[0; 100_000]),
                Code::ResourceExhausted,
                "grpc: received message after decompression larger than max (1001 vs. 1000)",
            ),
            (
                "/t.T/Bidi",
                compressed(&[0; 100_000]),
                Code::ResourceExhausted,
                "grpc: received message after decompression larger than max (1001 vs. 1000)",
            ),
            (
                "/t.T/Unary",
                damaged,
                Code::Internal,
                "grpc: failed to decompress the received message: invalid gzip header",
            ),
        ] {
            let stream = client.open(path, GZIP);
            client.session.push(stream, &frame);
            client.end(stream);
            assert_eq!(client.finish(stream).await, failed("200", code, text));
        }
        let stream = client.open("/t.T/Unary", &[]);
        client.session.push(stream, &compressed(b"abc"));
        client.end(stream);
        let text = "grpc: compressed flag set with identity or empty encoding";
        assert_eq!(client.finish(stream).await, failed("200", Code::Internal, text));
    });
}
