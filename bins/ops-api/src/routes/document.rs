//! `GET /api/openapi.json`, made from the code, and `GET /api/docs/`, which shows it; its assets are in the binary.

use std::sync::{Arc, LazyLock};

use axum::Extension;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::link::Link;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, Info, OpenApi, Ref, RefOr, Response as Answer, Server, Type};
use utoipa::{PartialSchema as _, ToSchema as _};
use utoipa_swagger_ui::{Config, Url};

use super::guarded::{SCHEMES, header, operations};
use crate::error::{ApiError, ErrorBody};

/// What the document says beside the routes themselves.
pub(crate) fn complete(mut document: OpenApi) -> OpenApi {
    document.info = Info::new("Lab Ops", env!("CARGO_PKG_VERSION"));
    document.info.description = Some(
        "Wakes, prepares, releases and watches the hosts of a lab gateway. Every path is there with the prefix /ops as \
         well. Errors are {error, code, requestId}, where code is stable."
            .to_owned(),
    );
    document.servers = Some(vec![Server::new("/"), Server::new("/ops")]);
    let [token, bearer, cookie] = SCHEMES;
    let components = document.components.get_or_insert_with(Components::new);
    components.add_security_scheme(
        token,
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Ops-Token"))),
    );
    components.add_security_scheme(bearer, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    components.add_security_scheme(
        cookie,
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("ops_token"))),
    );
    components
        .schemas
        .insert(ErrorBody::name().into_owned(), ErrorBody::schema());
    let id = header(
        Type::String,
        "The id of the call: the caller's own `X-Request-ID`, if it can stand in a log line, otherwise a fresh one.",
    );
    components.headers.insert(REQUEST_ID.to_owned(), RefOr::T(id));
    for (operation, _) in document.paths.paths.values_mut().flat_map(operations) {
        for (status, response) in &mut operation.responses.responses {
            if let RefOr::T(response) = response {
                complete_answer(status, response);
            }
        }
    }
    document
}

const REQUEST_ID: &str = "X-Request-ID";

/// What all answers have in common, and those to callers who do not wait.
fn complete_answer(status: &str, response: &mut Answer) {
    let headers = &mut response.headers;
    let id = Ref::new(format!("#/components/headers/{REQUEST_ID}"));
    headers.insert(REQUEST_ID.to_owned(), RefOr::Ref(id));
    if status != "202" {
        return;
    }
    for (name, about) in [
        ("Location", "Where to look for what comes of it; as `location`."),
        ("Preference-Applied", "`respond-async`"),
        (
            "Idempotent-Replayed",
            "`true` when the call was asked for before, under the same key.",
        ),
    ] {
        headers.insert(name.to_owned(), RefOr::T(header(Type::String, about)));
    }
    let link = Link::builder().operation_id("show_operation");
    let link = link
        .parameter("id", "$response.body#/id")
        .description("What comes of it");
    response
        .links
        .insert("operation".to_owned(), RefOr::T(link.build()));
}

/// The document as it is sent; made once.
#[derive(Debug, Clone)]
pub(crate) struct Rendered(Bytes);

impl Rendered {
    pub(crate) fn new(document: &OpenApi) -> Self {
        // A document is maps, lists and text: nothing of it can fail to become JSON.
        Self(serde_json::to_vec(document).unwrap_or_default().into())
    }
}

/// This description: OpenAPI 3.1, made from the code.
#[utoipa::path(
    get,
    path = "/api/openapi.json", operation_id = "show_description",
    tag = "service",
    responses((status = 200, description = "The description of all routes.", body = serde_json::Value))
)]
pub(crate) async fn show(Extension(document): Extension<Rendered>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.0).into_response()
}

/// The way to the viewer for those who leave the last slash out.
#[utoipa::path(
    get,
    path = "/api/docs", operation_id = "enter_viewer",
    tag = "service",
    responses((status = 308, description = "On to `/api/docs/`, with the prefix it was called with."))
)]
pub(crate) async fn enter() -> Response {
    // Relative, so that it is right behind the gateway's prefix as well.
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, "docs/")]).into_response()
}

/// A page that shows this description and lets its calls be tried.
#[utoipa::path(
    get,
    path = "/api/docs/", operation_id = "show_viewer",
    tag = "service",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html"))
)]
pub(crate) async fn page() -> Response {
    file("index.html")
}

/// A script, a style sheet or a picture of that page.
#[utoipa::path(
    get,
    path = "/api/docs/{file}", operation_id = "show_viewer_file",
    tag = "service",
    params(("file" = String, Path, description = "Name of the file.", example = "swagger-ui.css")),
    responses(
        (status = 200, description = "The file.", body = String, content_type = "*/*"),
        (status = 404, description = "There is no such file.", body = ErrorBody)
    )
)]
pub(crate) async fn asset(Path(name): Path<String>) -> Response {
    file(&name)
}

/// Everything the page needs comes from here; nothing of it may be framed or send anything elsewhere.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

fn file(name: &str) -> Response {
    static CONFIG: LazyLock<Arc<Config<'static>>> =
        LazyLock::new(|| Arc::new(Config::new([Url::new("Lab Ops", "../openapi.json")])));
    match utoipa_swagger_ui::serve(name, Arc::clone(&CONFIG)) {
        Ok(Some(file)) => {
            let mut response = ([(header::CONTENT_TYPE, file.content_type)], file.bytes).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
            if file.gzpipped {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            response
        }
        Ok(None) => ApiError::new(StatusCode::NOT_FOUND, "not_found", "Not found").into_response(),
        Err(error) => {
            tracing::error!(%error, "a file of the API's viewer cannot be made");
            ApiError::internal().into_response()
        }
    }
}
