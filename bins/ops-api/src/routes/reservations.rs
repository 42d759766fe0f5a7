//! `POST /api/reservations/start` and `/end`: the steps a caller asks for, under the same claim, journal and history
//! as the scheduler's.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use call_journal::CallKind;
use lab_model::{LabId, ReservationId};
use reservation_engine::{
    ManualOrder, ManualReport, ManualStep, OperationKind, StepAction, StepOutcome, step_entry,
};
use serde_json::{Map, Value, json};

use super::requests::{AskingHeaders, AskingQuery, EndRequest, StartRequest, StepsAnswer};
use super::{maintenance, steps};
use crate::app::App;
use crate::body::{Body, type_of};
use crate::busy;
use crate::calls::view::journal_key;
use crate::calls::{Accepted, Asking, Failure, Order};
use crate::error::{ApiError, ErrorBody};

/// Wakes and prepares a host for a reservation
///
/// Wake (unless off), then, if that succeeded, `prepare-session`. A step that fails is answered with 502 and the same
/// body. With `Prefer: respond-async` the answer is 202 at once.
#[utoipa::path(
    post, path = "/api/reservations/start", operation_id = "start_reservation", tag = "reservations",
    params(AskingHeaders, AskingQuery), request_body = StartRequest,
    responses(
        (status = 200, description = "Every step succeeded", body = StepsAnswer),
        (status = 202, description = "Taken; look at `location` for what comes of it", body = Accepted),
        (status = 404, description = "No such host", body = ErrorBody),
        (status = 409, description = "Somebody else works on the host, or the call of this key was interrupted", body = ErrorBody),
        (status = 422, description = "The key was used for another request", body = ErrorBody),
        (status = 502, description = "A step failed, and nothing was done after it", body = StepsAnswer),
    )
)]
pub(crate) async fn start(State(app): State<App>, asking: Asking, body: Body) -> Result<Response, ApiError> {
    run(
        &app,
        asking,
        &body,
        CallKind::Start,
        OperationKind::ManualStart,
        steps::of_start,
    )
    .await
}

/// Releases a host after a reservation
///
/// `release-session` (unless off), then, if that succeeded, the power action. A step that fails is answered with 502
/// and the same body. With `Prefer: respond-async` the answer is 202 at once.
#[utoipa::path(
    post, path = "/api/reservations/end", operation_id = "end_reservation", tag = "reservations",
    params(AskingHeaders, AskingQuery), request_body = EndRequest,
    responses(
        (status = 200, description = "Every step succeeded", body = StepsAnswer),
        (status = 202, description = "Taken; look at `location` for what comes of it", body = Accepted),
        (status = 404, description = "No such host", body = ErrorBody),
        (status = 409, description = "Somebody else works on the host, or the call of this key was interrupted", body = ErrorBody),
        (status = 422, description = "The key was used for another request", body = ErrorBody),
        (status = 502, description = "A step failed, and nothing was done after it", body = StepsAnswer),
    )
)]
pub(crate) async fn end(State(app): State<App>, asking: Asking, body: Body) -> Result<Response, ApiError> {
    run(
        &app,
        asking,
        &body,
        CallKind::End,
        OperationKind::ManualEnd,
        steps::of_end,
    )
    .await
}

