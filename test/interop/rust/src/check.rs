//! A client that runs named cases against a server, and single calls for the recorder.

use crate::pb::{test::*, test_ttrpc::TestServiceClient};
use std::future::Future;
use std::time::{Duration, Instant};
use ttrpc::context::{self, Context};
use ttrpc::r#async::{Client, ClientStream};
use ttrpc::Error;

type Outcome = std::result::Result<String, String>;

const CASE_LIMIT: Duration = Duration::from_secs(30);

struct Peer {
    raw: Client,
    service: TestServiceClient,
}

async fn connect(target: &str) -> std::result::Result<Peer, String> {
    let raw = Client::connect(&crate::address(target))
        .await
        .map_err(|e| e.to_string())?;
    Ok(Peer {
        service: TestServiceClient::new(raw.clone()),
        raw,
    })
}

fn none() -> Context {
    context::with_timeout(0)
}

fn text(error: Error) -> String {
    format!("{error:?}")
}

fn expect<T: PartialEq + std::fmt::Debug>(got: T, want: T) -> Outcome {
    if got == want {
        return Ok(String::new());
    }
    Err(format!("wanted {want:?}, got {got:?}"))
}

fn expect_code<T>(
    result: ttrpc::Result<T>,
    want: i32,
) -> std::result::Result<ttrpc::proto::Status, String> {
    match result {
        Ok(_) => Err(format!("wanted code {want}, the call succeeded")),
        Err(Error::RpcStatus(status)) if status.code.value() == want => Ok(status),
        Err(error) => Err(format!("wanted code {want}, got {error:?}")),
    }
}

fn echo_request(payload: &[u8]) -> EchoRequest {
    let mut request = EchoRequest::new();
    request.payload = payload.to_vec();
    request
}

async fn echo(peer: &Peer, payload: &[u8]) -> Outcome {
    let answer = peer.service.echo(none(), &echo_request(payload)).await;
    expect(answer.map_err(text)?.payload, payload.to_vec())
}

async fn count(peer: &Peer, count: u32, bytes: u32) -> Outcome {
    let mut request = CountRequest::new();
    request.count = count;
    request.bytes = bytes;
    let mut stream = peer.service.count(none(), &request).await.map_err(text)?;
    for index in 0..count {
        let message = stream.recv().await.map_err(text)?;
        let message = message.ok_or(format!("the stream ended before message {index}"))?;
        if message.index != index || message.payload.len() != bytes as usize {
            return Err(format!(
                "message {index} is {} of {} bytes",
                message.index,
                message.payload.len()
            ));
        }
    }
    expect(stream.recv().await.map_err(text)?.is_none(), true)
}

async fn sum(peer: &Peer, count: i64) -> Outcome {
    let mut stream = peer.service.sum(none()).await.map_err(text)?;
    let mut request = SumRequest::new();
    let mut want = 0;
    for index in 0..count {
        request.value = (index - 2) * 1_000_003;
        want += request.value;
        stream.send(&request).await.map_err(text)?;
    }
    let answer = stream.close_and_recv().await.map_err(text)?;
    expect((answer.sum, i64::from(answer.count)), (want, count))
}

async fn end(stream: &mut ClientStream<EchoRequest, EchoResponse>) -> Outcome {
    match stream.recv().await {
        Err(Error::Eof) => Ok(String::new()),
        other => Err(format!("wanted the end of the stream, got {other:?}")),
    }
}

async fn ping_pong(peer: &Peer, ctx: Context, messages: &[EchoRequest]) -> Outcome {
    let mut stream = peer.service.chat(ctx).await.map_err(text)?;
    for message in messages {
        stream.send(message).await.map_err(text)?;
        let answer = stream.recv().await.map_err(text)?;
        expect(answer.payload, message.payload.clone())?;
    }
    stream.close_send().await.map_err(text)?;
    end(&mut stream).await
}

async fn half_close_first(peer: &Peer, count: usize) -> Outcome {
    let mut stream = peer.service.chat(none()).await.map_err(text)?;
    for index in 0..count {
        let message = echo_request(format!("message {index}").as_bytes());
        stream.send(&message).await.map_err(text)?;
    }
    stream.close_send().await.map_err(text)?;
    for index in 0..count {
        let answer = stream.recv().await.map_err(text)?;
        expect(answer.payload, format!("message {index}").into_bytes())?;
    }
    end(&mut stream).await
}

async fn fail_stream(peer: &Peer, code: i32, message: &str, after: u32) -> Outcome {
    let request = fail_request(code, message, after);
    let mut stream = peer
        .service
        .fail_stream(none(), &request)
        .await
        .map_err(text)?;
    for index in 0..after {
        let message = stream.recv().await.map_err(text)?;
        let message = message.ok_or(format!("the stream ended before message {index}"))?;
        expect(message.payload, vec![index as u8])?;
    }
    expect(
        expect_code(stream.recv().await, code)?.message,
        message.to_string(),
    )
}

