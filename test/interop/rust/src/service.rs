//! The test service as its proto describes it.

use crate::pb::{test::*, test_ttrpc};
use async_trait::async_trait;
use protobuf::{EnumOrUnknown, Message};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use ttrpc::r#async::{
    Server, ServerStream, ServerStreamReceiver, ServerStreamSender, TtrpcContext,
};
use ttrpc::{Error, Result};

const DETAILS_MAX: u32 = 16;
const COUNT_MAX: u32 = 100_000_000;

struct TestService;

fn echo(ctx: &TtrpcContext, request: EchoRequest) -> EchoResponse {
    let mut response = EchoResponse::new();
    response.payload = request.payload;
    // The crate keeps received keys as they came; a caller may ask in any case.
    let key = request.metadata_key.to_lowercase();
    if !key.is_empty() {
        response.metadata_values = ctx.metadata.get(&key).cloned().unwrap_or_default();
    }
    response.has_deadline = ctx.timeout_nano != 0;
    response
}

fn fail(request: &FailRequest, details: u32) -> Result<()> {
    if request.code == 0 {
        return Ok(());
    }
    let mut status = ttrpc::proto::Status::new();
    status.code = EnumOrUnknown::from_i32(request.code);
    status.message = request.message.clone();
    for _ in 0..details.min(DETAILS_MAX) {
        let mut detail = ttrpc::proto::Any::new();
        detail.type_url = "type.googleapis.com/covey.test.v1.FailRequest".to_string();
        detail.value = request
            .write_to_bytes()
            .map_err(|e| Error::Others(e.to_string()))?;
        status.details.push(detail);
    }
    Err(Error::RpcStatus(status))
}

#[async_trait]
impl test_ttrpc::TestService for TestService {
    async fn echo(&self, ctx: &TtrpcContext, request: EchoRequest) -> Result<EchoResponse> {
        if request.delay_millis > 0 {
            tokio::time::sleep(Duration::from_millis(request.delay_millis.into())).await;
        }
        Ok(echo(ctx, request))
    }

    async fn count(
        &self,
        _: &TtrpcContext,
        request: CountRequest,
        stream: ServerStreamSender<CountResponse>,
    ) -> Result<()> {
        let mut message = CountResponse::new();
        message.payload = vec![0; request.bytes as usize];
        for index in 0..request.count.min(COUNT_MAX) {
            message.index = index;
            stream.send(&message).await?;
        }
        Ok(())
    }

    async fn sum(
        &self,
        _: &TtrpcContext,
        mut stream: ServerStreamReceiver<SumRequest>,
    ) -> Result<SumResponse> {
        let mut response = SumResponse::new();
        while let Some(request) = stream.recv().await? {
            response.sum = response.sum.wrapping_add(request.value);
            response.count += 1;
        }
        Ok(response)
    }

    async fn chat(
        &self,
        ctx: &TtrpcContext,
        mut stream: ServerStream<EchoResponse, EchoRequest>,
    ) -> Result<()> {
        while let Some(request) = stream.recv().await? {
            stream.send(&echo(ctx, request)).await?;
        }
        Ok(())
    }

    async fn fail(&self, _: &TtrpcContext, request: FailRequest) -> Result<EchoResponse> {
        fail(&request, request.after)?;
        Ok(EchoResponse::new())
    }

    async fn fail_stream(
        &self,
        _: &TtrpcContext,
        request: FailRequest,
        stream: ServerStreamSender<EchoResponse>,
    ) -> Result<()> {
        let mut message = EchoResponse::new();
        for index in 0..request.after.min(COUNT_MAX) {
            message.payload = vec![index as u8];
            stream.send(&message).await?;
        }
        fail(&request, 0)
    }

    async fn nothing(&self, _: &TtrpcContext, _: NothingRequest) -> Result<NothingResponse> {
        Ok(NothingResponse::new())
    }
}

/// Serves until SIGTERM, SIGINT, an hour is over, or with `stdin` until standard input ends.
pub async fn serve(target: &str, stdin: bool) -> std::result::Result<(), String> {
    let service = test_ttrpc::create_test_service(Arc::new(TestService));
    let mut server = Server::new()
        .bind(&crate::address(target))
        .map_err(|e| e.to_string())?
        .register_service(service);
    server.start().await.map_err(|e| e.to_string())?;
    println!("ready {target}");
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|e| e.to_string())?;
    let ended = async {
        if !stdin {
            std::future::pending::<()>().await;
        }
        let mut rest = Vec::new();
        let _ = tokio::io::stdin().read_to_end(&mut rest).await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = ended => {}
        _ = tokio::time::sleep(Duration::from_secs(3600)) => {}
    }
    // Its shutdown waits for handlers; what is still open may just end with the process.
    std::process::exit(0);
}
