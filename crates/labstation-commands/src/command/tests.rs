use super::*;
use proptest::prelude::*;

fn words(command: &StationCommand) -> Vec<String> {
    command.args().unwrap()
}

#[test]
fn every_option_of_prepare_has_its_word() {
    let options = PrepareOptions {
        user: Some("LABUSER".into()),
        guard_grace: Some(Duration::from_millis(89_001)),
        no_guard: false,
        guard_message: Some("Die Stunde beginnt gleich".into()),
    };
    let command = StationCommand::PrepareSession(options);
    assert_eq!(command.name(), "prepare-session");
    assert_eq!(
        words(&command),
        [
            "--user=LABUSER",
            "--guard-grace=90",
            "--guard-message=Die Stunde beginnt gleich"
        ]
    );
    let unguarded = PrepareOptions {
        no_guard: true,
        ..PrepareOptions::default()
    };
    assert_eq!(words(&StationCommand::PrepareSession(unguarded)), ["--no-guard"]);
    assert!(words(&StationCommand::PrepareSession(PrepareOptions::default())).is_empty());
}

#[test]
fn every_other_command_has_its_words() {
    let table = [
        (
            StationCommand::ReleaseSession(ReleaseOptions {
                user: None,
                reboot: true,
                reboot_timeout: Some(Duration::from_secs(15)),
            }),
            "release-session --reboot --reboot-timeout=15",
        ),
        (
            StationCommand::Power(PowerOptions {
                delay: Some(Duration::from_secs(60)),
                reason: Some("Remote order".into()),
                no_force: true,
                skip_wake_check: true,
                ..PowerOptions::new(PowerMode::Shutdown)
            }),
            "power shutdown --delay=60 --reason=Remote order --no-force --skip-wake-check",
        ),
        (
            StationCommand::Power(PowerOptions::new(PowerMode::Hibernate)),
            "power hibernate",
        ),
        (StationCommand::StatusJson, "status-json"),
        (
            StationCommand::SessionGuard(GuardOptions {
                grace: Some(Duration::from_secs(45)),
                user: Some("lab.user-1$".into()),
                message: None,
                silent: true,
            }),
            "session guard --grace=45 --user=lab.user-1$ --silent",
        ),
        (
            StationCommand::RecoveryRebootIfNeeded {
                force: true,
                timeout: Some(Duration::from_secs(20)),
                reason: Some("stale heartbeat".into()),
            },
            "recovery reboot-if-needed --force --timeout=20 --reason=stale heartbeat",
        ),
        (StationCommand::Service(ServiceAction::Start), "service start"),
        (StationCommand::Energy { json_path: None }, "energy audit"),
        (
            StationCommand::Energy {
                json_path: Some(r"C:\\LabStation\\energy.json".into()),
            },
            r"energy audit --json=C:\LabStation\energy.json",
        ),
    ];
    for (command, line) in table {
        let all = [vec![command.name().to_owned()], words(&command)]
            .concat()
            .join(" ");
        assert_eq!(all, line);
    }
}

#[test]
fn text_that_could_mean_more_than_itself_is_refused() {
    for character in [
        '"', '%', '!', '^', '&', '|', '<', '>', '\n', '\r', '\0', '\u{7f}', '\u{85}', '\u{2028}',
    ] {
        let reason = Some(format!("go{character}od"));
        let command = StationCommand::RecoveryRebootIfNeeded {
            force: false,
            timeout: None,
            reason,
        };
        let error = command.args().unwrap_err();
        assert_eq!(
            error,
            ArgumentError::ForbiddenCharacter {
                option: "--reason".into(),
                character
            }
        );
    }
    let reason = Some("x".repeat(513));
    let command = StationCommand::RecoveryRebootIfNeeded {
        force: false,
        timeout: None,
        reason,
    };
    assert!(matches!(
        command.args(),
        Err(ArgumentError::TooLong { length: 513, .. })
    ));
}

