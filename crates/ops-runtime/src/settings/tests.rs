mod polling;
mod secrets;
mod transports;

use std::io::Write;

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Loaded, SettingsError> {
    let variables = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Settings::read(&variables, None)
}

#[test]
fn nothing_set_gives_the_defaults_of_the_contract() {
    let loaded = read(&[]).unwrap();
    let settings = loaded.settings;
    assert!(loaded.warnings.is_empty());
    assert_eq!(
        (settings.api.bind.to_string().as_str(), settings.api.port),
        ("0.0.0.0", 8081)
    );
    assert_eq!(
        (settings.api.timeline_max, settings.api.timeline_default),
        (500, 100)
    );
    assert!(!settings.poll.enabled && settings.reservations.enabled);
    assert_eq!(settings.reservations.engine.lead, Duration::from_secs(120));
    assert_eq!(settings.reservations.engine.end_delay, Duration::from_secs(60));
    assert_eq!(settings.winrm.operation_timeout, Duration::from_secs(20));
    assert!(settings.database_url.is_none() && settings.api.secret.is_none());
}

#[test]
fn every_problem_is_listed_with_its_variable() {
    let error = read(&[
        ("OPS_PORT", "http"),
        ("OPS_POLL_INTERVAL", "-1"),
        ("OPS_BIND", "everywhere"),
        ("WINRM_MANAGEMENT_CIDRS", "10.0.0.0/8, lab"),
        ("OPS_WINRM_READ_TIMEOUT", "10"),
        ("OPS_LOCAL_MODE_POLICY", "maybe"),
    ])
    .unwrap_err();
    let named: Vec<_> = error
        .0
        .iter()
        .filter_map(|problem| problem.split(':').next())
        .collect();
    let expected = [
        "OPS_BIND",
        "OPS_PORT",
        "OPS_POLL_INTERVAL",
        "OPS_LOCAL_MODE_POLICY",
        "OPS_WINRM_READ_TIMEOUT",
        "WINRM_MANAGEMENT_CIDRS",
    ];
    assert_eq!(named, expected, "{error}");
}

#[test]
fn an_unknown_variable_is_warned_of_with_the_nearest_known_one() {
    let loaded = read(&[
        ("OPS_RESERVATION_START_LAED", "60"),
        ("OPS_QUITE_ELSE", "1"),
        ("HOME", "/root"),
    ])
    .unwrap();
    assert_eq!(
        loaded.warnings,
        [
            "unknown variable OPS_QUITE_ELSE",
            "unknown variable OPS_RESERVATION_START_LAED; did you mean OPS_RESERVATION_START_LEAD?"
        ]
    );
}

#[test]
fn automation_is_on_for_any_word_but_the_false_ones_and_polling_only_for_true() {
    for (word, automation, polling) in [
        ("true", true, true),
        ("TRUE", true, true),
        ("1", true, false),
        ("", true, false),
        ("Off", false, false),
    ] {
        let loaded = read(&[("OPS_RESERVATION_AUTOMATION", word), ("OPS_POLL_ENABLED", word)]).unwrap();
        let seen = (loaded.settings.reservations.enabled, loaded.settings.poll.enabled);
        assert_eq!(seen, (automation, polling), "{word:?}");
        assert_eq!(loaded.warnings.len(), usize::from(word == "1"), "{word:?}");
    }
}

#[test]
fn the_environment_overrides_the_file_and_secrets_keep_their_digits() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(
        file,
        "ops_port = 9000\nops_poll_interval = 15\nops_poll_enabled = true"
    )
    .unwrap();
    let variables = [("OPS_PORT", "9001"), ("OPS_SECRET", "0070")];
    let variables = variables
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let settings = Settings::read(&variables, Some(file.path())).unwrap().settings;
    assert_eq!(
        (
            settings.api.port,
            settings.poll.interval.as_secs(),
            settings.poll.enabled
        ),
        (9001, 15, true)
    );
    assert_eq!(
        secrecy::ExposeSecret::expose_secret(settings.api.secret.as_ref().unwrap()),
        "0070"
    );
    assert!(!format!("{settings:?}").contains("0070"));
}

