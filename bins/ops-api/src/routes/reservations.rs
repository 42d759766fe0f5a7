//! `POST /api/reservations/start` and `/end`: the steps a caller asks for, under the same claim, journal and history
//! as the scheduler's.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use lab_model::{LabId, ReservationId};
use reservation_engine::{
    ManualOrder, ManualReport, ManualStep, OperationKind, StepAction, StepOutcome, step_entry,
};
use serde_json::{Map, Value, json};

use super::steps;
use crate::app::App;
use crate::body::{Body, type_of};
use crate::busy;
use crate::error::ApiError;

/// Wake and prepare.
pub(crate) async fn start(
    State(app): State<App>,
    bytes: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    run(
        &app,
        &Body::parse(&bytes)?,
        OperationKind::ManualStart,
        steps::of_start,
    )
    .await
}

/// Release and power.
pub(crate) async fn end(State(app): State<App>, bytes: Bytes) -> Result<(StatusCode, Json<Value>), ApiError> {
    run(
        &app,
        &Body::parse(&bytes)?,
        OperationKind::ManualEnd,
        steps::of_end,
    )
    .await
}

async fn run(
    app: &App,
    body: &Body,
    kind: OperationKind,
    steps: fn(&Body) -> Result<Vec<StepAction>, ApiError>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let names = Names::read(body)?;
    let host = app.find_host(names.host, |host| format!("host '{host}' not found"))?;
    let steps = steps(body)?;
    let site = app.site()?;
    let order = ManualOrder {
        reservation: names.reservation,
        lab: names.lab,
        host: host.name,
        kind,
        steps,
        wait_for_host: app.settings().host_wait,
    };
    let report = site.engine.run_manual(order).await.map_err(busy::answer)?;
    let status = if report.success {
        StatusCode::OK
    } else {
        StatusCode::BAD_GATEWAY
    };
    Ok((status, Json(answer(&names.shown, &report))))
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