#[test]
fn a_name_that_is_no_account_is_refused() {
    for user in [
        "",
        "a b",
        "DOMAIN\\user",
        "user@lab",
        "ünder",
        "a234567890123456789012",
        "x;y",
    ] {
        let options = ReleaseOptions {
            user: Some(user.into()),
            ..ReleaseOptions::default()
        };
        let error = StationCommand::ReleaseSession(options).args().unwrap_err();
        assert_eq!(
            error,
            ArgumentError::NotAnAccount {
                option: "--user".into()
            },
            "{user:?}"
        );
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let later = ReleaseOptions {
        reboot_timeout: Some(Duration::ZERO),
        ..ReleaseOptions::default()
    };
    let error = StationCommand::ReleaseSession(later).args().unwrap_err();
    assert_eq!(
        error.to_string(),
        "--reboot-timeout makes no sense without --reboot"
    );
    let unguarded = PrepareOptions {
        no_guard: true,
        guard_grace: Some(Duration::ZERO),
        ..PrepareOptions::default()
    };
    assert!(StationCommand::PrepareSession(unguarded).args().is_err());
    let silent = GuardOptions {
        silent: true,
        message: Some("x".into()),
        ..GuardOptions::default()
    };
    assert!(StationCommand::SessionGuard(silent).args().is_err());
}

#[test]
fn a_time_beyond_a_day_is_refused() {
    let options = PowerOptions {
        delay: Some(Duration::MAX),
        ..PowerOptions::new(PowerMode::Shutdown)
    };
    let error = StationCommand::Power(options).args().unwrap_err();
    assert!(matches!(error, ArgumentError::TooManySeconds { .. }), "{error}");
}

#[test]
fn the_guard_waits_at_least_half_a_minute() {
    let prepare = |grace: Option<u64>| {
        let guard_grace = grace.map(Duration::from_secs);
        StationCommand::PrepareSession(PrepareOptions {
            guard_grace,
            ..PrepareOptions::default()
        })
        .blocks_for()
        .as_secs()
    };
    assert_eq!(
        [prepare(None), prepare(Some(0)), prepare(Some(200))],
        [150, 90, 260]
    );
    assert_eq!(
        StationCommand::SessionGuard(GuardOptions::default())
            .blocks_for()
            .as_secs(),
        180
    );
    let unguarded = PrepareOptions {
        no_guard: true,
        ..PrepareOptions::default()
    };
    assert_eq!(
        StationCommand::PrepareSession(unguarded).blocks_for().as_secs(),
        60
    );
}

#[test]
fn only_a_delayed_hibernation_blocks_for_its_delay() {
    let power = |mode| {
        let delay = Some(Duration::from_secs(40));
        StationCommand::Power(PowerOptions {
            delay,
            ..PowerOptions::new(mode)
        })
        .blocks_for()
        .as_secs()
    };
    assert_eq!(
        [power(PowerMode::Hibernate), power(PowerMode::Shutdown)],
        [100, 60]
    );
}

#[test]
fn commands_that_take_the_host_down_are_known() {
    let reboot = ReleaseOptions {
        reboot: true,
        ..ReleaseOptions::default()
    };
    assert!(StationCommand::ReleaseSession(reboot).takes_host_down());
    assert!(!StationCommand::ReleaseSession(ReleaseOptions::default()).takes_host_down());
    assert!(StationCommand::Power(PowerOptions::new(PowerMode::Hibernate)).takes_host_down());
    assert!(!StationCommand::StatusJson.takes_host_down());
}

proptest! {
    #[test]
    fn accepted_text_contains_nothing_a_shell_acts_upon(message in any::<String>()) {
        let options = GuardOptions { message: Some(message), ..GuardOptions::default() };
        if let Ok(words) = StationCommand::SessionGuard(options).args() {
            for word in words {
                prop_assert!(!word.contains(|c: char| c.is_control() || "\"%!^&|<>".contains(c)), "{word:?}");
            }
        }
    }
}