#[test]
fn a_file_with_an_unknown_key_or_broken_toml_is_refused() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "ops_prot = 1").unwrap();
    let error = Settings::read(&BTreeMap::new(), Some(file.path())).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("unknown key ops_prot; did you mean ops_port?"),
        "{error}"
    );
    writeln!(file, "= =").unwrap();
    assert!(Settings::read(&BTreeMap::new(), Some(file.path())).is_err());
    assert!(Settings::read(&BTreeMap::new(), Some(Path::new("/nonexistent.toml"))).is_err());
}

#[test]
fn python_words_for_log_levels_are_understood() {
    for (word, begins) in [
        ("WARNING", "warn,"),
        ("critical", "error,"),
        ("DEBUG", "debug,"),
        ("trace", "trace"),
    ] {
        let filter = read(&[("OPS_LOG_LEVEL", word)]).unwrap().settings.log_filter;
        assert!(filter.starts_with(begins), "{word} gave {filter}");
    }
    let own = read(&[("OPS_LOG_LEVEL", "ops_api=trace,info")])
        .unwrap()
        .settings
        .log_filter;
    assert_eq!(own, "ops_api=trace,info");
    assert!(read(&[("OPS_LOG_LEVEL", "a=b=c=")]).is_err());
}

#[test]
fn the_guide_lists_every_variable_as_the_program_reads_it() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
    let written = std::fs::read_to_string(guide).unwrap_or_default();
    let again = "cargo run -p ops-runtime --example settings-table > docs/settings.md";
    assert!(
        written == settings_guide(),
        "docs/settings.md is out of date; write it again with: {again}"
    );
}

#[test]
fn the_lead_is_raised_up_to_its_maximum_and_never_capped_below_the_floor() {
    let engine = read(&[]).unwrap().settings.reservations.engine;
    assert_eq!(
        (engine.lead_max, engine.lead_margin),
        (Duration::from_secs(900), Duration::from_secs(30))
    );
    let engine = read(&[("OPS_RESERVATION_START_LEAD", "1800")])
        .unwrap()
        .settings
        .reservations
        .engine;
    assert_eq!(engine.lead_max, Duration::from_secs(1800));
    let error = read(&[
        ("OPS_RESERVATION_START_LEAD", "1800"),
        ("OPS_RESERVATION_START_LEAD_MAX", "600"),
    ])
    .unwrap_err();
    assert!(
        error.0[0].starts_with("OPS_RESERVATION_START_LEAD_MAX: "),
        "{error}"
    );
}

#[test]
fn hosts_stay_on_alone_and_unpaced_unless_asked_otherwise() {
    let engine = read(&[]).unwrap().settings.reservations.engine;
    assert_eq!(
        (
            engine.wake_rate_per_minute,
            engine.host_pooling,
            engine.idle_power
        ),
        (None, false, None)
    );
    let engine = read(&[
        ("OPS_WAKE_RATE_PER_MINUTE", "40"),
        ("OPS_HOST_POOLING", "true"),
        ("OPS_IDLE_POWER_ACTION", "Hibernate"),
        ("OPS_IDLE_POWER_AFTER", "600"),
    ])
    .unwrap()
    .settings
    .reservations
    .engine;
    assert_eq!(
        engine.wake_rate_per_minute.map(std::num::NonZeroU32::get),
        Some(40)
    );
    assert!(engine.host_pooling);
    let idle = engine.idle_power.unwrap();
    assert_eq!(
        (idle.mode, idle.after, idle.force),
        (
            reservation_engine::PowerMode::Hibernate,
            Duration::from_secs(600),
            false
        )
    );
}

#[test]
fn wrong_words_for_the_idle_power_action_are_named() {
    let error = read(&[
        ("OPS_IDLE_POWER_ACTION", "reboot"),
        ("OPS_IDLE_POWER_AFTER", "soon"),
        ("OPS_WAKE_RATE_PER_MINUTE", "-3"),
    ])
    .unwrap_err();
    for name in [
        "OPS_IDLE_POWER_ACTION: must be one of none, shutdown, hibernate",
        "OPS_IDLE_POWER_AFTER: ",
        "OPS_WAKE_RATE_PER_MINUTE: ",
    ] {
        assert!(error.0.iter().any(|problem| problem.starts_with(name)), "{error}");
    }
}
