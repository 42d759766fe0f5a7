//! What the requests and answers of the older contract look like, for the description of the API. Bodies are read
//! field by field in `body.rs`, more leniently than these say: numbers may be text, switches may be words.
#![expect(dead_code, reason = "they describe what is read and written by hand")]

use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::fleet::MaintenanceView;

/// How a call is asked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct AskingHeaders {
    /// `respond-async` answers 202 at once; the work goes on.
    #[param(rename = "Prefer", example = "respond-async", max_length = 200)]
    prefer: Option<String>,
    /// The caller's own name for this call: the same key with the same request is the same call for 24 hours, and its
    /// answer carries `Idempotent-Replayed: true`.
    #[param(
        rename = "Idempotency-Key",
        example = "start-0x5f3a-1",
        min_length = 1,
        max_length = 128,
        pattern = "^[!-~]+$"
    )]
    idempotency_key: Option<String>,
}

/// How a call is asked for, where headers are hard to set.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AskingQuery {
    /// The same as `Prefer: respond-async`.
    #[param(rename = "async", example = false)]
    is_async: Option<bool>,
}

/// An id, in the type in which it is sent.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub(crate) enum TextOrNumber {
    /// Text.
    Text(IdText),
    /// A whole number.
    #[schema(example = 7)]
    Number(i64),
}

/// 1 to 128 characters without control characters.
#[derive(Debug, ToSchema)]
#[schema(
    example = "0x5f3a",
    max_length = 128,
    pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$"
)]
pub(crate) struct IdText(String);

/// Wakes and prepares a host.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"reservationId": "0x5f3a", "host": "lab-ws-01", "labId": 7,
    "guardGrace": 60}))]
pub(crate) struct StartRequest {
    /// For which reservation, as text or a whole number; it need not exist. Also `reservation_id`.
    #[schema(value_type = TextOrNumber, example = "0x5f3a")]
    reservation_id: Value,
    /// On which host, in any case. Also `hostName`.
    #[schema(
        example = "lab-ws-01",
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    host: String,
    /// For which lab, as text or a whole number; not checked against the host. Also `lab_id`.
    #[schema(value_type = Option<TextOrNumber>, example = "7")]
    lab_id: Option<Value>,
    /// Whether to wake it first.
    #[schema(default = true)]
    wake: Option<bool>,
    /// How to wake it.
    wake_options: Option<WakeOptions>,
    /// Whether to run `prepare-session`.
    #[schema(default = true)]
    prepare: Option<bool>,
    /// Arguments of `prepare-session` instead of `--guard-grace=<guardGrace>`; an empty list means none.
    #[schema(example = json!(["--guard-grace=60"]), max_items = 64)]
    prepare_args: Option<Vec<String>>,
    /// Seconds that whoever sits there is given.
    #[schema(default = 90, minimum = 0, maximum = 3600, example = 60)]
    guard_grace: Option<u32>,
}

/// How to wake a host; what is absent comes from its entry in `hosts.json`.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"attempts": 2, "ping_timeout": 10}))]
pub(crate) struct WakeOptions {
    /// Its hardware address.
    #[schema(
        example = "02:00:01:00:00:07",
        pattern = "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$"
    )]
    mac: Option<String>,
    /// What has to answer: an IP address or a name.
    #[schema(
        example = "192.0.2.7",
        max_length = 253,
        pattern = "^([A-Za-z0-9._][A-Za-z0-9._-]*)?$"
    )]
    ping_target: Option<String>,
    /// Packets at most.
    #[schema(minimum = 1, maximum = 20, example = 3)]
    attempts: Option<u32>,
    /// Seconds after each packet.
    #[schema(default = 10.0, minimum = 0, maximum = 120, example = 10.0)]
    ping_timeout: Option<f64>,
    /// Where packets go.
    #[schema(format = "ipv4", example = "192.0.2.255")]
    broadcast: Option<String>,
    /// UDP port.
    #[schema(minimum = 1, maximum = 65535, example = 9)]
    port: Option<u32>,
}

/// Releases a host.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"reservationId": "0x5f3a", "host": "lab-ws-01",
    "releaseArgs": ["--reboot"]}))]
pub(crate) struct EndRequest {
    /// For which reservation, as text or a whole number; it need not exist. Also `reservation_id`.
    #[schema(value_type = TextOrNumber, example = "0x5f3a")]
    reservation_id: Value,
    /// On which host, in any case. Also `hostName`.
    #[schema(
        example = "lab-ws-01",
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    host: String,
    /// For which lab, as text or a whole number; not checked against the host. Also `lab_id`.
    #[schema(value_type = Option<TextOrNumber>, example = "7")]
    lab_id: Option<Value>,
    /// Whether to run `release-session`.
    #[schema(default = true)]
    release: Option<bool>,
    /// Arguments of `release-session`; an empty list means none.
    #[schema(default = json!(["--reboot"]), example = json!(["--reboot"]), max_items = 64)]
    release_args: Option<Vec<String>>,
    /// What to do with its power afterwards; absent, null or an empty object means nothing.
    power_action: Option<PowerAction>,
}

/// What to do with a host's power.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"mode": "shutdown", "args": ["--delay=60"]}))]
pub(crate) struct PowerAction {
    /// `shutdown` or `hibernate`.
    #[schema(
        default = "shutdown",
        pattern = "^(shutdown|hibernate)$",
        example = "shutdown"
    )]
    mode: Option<String>,
    /// Arguments of the station's `power <mode>`.
    #[schema(default = json!([]), example = json!(["--delay=60"]), max_items = 64)]
    args: Option<Vec<String>>,
}