async fn run(
    app: &App,
    asking: Asking,
    body: &Body,
    kind: CallKind,
    operation: OperationKind,
    steps: fn(&Body) -> Result<Vec<StepAction>, ApiError>,
) -> Result<Response, ApiError> {
    let names = Names::read(body)?;
    let host = app.find_host(names.host, |host| format!("host '{host}' not found"))?;
    let steps = steps(body)?;
    let site = app.site()?;
    let mut order = ManualOrder {
        reservation: names.reservation,
        lab: names.lab,
        host: host.name,
        kind: operation,
        steps,
        wait_for_host: app.settings().host_wait,
        key: None,
    };
    let shown = names.shown;
    let call = Order {
        kind,
        host: Some(order.host.clone()),
        reservation: Some(order.reservation.as_str().to_owned()),
        lab: order.lab.as_ref().map(|lab| lab.as_str().to_owned()),
        request: body.canonical(kind.as_str()),
        work: Box::new(move |id| {
            order.key = Some(journal_key(id));
            Box::pin(async move {
                busy::check(&site).map_err(Failure::not_begun)?;
                let report = site.engine.run_manual(order).await.map_err(busy::failure)?;
                let status = if report.success {
                    StatusCode::OK
                } else {
                    StatusCode::BAD_GATEWAY
                };
                Ok((status, answer(&shown, &report)))
            })
        }),
    };
    app.calls.run(&app.handle, asking, call).await
}

/// Whom the call is about, and the ids as they were sent, since they keep their JSON type in the answer.
struct Names<'a> {
    reservation: ReservationId,
    host: &'a str,
    lab: Option<LabId>,
    shown: [(&'static str, Value); 3],
}

impl<'a> Names<'a> {
    fn read(body: &'a Body) -> Result<Self, ApiError> {
        let reservation = body.first(&["reservationId", "reservation_id"]);
        let host = body.first(&["host", "hostName"]);
        let (Some((id_field, id)), Some((host_field, host))) = (reservation, host) else {
            return Err(ApiError::required("reservationId and host are required"));
        };
        let reservation = ReservationId::parse(&id_text(id_field, id)?)
            .map_err(|problem| ApiError::field(id_field, problem))?;
        let Value::String(host_text) = host else {
            return Err(ApiError::field(
                host_field,
                format_args!("must be text, is {}", type_of(host)),
            ));
        };
        lab_model::HostName::parse(host_text).map_err(|problem| ApiError::field(host_field, problem))?;
        let lab = body.first(&["labId", "lab_id"]);
        let lab_text = lab.map(|(field, lab)| id_text(field, lab)).transpose()?;
        if let (Some((field, _)), Some(text)) = (lab, &lab_text) {
            ReservationId::parse(text).map_err(|problem| ApiError::field(field, problem))?;
        }
        Ok(Self {
            reservation,
            host: host_text,
            lab: lab_text.as_deref().map(LabId::new),
            shown: [
                ("reservationId", id.clone()),
                ("host", host.clone()),
                ("labId", lab.map_or(Value::Null, |(_, lab)| lab.clone())),
            ],
        })
    }
}

/// An id is text or a whole number; anything else never named a reservation.
fn id_text(field: &str, value: &Value) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
        other => Err(ApiError::field(
            field,
            format_args!("must be text or a whole number, is {}", type_of(other)),
        )),
    }
}

fn answer(shown: &[(&'static str, Value); 3], report: &ManualReport) -> Value {
    let mut answer = Map::new();
    answer.insert("success".into(), report.success.into());
    answer.extend(
        shown
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone())),
    );
    answer.insert("steps".into(), report.steps.iter().map(step).collect());
    // A step is answered only once its row is there.
    answer.insert("persisted".into(), true.into());
    if let Some(maintenance) = &report.maintenance {
        answer.insert("maintenance".into(), maintenance::shown(maintenance));
    }
    Value::Object(answer)
}

/// One step as the contract's section 1.4 has it, with the reason of a failure and a mark for warnings.
fn step(step: &ManualStep) -> Value {
    let mut entry = step_entry(&step.action, &step.report);
    let added = match &step.report.outcome {
        StepOutcome::Done => None,
        StepOutcome::DoneWithWarnings => Some(("warnings", Value::Bool(true))),
        StepOutcome::Failed(reason) | StepOutcome::Unknown(reason) => Some(("reason", json!(reason))),
    };
    if let (Some((key, value)), Some(entry)) = (added, entry.as_object_mut()) {
        entry.insert(key.to_owned(), value);
    }
    entry
}
