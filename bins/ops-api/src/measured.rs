//! Counts requests by route template, and what is turned away at the door.

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use ops_runtime::metrics::{Metric, catalog as m};
use tokio::time::Instant;
use tracing::Instrument as _;

/// One more, for as long as it lives.
struct OneMore(Metric);

impl OneMore {
    fn of(gauge: Metric) -> Self {
        gauge.shift(&[], 1);
        Self(gauge)
    }
}

impl Drop for OneMore {
    fn drop(&mut self) {
        self.0.shift(&[], -1);
    }
}

/// Counts one request. It stands outside of everything that answers, so that refusals are counted too.
pub(crate) async fn count(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let in_flight = OneMore::of(m::HTTP_IN_FLIGHT);
    let route = route(&request);
    let method = method(request.method());
    let header = |name: &str| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
    let span = ops_runtime::traces::request_span(method, &route, header);
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    drop(in_flight);
    m::HTTP_REQUESTS.add(&[&route, method, class(response.status())], 1);
    m::HTTP_REQUEST_DURATION.observe(&[&route, method], began.elapsed().as_secs_f64());
    if let Some(reason) = rejection(response.status()) {
        m::HTTP_REJECTED.add(&[reason], 1);
    }
    response
}

/// The template, the same with and without the gateway's prefix. Paths that no route has are one.
fn route(request: &Request) -> String {
    let Some(path) = request.extensions().get::<MatchedPath>() else {
        return "unknown".to_owned();
    };
    let path = path.as_str();
    let stripped = path.strip_prefix("/ops").filter(|rest| rest.starts_with('/'));
    stripped.unwrap_or(path).to_owned()
}

/// A caller may make methods up.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

fn rejection(status: StatusCode) -> Option<&'static str> {
    Some(match status {
        StatusCode::UNAUTHORIZED => "unauthenticated",
        StatusCode::FORBIDDEN => "role",
        StatusCode::PAYLOAD_TOO_LARGE => "body",
        StatusCode::TOO_MANY_REQUESTS => "limit",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "header",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn labels_are_bounded_whatever_callers_send() {
        assert_eq!(method(&Method::from_bytes(b"BREW").unwrap()), "other");
        assert_eq!(method(&Method::DELETE), "DELETE");
        assert_eq!(route(&Request::new(Body::empty())), "unknown");
        for (status, expected) in [
            (101, "1xx"),
            (204, "2xx"),
            (308, "3xx"),
            (404, "4xx"),
            (503, "5xx"),
            (999, "5xx"),
        ] {
            assert_eq!(class(StatusCode::from_u16(status).unwrap()), expected);
        }
    }
}