fn fail_request(code: i32, message: &str, after: u32) -> FailRequest {
    let mut request = FailRequest::new();
    request.code = code;
    request.message = message.to_string();
    request.after = after;
    request
}

fn with_metadata(key: &str, values: &[&str], timeout: Duration) -> Context {
    let mut ctx = context::with_duration(timeout);
    let values = values.iter().map(|value| value.to_string()).collect();
    ctx.set(key.to_string(), values);
    ctx
}

async fn metadata(peer: &Peer, key: &str, values: &[&str], timeout: Duration) -> Outcome {
    let mut request = echo_request(b"hello");
    request.metadata_key = key.to_string();
    let ctx = with_metadata(key, values, timeout);
    let answer = peer.service.echo(ctx, &request).await.map_err(text)?;
    expect(answer.has_deadline, !timeout.is_zero())?;
    expect(
        answer.metadata_values,
        values.iter().map(|value| value.to_string()).collect(),
    )
}

async fn unknown(peer: &Peer, service: &str, method: &str, want: i32) -> Outcome {
    let mut request = ttrpc::Request::new();
    request.service = service.to_string();
    request.method = method.to_string();
    request.payload = b"\x0a\x05hello".to_vec();
    match peer.raw.request(request).await {
        // Rust's own server answers an unknown service with 3.
        Err(Error::RpcStatus(status)) if [want, 3].contains(&status.code.value()) => {
            Ok(format!("code {} {}", status.code.value(), status.message))
        }
        other => Err(format!("wanted code {want}, got {other:?}")),
    }
}

/// One case, by name; also what the recorder asks for, so the names of small cases are fixed.
async fn run(target: &str, name: &str) -> Outcome {
    let peer = connect(target).await?;
    let day = Duration::from_secs(86_400);
    match name {
        "unary" => echo(&peer, b"hello").await,
        "unary-empty" => peer
            .service
            .nothing(none(), &NothingRequest::new())
            .await
            .map(|_| String::new())
            .map_err(text),
        "unary-metadata-timeout" => metadata(&peer, "key", &["one", "two"], day).await,
        "unary-metadata-mixed-case" => metadata(&peer, "X-Mixed", &["Value"], Duration::ZERO).await,
        "unary-error" => {
            let result = peer
                .service
                .fail(none(), &fail_request(5, "not here", 0))
                .await;
            Ok(expect_code(result, 5)?.message)
        }
        "unary-error-details" => {
            let result = peer
                .service
                .fail(none(), &fail_request(9, "not now", 2))
                .await;
            expect(expect_code(result, 9)?.details.len(), 2)
        }
        "error-codes-1-to-16" => {
            for code in 1..=16 {
                let message = format!("message of code {code}");
                let result = peer
                    .service
                    .fail(none(), &fail_request(code, &message, 0))
                    .await;
                expect(expect_code(result, code)?.message, message)?;
            }
            Ok(String::new())
        }
        "unknown-service" => unknown(&peer, "covey.test.v1.Missing", "Echo", 12).await,
        "unknown-method" => unknown(&peer, "covey.test.v1.TestService", "Missing", 12).await,
        "deadline-expires" => {
            let mut request = echo_request(b"late");
            request.delay_millis = 3000;
            let begun = Instant::now();
            let ctx = context::with_duration(Duration::from_millis(100));
            let result = peer.service.echo(ctx, &request).await;
            if result.is_ok() || begun.elapsed() > Duration::from_secs(2) {
                return Err(format!("got {result:?} after {:?}", begun.elapsed()));
            }
            echo(&peer, b"after").await?;
            Ok(format!("{result:?}"))
        }
        "server-stream" => count(&peer, 3, 4).await,
        "server-stream-empty" => count(&peer, 0, 0).await,
        "server-stream-empty-message" => count(&peer, 1, 0).await,
        "server-stream-of-10000" => count(&peer, 10_000, 64).await,
        "reply-of-exactly-4-MiB" => count(&peer, 1, (4 << 20) - 5).await,
        "client-stream" => {
            let mut stream = peer.service.sum(none()).await.map_err(text)?;
            for value in [42, 0] {
                let mut request = SumRequest::new();
                request.value = value;
                stream.send(&request).await.map_err(text)?;
            }
            let answer = stream.close_and_recv().await.map_err(text)?;
            expect((answer.sum, answer.count), (42, 2))
        }
        "client-stream-empty" => sum(&peer, 0).await,
        "client-stream-of-10000" => sum(&peer, 10_000).await,
        "bidi" => {
            let messages = [
                echo_request(b"one"),
                echo_request(b""),
                echo_request(b"three"),
            ];
            ping_pong(&peer, none(), &messages).await
        }
        "bidi-metadata-timeout" => {
            let mut message = echo_request(b"hello");
            message.metadata_key = "key".to_string();
            let mut stream = peer
                .service
                .chat(with_metadata("key", &["one", "two"], day))
                .await
                .map_err(text)?;
            stream.send(&message).await.map_err(text)?;
            let answer = stream.recv().await.map_err(text)?;
            expect(
                (answer.metadata_values.len(), answer.has_deadline),
                (2, true),
            )?;
            stream.close_send().await.map_err(text)?;
            end(&mut stream).await
        }
        "bidi-ping-pong-1000" => ping_pong(&peer, none(), &vec![echo_request(b"ping"); 1000]).await,
        "bidi-half-close-first" => half_close_first(&peer, 50).await,
        "bidi-half-close-at-once" => half_close_first(&peer, 0).await,
        "bidi-last-message-then-close-1000" => {
            for round in 0..1000 {
                half_close_first(&peer, 1)
                    .await
                    .map_err(|e| format!("round {round}: {e}"))?;
            }
            Ok(String::new())
        }
        "stream-error" => fail_stream(&peer, 11, "past the end", 2).await,
        "stream-error-at-once" => fail_stream(&peer, 7, "not yours", 0).await,
        "stream-error-after-1000" => {
            fail_stream(&peer, 11, "past the end", 1000).await?;
            echo(&peer, b"after").await
        }
        "concurrent-1000-calls" => {
            let mut tasks = Vec::new();
            for index in 0..1000 {
                let service = peer.service.clone();
                tasks.push(tokio::spawn(async move {
                    let payload = format!("call {index}").into_bytes();
                    let answer = service
                        .echo(none(), &echo_request(&payload))
                        .await
                        .map_err(text)?;
                    expect(answer.payload, payload)
                }));
            }
            for task in tasks {
                task.await.map_err(|e| e.to_string())??;
            }
            Ok(String::new())
        }
        "payload-of-1-MiB" => echo(&peer, &vec![7; 1 << 20]).await,
        "connections-50" => {
            for _ in 0..50 {
                echo(&connect(target).await?, b"one of many").await?;
            }
            Ok(String::new())
        }
        _ => Err(format!("no case is called {name}")),
    }
}

