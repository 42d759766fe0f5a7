//! The service of one connection: tells each request who its peer is, and notes when its answer has ended.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper::{Request, Response};

use super::phase::Phase;

/// Where a request came from: the other end of its connection. An extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

#[derive(Debug)]
pub(super) struct Connection<S> {
    pub(super) service: S,
    pub(super) peer: Peer,
    pub(super) phase: Arc<Phase>,
}

impl<S, B> Service<Request<Incoming>> for Connection<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<Answer<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.phase.answering();
        request.extensions_mut().insert(self.peer);
        let answer = self.service.call(request);
        let phase = Arc::clone(&self.phase);
        Box::pin(async move { Ok(answer.await?.map(|body| Answer { body, phase })) })
    }
}

/// A body that says when it is over: read to its end, or dropped.
#[derive(Debug)]
pub(super) struct Answer<B> {
    body: B,
    phase: Arc<Phase>,
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Answer<B> {
    fn drop(&mut self) {
        self.phase.answered();
    }
}
