//! What keeps hosts and schedulers from work, or lets them have it again.

use serde_json::{Value, json};

use crate::program::opsctl;
use crate::script::{Reply, Script};

#[test]
fn upkeep_sends_what_was_said() {
    let script = Script::always(Reply::json(
        200,
        &json!({"name": "w", "host": "h", "state": "cordoned"}),
    ));
    opsctl(
        &script,
        &[
            "maintenance",
            "h",
            "--reason",
            "new disk",
            "--owner",
            "ada",
            "--until",
            "2026-03-01 12:00",
        ],
    )
    .expect(0);
    opsctl(&script, &["maintenance", "h", "--end"]).expect(0);
    opsctl(&script, &["reload"]).expect(0);
    opsctl(&script, &["workers", "cordon", "w", "--reason", "update"]).expect(0);
    opsctl(&script, &["workers", "uncordon", "w"]).expect(0);
    let sent: Vec<(String, Value)> = script
        .seen()
        .iter()
        .map(|seen| (seen.line(), seen.json()))
        .collect();
    let expected = [
        (
            "POST /api/hosts/h/maintenance",
            json!({"reason": "new disk", "owner": "ada", "until": "2026-03-01T12:00:00.000Z"}),
        ),
        ("DELETE /api/hosts/h/maintenance", json!({})),
        ("POST /api/hosts/reload", json!({})),
        ("POST /api/workers/w/cordon", json!({"reason": "update"})),
        ("POST /api/workers/w/uncordon", json!({})),
    ];
    assert_eq!(sent, expected.map(|(line, body)| (line.to_owned(), body)));
}
