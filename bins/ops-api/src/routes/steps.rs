//! The steps of a start or an end, read from the body and checked whole before the first of them has an effect.

use std::net::Ipv4Addr;
use std::time::Duration;

use reservation_engine::{StepAction, WakeOrder};

use super::wol::check_target;
use crate::body::Body;
use crate::error::ApiError;

/// Wake (unless off), then `prepare-session`.
pub(crate) fn of_start(body: &Body) -> Result<Vec<StepAction>, ApiError> {
    let mut steps = Vec::new();
    let order = wake_order(&body.object("wakeOptions")?)?;
    if body.switch("wake", true) {
        steps.push(StepAction::Wake(order));
    }
    let grace = body.whole("guardGrace", 0..=3600)?.unwrap_or(90);
    let args = body
        .arguments("prepareArgs")?
        .unwrap_or_else(|| vec![format!("--guard-grace={grace}")]);
    if body.switch("prepare", true) {
        steps.push(StepAction::Prepare { args });
    }
    Ok(steps)
}

/// `release-session` (unless off), then the power action, if one is asked for.
pub(crate) fn of_end(body: &Body) -> Result<Vec<StepAction>, ApiError> {
    let mut steps = Vec::new();
    let args = body
        .arguments("releaseArgs")?
        .unwrap_or_else(|| vec!["--reboot".to_owned()]);
    let power = power(body)?;
    if body.switch("release", true) {
        steps.push(StepAction::Release { args });
    }
    steps.extend(power);
    Ok(steps)
}

fn power(body: &Body) -> Result<Option<StepAction>, ApiError> {
    let action = body.object("powerAction")?;
    if action.is_empty() {
        return Ok(None);
    }
    let mode = action.text("mode")?.unwrap_or("shutdown").to_lowercase();
    // `power:<mode>` has to fit the history's column of 32 characters, and the station knows two modes.
    if !matches!(mode.as_str(), "shutdown" | "hibernate") {
        let shown: String = mode.chars().take(40).collect();
        return Err(ApiError::field(
            "powerAction.mode",
            format_args!("must be shutdown or hibernate, is {shown:?}"),
        ));
    }
    let args = action.arguments("args")?.unwrap_or_default();
    Ok(Some(StepAction::Power { mode, args }))
}

fn wake_order(options: &Body) -> Result<WakeOrder, ApiError> {
    let ipv4 = |text: &str| match text.parse::<Ipv4Addr>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("is {text:?}, which is no IPv4 address")),
    };
    Ok(WakeOrder {
        mac: options.parsed("mac", |text| {
            text.parse::<wol::MacAddr>().map(|mac| mac.to_string())
        })?,
        ping_target: options.parsed("ping_target", check_target)?,
        attempts: options.whole("attempts", 1..=20)?,
        ping_timeout: options
            .number("ping_timeout", 0.0..=120.0)?
            .map(Duration::from_secs_f64),
        broadcast: options.parsed("broadcast", ipv4)?,
        port: options
            .whole("port", 1..=65_535)?
            .and_then(|port| u16::try_from(port).ok()),
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use serde_json::{Value, json};

    use super::*;

    fn body(value: &Value) -> Body {
        Body::parse(&Bytes::from(value.to_string())).unwrap()
    }

    #[test]
    fn a_plain_start_wakes_and_prepares_with_the_default_grace() {
        let steps = of_start(&body(&json!({}))).unwrap();
        let prepare = StepAction::Prepare {
            args: vec!["--guard-grace=90".into()],
        };
        assert_eq!(steps, [StepAction::Wake(WakeOrder::default()), prepare]);
        assert!(
            of_start(&body(&json!({"wake": "no", "prepare": 0})))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn prepare_arguments_replace_the_grace_and_an_empty_list_means_none() {
        for (given, expected) in [
            (json!(["--no-guard", 1]), vec!["--no-guard", "1"]),
            (json!([]), vec![]),
            (json!("x"), vec!["x"]),
        ] {
            let steps = of_start(&body(&json!({"wake": false, "prepareArgs": given}))).unwrap();
            assert_eq!(
                steps,
                [StepAction::Prepare {
                    args: expected.into_iter().map(str::to_owned).collect()
                }]
            );
        }
    }

    #[test]
    fn a_plain_end_releases_with_a_reboot_and_power_comes_after() {
        let steps = of_end(&body(&json!({"powerAction": {"args": ["--delay=5"]}}))).unwrap();
        let power = StepAction::Power {
            mode: "shutdown".into(),
            args: vec!["--delay=5".into()],
        };
        assert_eq!(
            steps,
            [
                StepAction::Release {
                    args: vec!["--reboot".into()]
                },
                power
            ]
        );
        assert_eq!(
            of_end(&body(&json!({"powerAction": null, "releaseArgs": []})))
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn a_wrong_value_is_refused_before_anything_has_an_effect() {
        for wrong in [
            json!({"powerAction": "shutdown"}),
            json!({"powerAction": {"mode": "x".repeat(27)}}),
            json!({"releaseArgs": [{}]}),
        ] {
            assert!(of_end(&body(&wrong)).is_err(), "{wrong}");
        }
        for wrong in [
            json!({"wakeOptions": [1]}),
            json!({"wakeOptions": {"attempts": 100_000}}),
            json!({"wakeOptions": {"ping_target": "-f"}}),
            json!({"guardGrace": "ninety"}),
            json!({"wakeOptions": {"mac": "zz"}}),
        ] {
            assert!(of_start(&body(&wrong)).is_err(), "{wrong}");
        }
    }
}
