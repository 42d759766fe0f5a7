//! A set of routes of which each states the role it takes, once for the check and for the document that describes it.

use axum::middleware::from_fn_with_state;
use serde_json::Value;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, Header, ObjectBuilder, Ref, RefOr, Response, Type};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::app::App;
use crate::auth::{Door, Gate, Role, admit};

/// The names of the ways to send a token, as the description of the API has them.
pub(crate) const SCHEMES: [&str; 3] = ["token", "bearer", "cookie"];

/// Routes behind the token check.
pub(crate) struct Guarded {
    router: OpenApiRouter<App>,
    gate: Gate,
}

impl Guarded {
    /// No routes yet.
    pub(crate) fn new(gate: Gate) -> Self {
        Self {
            router: OpenApiRouter::new(),
            gate,
        }
    }

    /// Adds routes that viewers, operators and admins may call.
    pub(crate) fn viewer(self, routes: UtoipaMethodRouter<App>) -> Self {
        self.with(Role::Viewer, routes)
    }

    /// Adds routes that operators and admins may call.
    pub(crate) fn operator(self, routes: UtoipaMethodRouter<App>) -> Self {
        self.with(Role::Operator, routes)
    }

    /// Adds routes that only admins may call.
    pub(crate) fn admin(self, routes: UtoipaMethodRouter<App>) -> Self {
        self.with(Role::Admin, routes)
    }

    fn with(mut self, role: Role, (schemas, mut paths, methods): UtoipaMethodRouter<App>) -> Self {
        for item in paths.paths.values_mut() {
            state_role(item, role);
        }
        let door = Door {
            gate: self.gate.clone(),
            role,
        };
        let methods = methods.route_layer(from_fn_with_state(door, admit));
        self.router = self.router.routes((schemas, paths, methods));
        self
    }

    /// All of them.
    pub(crate) fn into_router(self) -> OpenApiRouter<App> {
        self.router
    }
}

/// The operations of a path, each with whether it changes anything.
pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = (&mut Operation, bool)> {
    let reading = item.get.as_mut().map(|operation| (operation, false));
    let changing = [&mut item.put, &mut item.post, &mut item.delete, &mut item.patch]
        .into_iter()
        .flatten()
        .map(|operation| (operation, true));
    reading.into_iter().chain(changing)
}

fn state_role(item: &mut PathItem, role: Role) {
    for (operation, changes) in operations(item) {
        operation.security = Some(
            SCHEMES
                .map(|scheme| SecurityRequirement::new(scheme, [role.as_str()]))
                .to_vec(),
        );
        operation
            .extensions
            .get_or_insert_default()
            .insert("x-role".to_owned(), Value::from(role.as_str()));
        add_refusals(operation, changes);
    }
}

/// What any guarded route may answer instead; what a handler says of its own stands.
const REFUSALS: [(&str, &str); 6] = [
    (
        "400",
        "A field of the path, the query or the body cannot be used; `field` names it.",
    ),
    ("401", "No token, or one that is not known or has expired."),
    (
        "403",
        "The token's role is too small, or the call came from another site.",
    ),
    (
        "429",
        "Too many calls, or too many operations at the same time; `Retry-After` says when to come back.",
    ),
    (
        "500",
        "A fault of the service; its log has the details under the same request id.",
    ),
    (
        "503",
        "The database does not answer, or the service is stopping; `Retry-After` says when to come back.",
    ),
];

/// And what may come of reading a body.
const BODY_REFUSALS: [(&str, &str); 2] = [
    ("408", "The body did not arrive in time."),
    ("413", "The body is longer than `OPS_HTTP_MAX_BODY_BYTES` allows."),
];

fn add_refusals(operation: &mut Operation, changes: bool) {
    let body = if changes { &BODY_REFUSALS[..] } else { &[] };
    let refusals = &mut operation.responses.responses;
    for (status, meaning) in REFUSALS.iter().chain(body) {
        let refusal = || RefOr::T(Response::new(*meaning));
        refusals.entry((*status).to_owned()).or_insert_with(refusal);
    }
    for (status, response) in refusals {
        if let RefOr::T(response) = response {
            complete(status, response);
        }
    }
}

/// What every refusal has, whoever describes it.
fn complete(status: &str, response: &mut Response) {
    if status.starts_with(['4', '5']) && response.content.is_empty() {
        let content = Content::new(Some(Ref::from_schema_name("ErrorBody")));
        response
            .content
            .insert("application/json".to_owned(), RefOr::T(content));
    }
    if matches!(status, "429" | "503") {
        let about = "Seconds after which trying again makes sense.";
        response
            .headers
            .insert("Retry-After".to_owned(), RefOr::T(header(Type::Integer, about)));
    }
    if status == "401" {
        let about = "How a token may be sent.";
        response.headers.insert(
            "WWW-Authenticate".to_owned(),
            RefOr::T(header(Type::String, about)),
        );
    }
}

/// A header of an answer.
pub(super) fn header(kind: Type, about: &str) -> Header {
    let mut header = Header::new(ObjectBuilder::new().schema_type(kind).build());
    header.description = Some(about.to_owned());
    header
}