const CASES: &[&str] = &[
    "unary",
    "unary-empty",
    "unary-metadata-timeout",
    "unary-metadata-mixed-case",
    "unary-error",
    "unary-error-details",
    "error-codes-1-to-16",
    "unknown-service",
    "unknown-method",
    "deadline-expires",
    "server-stream",
    "server-stream-empty",
    "server-stream-empty-message",
    "server-stream-of-10000",
    "reply-of-exactly-4-MiB",
    "client-stream",
    "client-stream-empty",
    "client-stream-of-10000",
    "bidi",
    "bidi-metadata-timeout",
    "bidi-ping-pong-1000",
    "bidi-half-close-first",
    "bidi-half-close-at-once",
    "bidi-last-message-then-close-1000",
    "stream-error",
    "stream-error-at-once",
    "stream-error-after-1000",
    "concurrent-1000-calls",
    "payload-of-1-MiB",
    "connections-50",
];

async fn bounded(run: impl Future<Output = Outcome>) -> Outcome {
    tokio::time::timeout(CASE_LIMIT, run)
        .await
        .unwrap_or_else(|_| Err(format!("no end within {CASE_LIMIT:?}")))
}

pub async fn call(target: &str, name: &str) -> std::result::Result<(), String> {
    bounded(run(target, name)).await.map(|_| ())
}

pub async fn check(target: &str, only: &str) -> std::result::Result<(), String> {
    let mut failed = 0;
    for name in CASES.iter().filter(|name| name.contains(only)) {
        let begun = Instant::now();
        let outcome = bounded(run(target, name)).await;
        if outcome.is_err() {
            failed += 1;
        }
        let millis = begun.elapsed().as_micros() as f64 / 1000.0;
        let ok = outcome.is_ok();
        let detail = json(&outcome.unwrap_or_else(|e| e));
        println!("{{\"name\":\"{name}\",\"ok\":{ok},\"detail\":{detail},\"millis\":{millis}}}");
    }
    if failed > 0 {
        return Err(format!("{failed} cases failed"));
    }
    Ok(())
}

fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for each in text.chars() {
        match each {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if (control as u32) < 0x20 => {
                out.push_str(&format!("\\u{:04x}", control as u32))
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