/// What came of a start or an end; the same with 200 and 502.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct StepsAnswer {
    /// Whether every step succeeded.
    success: bool,
    /// As it was sent.
    #[schema(value_type = TextOrNumber, example = "0x5f3a")]
    reservation_id: Value,
    /// As it was sent.
    #[schema(example = "lab-ws-01")]
    host: String,
    /// As it was sent; null when it was not.
    #[schema(value_type = Option<TextOrNumber>, example = "7")]
    lab_id: Option<Value>,
    /// The steps that were tried, in order.
    steps: Vec<StepAnswer>,
    /// Whether the rows of the steps are in the database.
    persisted: bool,
    /// Who works at the host and why, while somebody does: the order was carried out nevertheless.
    maintenance: Option<MaintenanceView>,
}

/// What came of one step.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct StepAnswer {
    /// `wake`, `prepare`, `release` or `power:<mode>`.
    #[schema(example = "prepare")]
    action: String,
    /// Whether it took effect.
    success: bool,
    /// `completed` or `failed`.
    #[schema(example = "completed")]
    status: String,
    /// One line.
    #[schema(example = "Exit code 0")]
    message: String,
    /// Of a wake `{mac, pingTarget, attemptsRequested, attemptsUsed, waitSeconds, port, broadcast}`, of a command
    /// `{exitCode, stdout, stderr, args, durationMs}`.
    #[schema(value_type = Object)]
    details: Value,
    /// Of a wake: how long it took.
    #[schema(example = 9500)]
    duration_ms: Option<u64>,
    /// Whether the station did it with warnings.
    warnings: Option<bool>,
    /// Why it failed: `{code, rung?, detail}`.
    #[schema(value_type = Option<Object>)]
    reason: Option<Value>,
}

/// Sends magic packets.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"host": "lab-ws-01", "attempts": 1}))]
pub(crate) struct WolRequest {
    /// Whose entry fills in what is absent. Unknown is fine beside a `mac`.
    #[schema(
        example = "lab-ws-01",
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    host: Option<String>,
    /// Hardware address; needed without a host that has one.
    #[schema(
        example = "02:00:01:00:00:07",
        pattern = "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$"
    )]
    mac: Option<String>,
    /// Where packets go.
    #[schema(default = "255.255.255.255", format = "ipv4", example = "192.0.2.255")]
    broadcast: Option<String>,
    /// UDP port.
    #[schema(default = 9, minimum = 1, maximum = 65535, example = 9)]
    port: Option<u32>,
    /// What has to answer: an IP address or a name; without any nothing is ever reachable.
    #[schema(
        example = "192.0.2.7",
        max_length = 253,
        pattern = "^([A-Za-z0-9._][A-Za-z0-9._-]*)?$"
    )]
    ping_target: Option<String>,
    /// Seconds after each packet.
    #[schema(default = 10.0, minimum = 0, maximum = 120, example = 0.5)]
    ping_timeout: Option<f64>,
    /// Packets at most.
    #[schema(default = 3, minimum = 1, maximum = 20, example = 1)]
    attempts: Option<u32>,
}

/// What came of the packets.
#[derive(Debug, ToSchema)]
pub(crate) struct WolAnswer {
    /// Whether something answered.
    success: bool,
    /// Packets sent.
    #[schema(example = 1)]
    attempts_used: u32,
    /// How long it took.
    #[schema(example = 10012)]
    duration_ms: u64,
    /// What was asked.
    #[schema(example = "192.0.2.7")]
    ping_target: Option<String>,
    /// Who works at the host and why, while somebody does: the order was carried out nevertheless.
    maintenance: Option<MaintenanceView>,
}

/// Runs a command of the station.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"host": "lab-ws-01", "command": "status-json"}))]
pub(crate) struct WinrmRequest {
    /// On which host, in any case.
    #[schema(
        example = "lab-ws-01",
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    host: String,
    /// One of the allowed commands, in their own case.
    #[schema(example = "status-json", min_length = 1)]
    command: String,
    /// Its arguments; a single value is a list of one.
    #[schema(default = json!([]), example = json!([]), max_items = 64)]
    args: Option<Vec<String>>,
    /// Only what the host's entry says is accepted.
    user: Option<String>,
    /// Never accepted: the host's entry alone decides.
    #[schema(write_only)]
    password: Option<String>,
    /// Only what the host's entry says is accepted.
    #[schema(example = "ntlm")]
    transport: Option<String>,
    /// Only what the host's entry says is accepted.
    use_ssl: Option<bool>,
    /// Only what the host's entry says is accepted.
    #[schema(minimum = 1, maximum = 65535, example = 5985)]
    port: Option<u32>,
}

/// What a command said.
#[derive(Debug, ToSchema)]
pub(crate) struct WinrmAnswer {
    /// Of the station: 0 done, 1 done with warnings, 2 and above failed.
    #[schema(example = 0)]
    exit_code: i64,
    /// Standard output, as received.
    #[schema(example = "{\"schemaVersion\": \"1.0.0\"}")]
    stdout: String,
    /// Standard error, as received.
    #[schema(example = "")]
    stderr: String,
    /// How long it took.
    #[schema(example = 412)]
    duration_ms: u64,
    /// The output as JSON, where it is an object or a list.
    #[schema(value_type = Option<Object>)]
    parsed: Option<Value>,
    /// Whether the database took the call.
    persisted: bool,
    /// Who works at the host and why, while somebody does: the order was carried out nevertheless.
    maintenance: Option<MaintenanceView>,
}
