//! A service that answers `Put` with nothing and `Echo` with the request, to measure this crate alone:
//!
//! ```text
//! cargo run --release -p windlass-rpc --example echo -- 127.0.0.1:2379
//! h2load -n 400000 -c 100 -m 10 -d BODY -H 'content-type: application/grpc' -H 'te: trailers' \
//!     http://127.0.0.1:2379/etcdserverpb.KV/Put
//! ```
//!
//! On SIGINT it shuts down gracefully and prints what it counted.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use windlass_rpc::{
    Code, Event, HttpHandler, Kind, Limits, Net, Request, RequestBody, Response, ResponseBody, Route, Service,
};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUTES: &[Route] = &[
    Route { path: "/etcdserverpb.KV/Put", kind: Kind::Unary },
    Route { path: "/test.Echo/Unary", kind: Kind::Unary },
    Route { path: "/test.Echo/Bidi", kind: Kind::BidiStream },
    Route { path: "/test.Echo/Many", kind: Kind::ServerStream },
];

/// Messages that a call of `Many` is answered with.
const MANY: usize = 100;

struct Echo {
    net: Net,
    turns: u64,
    rows: u64,
}

impl Service for Echo {
    fn event(&mut self, event: Event<'_>) {
        self.rows += 1;
        match event {
            Event::Unary { call, route: 0, .. } => self.net.reply(call, &[]),
            Event::Unary { call, message, .. } => self.net.reply(call, message),
            Event::StreamMessage { call, message, route: 3 } => {
                for _ in 0..MANY {
                    self.net.stream_send(call, message);
                }
                self.net.stream_end(call, Code::Ok, "");
            }
            Event::StreamMessage { call, message, .. } => {
                self.net.stream_send(call, message);
            }
            Event::StreamHalfClosed { call } => self.net.stream_end(call, Code::Ok, ""),
            Event::TurnEnd => self.turns += 1,
            Event::StreamOpen { .. } | Event::Cancelled { .. } | Event::Writable { .. } => {}
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let rows = self.rows as f64 / self.turns.max(1) as f64;
        eprintln!("{} turns of {rows:.1} rows", self.turns);
    }
}

struct Hello;

impl HttpHandler for Hello {
    fn call(&self, request: Request<RequestBody>) -> Pin<Box<dyn Future<Output = Response<ResponseBody>>>> {
        Box::pin(async {
            let (head, body) = request.into_parts();
            let len = body.whole().await.map_or(0, |body| body.len());
            Response::new(format!("{} {} with {len} bytes\n", head.method, head.uri).into())
        })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2379".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let net = Net::new(ROUTES, Limits { message_bytes_max: 8 << 20, ..Limits::default() });
        net.start(Box::new(Echo { net: net.clone(), turns: 0, rows: 0 }), Some(Rc::new(Hello)));
        for listener in windlass_rpc::bind(&address, 1)? {
            net.listen(listener)?;
        }
        tokio::signal::ctrl_c().await?;
        net.shutdown(Duration::from_secs(5)).await;
        Ok(())
    })
}
